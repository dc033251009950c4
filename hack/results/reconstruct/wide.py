"""A network with layers of 4,608 and 8,192 inputs, trained for one epoch on half of MNIST, and a dataset for it.

    python wide.py MNIST FOLDER

MNIST is the folder of its four idx.gz files. Needs tensorflow; makes FOLDER/wide.tflite and FOLDER/wide.npz.
"""

import gzip
import os
import sys

import numpy as np
import tensorflow as tf

L = tf.keras.layers


def read(path):
    data = gzip.open(path).read()
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def main():
    mnist, folder = sys.argv[1:]
    (x, y), (tx, ty) = [(read(os.path.join(mnist, f"{k}-images-idx3-ubyte.gz"))[..., None] / np.float32(255), read(os.path.join(mnist, f"{k}-labels-idx1-ubyte.gz")).astype(np.int64)) for k in ("train", "t10k")]
    tf.keras.utils.set_random_seed(1)
    out = image = L.Input((28, 28, 1))
    for channels in (32, 64, 512):
        out = L.Conv2D(channels, 3, 2, "same", activation="relu")(out)
    out = L.Conv2D(64, 3, 1, "same", activation="relu")(out)  # 4,608 inputs
    out = L.Flatten()(L.Conv2D(512, 1, 1, "same", activation="relu")(out))
    out = L.Dense(10, activation="softmax")(L.Dense(64, activation="relu")(out))  # 8,192 inputs, and 64
    model = tf.keras.Model(image, out)
    model.compile(tf.keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:30000], y[:30000], 128, 1, verbose=2)
    with open(os.path.join(folder, "wide.tflite"), "wb") as f:
        f.write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    np.savez_compressed(os.path.join(folder, "wide.npz"), x_train=x[:2000], y_train=y[:2000], x_test=tx[:2000], y_test=ty[:2000])


if __name__ == "__main__":
    main()
