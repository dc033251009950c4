"""Linear bottlenecks, as MobileNetV2 has them, trained on the samples of digits.py.

    python bottlenecks.py FOLDER

FOLDER has digits32.npz, which digits.py makes, and gets bottlenecks.tflite. Needs what digits.py does.
"""

import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from digits import EPOCHS, TRAIN, shift


def bottlenecks():
    def normal(x):
        return layers.BatchNormalization()(x)

    given = layers.Input((32, 32, 3))
    x, channels = layers.ReLU(6)(normal(layers.Conv2D(16, 3, 1, "same")(given))), 16
    for made, count, first in ((16, 2, 1), (24, 3, 2), (40, 3, 2)):
        for stride in (first, *[1] * (count - 1)):
            y = layers.ReLU(6)(normal(layers.Conv2D(3 * channels, 1)(x)))
            y = layers.ReLU(6)(normal(layers.DepthwiseConv2D(3, stride, "same")(y)))
            y = normal(layers.Conv2D(made, 1)(y))
            x = layers.Add()([x, y]) if stride == 1 and channels == made else y
            channels = made
    x = layers.ReLU(6)(normal(layers.Conv2D(128, 1)(x)))
    return keras.Model(given, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(x)))


def main():
    folder = pathlib.Path(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(1)
    keras.utils.set_random_seed(1)
    data, model = np.load(folder / "digits32.npz"), bottlenecks()
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * TRAIN // 64)
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = tf.data.Dataset.from_tensor_slices((data["x_train"], data["y_train"])).shuffle(TRAIN, seed=1).map(shift).batch(64)
    model.fit(x, epochs=EPOCHS, verbose=2)
    print(model.evaluate(data["x_test"] / np.float32(255), data["y_test"], verbose=0))
    (folder / "bottlenecks.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


if __name__ == "__main__":
    main()
