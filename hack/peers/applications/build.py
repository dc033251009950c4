#!/usr/bin/env python3
"""Builds networks of Keras Applications small, trains them a few steps on a toy set and converts them with the default batch, None.

    python build.py DIR [NAME...] [--size 32] [--classes 10] [--steps 750]

Without names it is every network of the table in docs/results.md. Of each it writes DIR/NAME/model.tflite, data.npz and pipeline.yaml.
The operators and how they hang together are Keras's; only channels are divided. The toy set: every class has a smooth random image;
a sample is its class's mixed with up to 45 % of another's, shifted, under noise. So there are samples near every border, and what a
network loses shows.
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
  training: {epochs: EPOCHS, batchSize: 32, learningRate: "RATE"}
  stages:
  - {name: prune,   prune: {sparsity: "0.5"}}
  - {name: pqat,    quantize: {}}
  - {name: cluster, cluster: {clusters: 16}}
  - {name: pcqat,   quantize: {}}
"""

NETWORKS = [
    "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Small-minimalistic", "MobileNetV3Large", "MobileNetV3Large-minimalistic",
    "EfficientNetB0", "EfficientNetV2B0", "ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3", "Xception", "NASNetMobile", "VGG16",
    "RegNetX002", "RegNetY002", "ConvNeXtTiny",
]

# Networks that are narrow as they are: a fourth of their channels would be too few to learn with.
SLIM = ("MobileNet", "EfficientNet", "RegNet")

# What the networks accept at least, where that is more than 32 pixels.
SIZES = {"InceptionV3": 75, "Xception": 72}


def toy(n, size, classes, seed):
    """Returns n images and their classes."""
    cells = np.random.default_rng(0).normal(size=(classes, 6, 6, 3))
    prototypes = tf.image.resize(cells, (size, size), "bicubic").numpy()
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    other = (labels + rng.integers(1, classes, n)) % classes
    share = rng.uniform(0.55, 1, (n, 1, 1, 1))
    image = share * prototypes[labels] + (1 - share) * prototypes[other] + rng.normal(0, 0.3, (n, size, size, 3))
    for i, shift in enumerate(rng.integers(-size // 16, size // 16 + 1, (n, 2))):
        image[i] = np.roll(image[i], shift, (0, 1))
    return image.astype(np.float32), labels.astype(np.int32)


def build(name, size, classes, divide):
    """Returns the network, its channels divided, and the Keras that it is of."""
    base, _, variant = name.partition("-")
    options = {"input_shape": (size, size, 3), "classes": classes, "weights": None}
    if base.startswith("MobileNetV3"):
        options["minimalistic"] = variant == "minimalistic"
    if base.startswith(("MobileNetV3", "EfficientNetV2", "ConvNeXt", "RegNet")):
        options["include_preprocessing"] = False
    if base == "NASNetMobile" and divide > 1:  # whose halves of channels have to fit: its own way to be narrow
        from keras.src.applications.nasnet import NASNet

        channels = max(1, round(11 / divide)) * 96
        return NASNet(**options, penultimate_filters=channels, num_blocks=4, stem_block_filters=32 // divide, skip_reduction=False, filter_multiplier=2, default_size=224), tf.keras
    keras = tf.keras
    if not hasattr(keras.applications, base):  # RegNet is in Keras 2 only
        import tf_keras as keras
    return narrow(getattr(keras.applications, base)(**options), divide, keras), keras


def narrow(model, divide, keras):
    """Returns the model with its channels divided, but for the classes."""
    classifier = [layer for layer in model.layers if hasattr(layer, "kernel")][-1]
    body = True

    def clone(layer):
        nonlocal body
        body = body and layer is not classifier
        if isinstance(layer, keras.Sequential):
            return keras.Sequential([clone(inner) for inner in layer.layers], name=layer.name)
        config = layer.get_config()
        if body:
            if config.get("groups", 1) == config.get("filters"):  # depthwise
                config["groups"] = -(-config["groups"] // divide)
            for key in ("filters", "units", "projection_dim"):
                if config.get(key):
                    config[key] = -(-config[key] // divide)
            if "target_shape" in config:
                *positions, channels = config["target_shape"]
                config["target_shape"] = (*positions, -(-channels // divide))
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=clone)


def train(model, keras, x, y, batch):
    normalized = [layer for layer in model.layers if "BatchNormalization" in type(layer).__name__]
    for layer in normalized:
        layer.momentum = 0.9  # a few steps have to do
    steps, peak = len(x) // batch, 3e-3 if normalized else 3e-4
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - steps // 10, warmup_target=peak, warmup_steps=steps // 10)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.fit(x, y, batch_size=batch, epochs=1, verbose=0)


def make(name, folder, args):
    size = args.size or SIZES.get(name, 32)
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(1)
    folder.mkdir(parents=True, exist_ok=True)
    x, y = toy(args.samples, size, args.classes, 1)
    xt, yt = toy(args.tests, size, args.classes, 2)
    np.savez(folder / "data.npz", x_train=x, y_train=y, x_test=xt, y_test=yt)
    divide = args.divide or (2 if name.startswith(SLIM) else 4)
    model, keras = build(name, size, args.classes, divide)
    said = f"{name}: {model.count_params()} parameters, input {size}"
    if args.steps:
        batch = 32
        train(model, keras, *toy(batch * args.steps, size, args.classes, 3), batch)
        said += f", accuracy {model.evaluate(xt, yt, verbose=0)[1]:.3f}"
    print(said, flush=True)
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    (folder / "pipeline.yaml").write_text(PIPELINE.replace("EPOCHS", str(args.epochs)).replace("RATE", args.rate))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("name", nargs="*")
    parser.add_argument("--divide", type=int, default=0, help="channels by this; without it 4, of narrow networks 2")
    parser.add_argument("--size", type=int, default=0, help="pixels; without it 32, or the least that the network takes")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--steps", type=int, default=750, help="of training before the walk, of 32 samples; 0: random weights")
    parser.add_argument("--epochs", type=int, default=2, help="of each stage of the walk")
    parser.add_argument("--rate", default="1e-3", help="of each stage of the walk")
    parser.add_argument("--samples", type=int, default=2048, help="that the walk trains with")
    parser.add_argument("--tests", type=int, default=1000)
    args = parser.parse_args()
    for name in args.name or NETWORKS:
        make(name, args.folder / name, args)


if __name__ == "__main__":
    main()
