#!/usr/bin/env python3
"""Builds one network of Keras Applications small, trains it a few steps on a toy set and converts it with the default batch, None.

    python build.py MobileNetV2 /tmp/applications/MobileNetV2 [--size 64] [--classes 4] [--steps 120]

It writes model.tflite, data.npz and pipeline.yaml into the folder. The toy set: gratings of four directions under noise.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

PIPELINE = """apiVersion: espalier.dev/v1alpha1
kind: OptimizationPipeline
metadata: {name: applications}
spec:
  model: {uri: model.tflite}
  dataset: {uri: data.npz}
  training: {epochs: EPOCHS, batchSize: 16, learningRate: "1e-4"}
  stages:
  - {name: prune,   prune: {sparsity: "0.5"}}
  - {name: pqat,    quantize: {}}
  - {name: cluster, cluster: {clusters: 16}}
  - {name: pcqat,   quantize: {}}
"""

# What the networks accept at least, where that is more than 32 pixels.
SIZES = {"InceptionV3": 75, "Xception": 72, "NASNetMobile": 64}


def toy(n, size, classes, seed):
    """Gratings: the class is the direction; phase, wavelength, colours and noise vary."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    angle = labels * np.pi / classes
    y, x = np.mgrid[0:size, 0:size] / size
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    waves = rng.uniform(3, 6, (n, 1, 1))
    image = np.sin(2 * np.pi * (along * waves + rng.uniform(0, 1, (n, 1, 1))))
    image = image[..., None] * rng.uniform(0.5, 1, (n, 1, 1, 3)) + rng.normal(0, 0.3, (n, size, size, 3))
    return image.astype(np.float32), labels.astype(np.int32)


def build(name, size, classes):
    base, _, variant = name.partition("-")
    options = {"input_shape": (size, size, 3), "classes": classes, "weights": None}
    if base.startswith("MobileNetV3"):
        options["minimalistic"] = variant == "minimalistic"
    if base.startswith(("MobileNetV3", "EfficientNetV2", "ConvNeXt", "RegNet")) and variant != "preprocessing":
        options["include_preprocessing"] = False
    applications = tf.keras.applications
    if not hasattr(applications, base):  # RegNet is in Keras 2 only
        import tf_keras

        applications = tf_keras.applications
    if base == "NASNetMobile":
        options["include_top"] = True
    model = getattr(applications, base)(**options)
    for layer in model.layers:
        if "BatchNormalization" in type(layer).__name__:
            layer.momentum = 0.8  # a few steps have to do
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=2, help="of each stage of the walk")
    parser.add_argument("--samples", type=int, default=256)
    args = parser.parse_args()
    tf.keras.utils.set_random_seed(1)
    size = args.size or SIZES.get(args.name, 32)
    args.folder.mkdir(parents=True, exist_ok=True)

    x, y = toy(args.samples + 128, size, args.classes, 1)
    np.savez_compressed(args.folder / "data.npz", x_train=x[: args.samples], y_train=y[: args.samples],
                        x_test=x[args.samples :], y_test=y[args.samples :])
    model = build(args.name, size, args.classes)
    if args.steps:
        xs, ys = toy(16 * args.steps, size, args.classes, 2)
        keras = __import__(type(model).__module__.split(".")[0])
        model.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(xs, ys, batch_size=16, epochs=1, verbose=0)
        _, accuracy = model.evaluate(x[args.samples :], y[args.samples :], verbose=0)
        print(f"{args.name}: {model.count_params()} parameters, input {size}, accuracy {accuracy:.3f}")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    (args.folder / "model.tflite").write_bytes(converter.convert())
    (args.folder / "pipeline.yaml").write_text(PIPELINE.replace("EPOCHS", str(args.epochs)))


if __name__ == "__main__":
    main()
