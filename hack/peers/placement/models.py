#!/usr/bin/env python3
"""Converts networks of their real width to int8, for placement.py.

    python models.py DIR [NAME...] [--size 96]

needs tensorflow (and tf_keras for RegNet). Networks of Keras Applications have random weights; what they are calibrated with is random too, since
where an operator runs depends on shapes, types and options, and on scales only where two of them are equal.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

layers = tf.keras.layers

# Least sizes that networks take, where that is more.
SIZES = {"InceptionV3": 96, "InceptionResNetV2": 96, "Xception": 96}


def application(name, **options):
    def build(size):
        keras = tf.keras
        base = name.partition("-")[0]
        if not hasattr(keras.applications, base):  # RegNet and ResNetRS are in Keras 2 only
            import tf_keras as keras
        given = {"input_shape": (size, size, 3), "weights": None, "classes": 100, **options}
        if base.startswith(("MobileNetV3", "EfficientNetV2", "ConvNeXt", "RegNet")):
            given["include_preprocessing"] = False
        return getattr(keras.applications, base)(**given)

    return build


def unet(size):
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    kept = []
    for width in (16, 32, 64):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        kept.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(128, 3, padding="same", activation="relu")(x)
    for width, skip in zip((64, 32, 16), reversed(kept)):
        x = layers.Conv2DTranspose(width, 2, strides=2)(x)
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(layers.Concatenate()([x, skip]))
    return tf.keras.Model(inputs, layers.Conv2D(4, 1, activation="softmax")(x))


def fpn(size):
    """Two scales of a detector: nearest and bilinear upsampling, heads side by side."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    levels = []
    for width in (16, 32, 64, 128):
        x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
        x = layers.LeakyReLU(0.1)(x)
        levels.append(x)
    top = layers.Conv2D(64, 1)(levels[-1])
    up = layers.UpSampling2D(2, interpolation="nearest")(top)
    middle = layers.Add()([up, layers.Conv2D(64, 1)(levels[-2])])
    fine = layers.Concatenate()([layers.UpSampling2D(2, interpolation="bilinear")(middle), levels[-3]])
    heads = [layers.Reshape((-1, 6))(layers.Conv2D(6, 3, padding="same")(f)) for f in (top, middle, fine)]
    boxes = layers.Concatenate(axis=1)(heads)
    return tf.keras.Model(inputs, layers.Activation("sigmoid")(boxes))


def shuffle(size):
    """Channel shuffles, as in ShuffleNet."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(x)
    for width in (48, 96, 192):
        y = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
        y = layers.Conv2D(width, 1, activation="relu")(y)
        side = size = y.shape[1]
        y = layers.Reshape((side, size, 4, width // 4))(y)
        y = layers.Permute((1, 2, 4, 3))(y)
        x = layers.Reshape((side, size, width))(y)
    return tf.keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def transformer(size):
    """A vision transformer: attention, layer normalization, GELU."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Conv2D(64, 16, strides=16)(x)
    x = layers.Reshape((-1, 64))(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 16)(y, y)])
        y = layers.Dense(128, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(64)(y)])
    return tf.keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def temporal(size):
    """Dilated convolutions over time with gates, as in WaveNet."""
    x = inputs = layers.Input((size, 40), batch_size=1)
    x = layers.Conv1D(32, 1)(x)
    for dilation in (1, 2, 4, 8):
        gate = layers.Conv1D(32, 3, padding="causal", dilation_rate=dilation, activation="sigmoid")(x)
        value = layers.Conv1D(32, 3, padding="causal", dilation_rate=dilation, activation="tanh")(x)
        x = layers.Add()([x, layers.Conv1D(32, 1)(layers.Multiply()([gate, value]))])
    return tf.keras.Model(inputs, layers.Dense(12, activation="softmax")(layers.GlobalMaxPooling1D()(x)))


def recurrent(size):
    """A GRU whose steps are unrolled, over features of sound."""
    inputs = layers.Input((20, 40), batch_size=1)
    x = layers.GRU(48, unroll=True)(inputs)
    return tf.keras.Model(inputs, layers.Dense(12, activation="softmax")(x))


