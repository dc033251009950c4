"""Handwritten digits on photographs: a dataset of ten classes in colour, and two networks trained on it, for networks whose own data is not at hand.

    python digits.py MNIST FOLDER

MNIST is the folder of its IDX files. Each digit is turned by up to 25°, scaled, given a colour and laid on a crop of a photograph (those of photos.py; training
crops and test crops are from different parts). FOLDER gets resnet8.tflite (MLPerf Tiny's ResNet-8, 32 × 32 pixels) with digits32.npz and mobilenet.tflite
(MobileNetV1 with a quarter of its channels, 64 × 64) with digits64.npz. Needs TensorFlow, scikit-image and scikit-learn.
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
from skimage import io, transform

from photos import FOLDERS

EPOCHS = 12


def read(folder, name):
    data = gzip.decompress((folder / name).read_bytes())
    return np.frombuffer(data, np.uint8, offset=8 if "labels" in name else 16)


def draw(digits, labels, photos, count, side, random):
    x, y = np.empty((count, side, side, 3), np.uint8), labels[:count]
    for i in range(count):
        photo = photos[i % len(photos)]
        size = random.integers(24, 129)
        top, left = random.integers(photo.shape[0] - size + 1), random.integers(photo.shape[1] - size + 1)
        ground = transform.resize(photo[top : top + size, left : left + size] / 255, (side, side), anti_aliasing=size > side)
        turn, scale = np.deg2rad(random.uniform(-25, 25)), random.uniform(0.75, 1.1) * side / 28
        move = transform.SimilarityTransform(translation=(-13.5, -13.5)) + transform.SimilarityTransform(scale=scale, rotation=turn)
        move += transform.SimilarityTransform(translation=side / 2 + random.uniform(-0.1, 0.1, 2) * side)
        ink = transform.warp(digits[i] / 255, move.inverse, output_shape=(side, side))[..., None] * random.uniform(0.5, 0.9)
        x[i] = np.round(255 * ((1 - ink) * ground + ink * random.uniform(0, 1, 3)))
    return x, y


def dataset(folder, side):
    photos = [io.imread(os.path.join(at, name))[:, :, :3] for at, names in FOLDERS.items() for name in names]
    cuts, random, out = [p.shape[1] * 3 // 5 for p in photos], np.random.default_rng(1), {}
    for split, file, part, count in (("train", "train", [p[:, :c] for p, c in zip(photos, cuts)], 12000), ("test", "t10k", [p[:, c:] for p, c in zip(photos, cuts)], 4000)):
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


def mobilenet():
    return keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=10, dropout=0.1)


def main():
    mnist, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    for name, build, side, epochs in (("resnet8", resnet8, 32, EPOCHS), ("mobilenet", mobilenet, 64, 2 * EPOCHS)):
        data = dataset(mnist, side)
        np.savez(out / f"digits{side}.npz", **data)
        model = build()
        steps = epochs * len(data["x_train"]) // 64
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)), "sparse_categorical_crossentropy", metrics=["accuracy"])
        x = tf.data.Dataset.from_tensor_slices((data["x_train"], data["y_train"])).shuffle(12000, seed=1).batch(64).map(lambda x, y: (tf.cast(x, tf.float32) / 255, y))
        model.fit(x, epochs=epochs, verbose=2)
        print(name, model.evaluate(data["x_test"] / np.float32(255), data["y_test"], verbose=0), flush=True)
        (out / f"{name}.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


main()
