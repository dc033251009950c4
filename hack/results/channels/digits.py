"""Handwritten digits on photographs: ten classes in colour, and MLPerf Tiny's ResNet-8 trained on them, whose own data is not at hand.

    python digits.py MNIST FOLDER

MNIST is the folder of its IDX files. Each digit is turned by up to 25°, scaled, given a colour and laid on a crop of a photograph (those of ../photos.py; training
crops and test crops are from different parts). FOLDER gets resnet8.tflite and digits32.npz. Needs TensorFlow, Pillow, scikit-image and scikit-learn.
"""

import gzip
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from PIL import Image

from photos import FOLDERS

TRAIN, TEST, EPOCHS = 20000, 4000, 8


def read(folder, name):
    data = gzip.decompress((folder / name).read_bytes())
    return np.frombuffer(data, np.uint8, offset=8 if "labels" in name else 16)


def draw(digits, labels, photos, count, side, random):
    x, y = np.empty((count, side, side, 3), np.uint8), labels[:count]
    for i in range(count):
        photo, size = photos[i % len(photos)], random.integers(24, 129)
        left, top = random.integers(photo.width - size + 1), random.integers(photo.height - size + 1)
        ground = photo.resize((side, side), Image.BILINEAR, (left, top, left + size, top + size))
        large = round(random.uniform(0.75, 1.1) * side)
        digit = Image.fromarray(digits[i]).resize((large, large), Image.BILINEAR).rotate(random.uniform(-25, 25), Image.BILINEAR)
        ink, at = Image.new("L", (side, side)), np.round((side - large) / 2 + random.uniform(-0.1, 0.1, 2) * side).astype(int)
        ink.paste(digit, tuple(int(v) for v in at))
        ink = ink.point(lambda v, k=random.uniform(0.5, 0.9): v * k)
        x[i] = Image.composite(Image.new("RGB", (side, side), tuple(int(v) for v in random.integers(0, 256, 3))), ground, ink)
    return x, y


def dataset(folder, side, train=TRAIN):
    photos = [Image.open(os.path.join(at, name)).convert("RGB") for at, names in FOLDERS.items() for name in names]
    random, out = np.random.default_rng(1), {}
    for split, file, start, end, count in (("train", "train", 0, 3, train), ("test", "t10k", 3, 5, TEST)):
        part = [p.crop((p.width * start // 5, 0, p.width * end // 5, p.height)) for p in photos]
        digits, labels = read(folder, f"{file}-images-idx3-ubyte.gz").reshape(-1, 28, 28), read(folder, f"{file}-labels-idx1-ubyte.gz")
        out[f"x_{split}"], out[f"y_{split}"] = draw(digits, labels, part, count, side, random)
    return out


def resnet8():
    def conv(x, filters, size, stride=1):
        return layers.BatchNormalization()(layers.Conv2D(filters, size, stride, "same", kernel_regularizer=keras.regularizers.L2(1e-4))(x))

    given = layers.Input((32, 32, 3))
    x = layers.ReLU()(conv(given, 16, 3))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = conv(layers.ReLU()(conv(x, filters, 3, stride)), filters, 3)
        x = layers.ReLU()(layers.Add()([conv(x, filters, 1, stride) if stride > 1 else x, y]))
    return keras.Model(given, layers.Dense(10, "softmax")(layers.Flatten()(layers.AveragePooling2D(8)(x))))


def shift(x, y):
    """A sample in 0 to 1 moved by up to three pixels, at random."""
    return tf.image.random_crop(tf.pad(tf.cast(x, tf.float32) / 255, [[3, 3], [3, 3], [0, 0]]), (32, 32, 3)), y


def main():
    mnist, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    keras.utils.set_random_seed(1)
    data = dataset(mnist, 32)
    np.savez(out / "digits32.npz", **data)
    model = resnet8()
    steps = EPOCHS * TRAIN // 64
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = tf.data.Dataset.from_tensor_slices((data["x_train"], data["y_train"])).shuffle(TRAIN, seed=1).map(shift).batch(64)
    model.fit(x, epochs=EPOCHS, verbose=2)
    print(model.evaluate(data["x_test"] / np.float32(255), data["y_test"], verbose=0))
    (out / "resnet8.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


if __name__ == "__main__":
    main()