def parametric(size):
    """PReLU, ELU, swish and odd pools."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(16, 5, strides=4, padding="same")(x))
    x = layers.AveragePooling2D(3, strides=2, padding="same")(x)
    x = layers.Activation("swish")(layers.SeparableConv2D(32, 3)(x))
    x = layers.Activation("elu")(layers.Conv2D(32, 3, dilation_rate=2, padding="same")(x))
    x = layers.ZeroPadding2D(((1, 0), (0, 1)))(x)
    x = layers.MaxPooling2D(2)(x)
    return tf.keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))


def strides(size):
    """Strides, windows and factors at and beyond what accelerators take."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Conv2D(16, 3, padding="same")(x)
    heads = [
        layers.DepthwiseConv2D(5, strides=4, padding="same")(x),
        layers.DepthwiseConv2D(3, strides=3)(x),
        layers.Conv2D(8, 7, strides=4)(x),
        layers.MaxPooling2D(4, strides=4, padding="same")(x),
        layers.MaxPooling2D(5, strides=4)(x),
        layers.AveragePooling2D(9, strides=3, padding="same")(x),
        layers.AveragePooling2D(6, strides=6, padding="same")(x),
        layers.Conv2DTranspose(4, 3, strides=3)(x),
        layers.Conv2DTranspose(4, 4, strides=2, padding="same")(x),
        layers.UpSampling2D(3, interpolation="nearest")(x),
        layers.UpSampling2D((2, 4), interpolation="nearest")(x),
        layers.UpSampling2D(3, interpolation="bilinear")(x),
        layers.UpSampling2D((2, 4), interpolation="bilinear")(x),
        layers.UpSampling2D(8, interpolation="bilinear")(x),
        layers.Softmax()(x),
    ]
    heads = [layers.GlobalMaxPooling2D()(h) for h in heads]
    return tf.keras.Model(inputs, layers.Dense(10)(layers.Concatenate()(heads)))


def squeeze(size):
    """Fire modules, as in SqueezeNet."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.MaxPooling2D(3, strides=2)(layers.Conv2D(32, 3, strides=2, activation="relu")(x))
    for narrow, wide in ((16, 32), (16, 32), (32, 64)):
        y = layers.Conv2D(narrow, 1, activation="relu")(x)
        x = layers.Concatenate()([layers.Conv2D(wide, 1, activation="relu")(y), layers.Conv2D(wide, 3, padding="same", activation="relu")(y)])
    return tf.keras.Model(inputs, layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(10, 1)(x))))


def ghost(size):
    """Ghost modules with squeeze and excitation."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6")(x)
    for width in (24, 40):
        y = layers.Conv2D(width // 2, 1, activation="relu")(x)
        x = layers.Concatenate()([y, layers.DepthwiseConv2D(3, padding="same", activation="relu")(y)])
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(width, 1, activation="hard_sigmoid")(layers.Conv2D(width // 4, 1, activation="relu")(gate))
        x = layers.AveragePooling2D(2)(layers.Multiply()([x, gate]))
    return tf.keras.Model(inputs, layers.Dense(10)(layers.Flatten()(x)))


def shuffle_v2(size):
    """Halves of channels that go apart, as in ShuffleNetV2."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    for _ in range(3):
        left, right = layers.Lambda(lambda v: tf.split(v, 2, axis=-1), output_shape=[(size // 2, size // 2, 16)] * 2)(x)
        right = layers.Conv2D(16, 1, activation="relu")(layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(16, 1, activation="relu")(right)))
        x = layers.Concatenate()([left, right])
    return tf.keras.Model(inputs, layers.Dense(10)(layers.GlobalMaxPooling2D()(x)))


def mixer(size):
    """Dense layers over positions and over channels, as in MLP-Mixer."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Reshape(((size // 16) ** 2, 32))(layers.Conv2D(32, 16, strides=16)(x))
    for _ in range(2):
        y = layers.Permute((2, 1))(layers.BatchNormalization()(x))
        x = layers.Add()([x, layers.Permute((2, 1))(layers.Dense((size // 16) ** 2, activation="relu")(y))])
        x = layers.Add()([x, layers.Dense(32)(layers.Dense(64, activation="gelu")(x))])
    return tf.keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def conv_mixer(size):
    """Depthwise convolutions of 7×7 between dense ones."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Activation("relu")(layers.Conv2D(32, 4, strides=4)(x))
    for _ in range(3):
        x = layers.Add()([x, layers.DepthwiseConv2D(7, padding="same", activation="relu")(x)])
        x = layers.Conv2D(32, 1, activation="relu")(x)
    return tf.keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def autoencoder(size):
    """Transposed convolutions back to the image."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    for width in (8, 16, 32):
        x = layers.Conv2D(width, 3, strides=2, padding="same", activation="leaky_relu")(x)
    for width in (16, 8, 3):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", activation="relu" if width > 3 else "tanh")(x)
    return tf.keras.Model(inputs, x)


def separable_time(size):
    """Separable convolutions over time, and statistics of all of it."""
    x = inputs = layers.Input((size, 20), batch_size=1)
    for width in (32, 48):
        x = layers.SeparableConv1D(width, 9, padding="same", activation="relu")(x)
        x = layers.MaxPooling1D(2)(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
    return tf.keras.Model(inputs, layers.Dense(12)(x))


def detector(size):
    """Anchors of two scales: slices, exponentials, sigmoids and tiles of a detector's end."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Conv2D(16, 3, strides=4, padding="same", activation="relu6")(x)
    fine = layers.Conv2D(12, 1)(x)
    coarse = layers.Conv2D(12, 1)(layers.MaxPooling2D()(x))
    rows = layers.Concatenate(axis=1)([layers.Reshape((-1, 6))(v) for v in (fine, coarse)])
    take = lambda start, end: layers.Lambda(lambda v: v[:, :, start:end])(rows)
    centre, extent, score = layers.Activation("sigmoid")(take(0, 2)), layers.Activation("exponential")(take(2, 4)), layers.Softmax()(take(4, 6))
    return tf.keras.Model(inputs, layers.Concatenate()([centre, extent, score]))


def arithmetic(size):
    """Reductions, comparisons and roots between convolutions."""
    x = inputs = layers.Input((size, size, 3), batch_size=1)
    x = layers.Conv2D(8, 3, strides=4, padding="same")(x)
    parts = [
        layers.Lambda(lambda v: tf.reduce_max(v, axis=[1, 2]))(x),
        layers.Lambda(lambda v: tf.reduce_min(v, axis=[1, 2]))(x),
        layers.Lambda(lambda v: tf.reduce_mean(tf.abs(v), axis=[1, 2]))(x),
        layers.Lambda(lambda v: tf.sqrt(tf.reduce_mean(tf.square(v), axis=[1, 2]) + 1e-3))(x),
        layers.Lambda(lambda v: tf.reduce_sum(tf.maximum(v, 0.1), axis=[1, 2]))(x),
        layers.Lambda(lambda v: tf.reshape(tf.nn.space_to_depth(v, 2), (1, -1))[:, :8])(x),
        layers.Lambda(lambda v: tf.math.rsqrt(tf.reduce_mean(v * v, axis=[1, 2]) + 1.0))(x),
        layers.Lambda(lambda v: tf.pad(tf.reduce_mean(v, axis=[1, 2]), ((0, 0), (1, 2)), mode="REFLECT"))(x),
    ]
    return tf.keras.Model(inputs, layers.Dense(4)(layers.Concatenate()(parts)))


NETWORKS = {
    "mobilenet_025": application("MobileNet", alpha=0.25),
    "mobilenet_100": application("MobileNet"),
    "mobilenet_v2_035": application("MobileNetV2", alpha=0.35),
    "mobilenet_v2_100": application("MobileNetV2"),
    "mobilenet_v3_small": application("MobileNetV3Small"),
    "mobilenet_v3_small_minimalistic": application("MobileNetV3Small", minimalistic=True),
    "mobilenet_v3_large": application("MobileNetV3Large"),
    "efficientnet_b0": application("EfficientNetB0"),
    "efficientnet_v2_b0": application("EfficientNetV2B0"),
    "resnet_50": application("ResNet50"),
    "resnet_50_v2": application("ResNet50V2"),
    "densenet_121": application("DenseNet121"),
    "inception_v3": application("InceptionV3"),
    "xception": application("Xception"),
    "nasnet_mobile": application("NASNetMobile"),
    "regnet_x_002": application("RegNetX002"),
    "regnet_y_002": application("RegNetY002"),
    "convnext_tiny": application("ConvNeXtTiny"),
    "unet": unet,
    "fpn": fpn,
    "shuffle": shuffle,
    "transformer": transformer,
    "temporal": temporal,
    "recurrent": recurrent,
    "parametric": parametric,
    "strides": strides,
    "squeeze": squeeze,
    "ghost": ghost,
    "shuffle_v2": shuffle_v2,
    "mixer": mixer,
    "conv_mixer": conv_mixer,
    "autoencoder": autoencoder,
    "separable_time": separable_time,
    "detector": detector,
    "arithmetic": arithmetic,
}


def convert(model):
    rng = np.random.default_rng(1)
    shape = (1, *model.inputs[0].shape[1:])
    # At a fixed batch, as devices run it.
    fixed = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)])
    frozen = convert_variables_to_constants_v2(fixed.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([rng.normal(size=shape).astype(np.float32)] for _ in range(3))
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("name", nargs="*")
    parser.add_argument("--size", type=int, default=96)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.name or NETWORKS:
        path = args.folder / f"{name}.tflite"
        if path.exists():
            continue
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(1)
        content = convert(NETWORKS[name](args.size))
        path.write_bytes(content)
        print(name, len(content), flush=True)


if __name__ == "__main__":
    main()
