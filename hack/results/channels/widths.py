"""What widths cost in LiteRT: int8 convolutions of 3×3 on 32×32, and ResNet-8 of other widths, one thread.

    python widths.py

Weights are random: they do not change the time. Needs TensorFlow and ai-edge-litert. Networks take turns, so that what else the machine does is shared; each one's time is
the least of its turns.
"""

import contextlib
import io
import math
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

TURNS, CALLS = 60, 10
INPUTS, OUTPUTS = (8, 16, 24, 32), (8, 16, 24, 32)
# Channels of each residual sum, and of what is inside of the blocks: stem, block 1, block 2 and its sum, block 3 and its sum.
RESNETS = [
    (16, 16, 32, 32, 64, 64),
    (16, 8, 32, 32, 64, 64),
    (8, 16, 32, 32, 64, 64),
    (8, 8, 32, 32, 64, 64),
    (16, 16, 16, 32, 32, 64),
    (16, 16, 16, 16, 32, 32),
    (16, 8, 16, 32, 32, 48),
    (16, 12, 16, 16, 32, 32),
    (16, 8, 16, 16, 32, 32),
    (8, 16, 16, 32, 32, 48),
    (8, 8, 16, 32, 32, 48),
    (8, 8, 16, 16, 32, 32),
]


def convolution(given, made):
    x = layers.Input((32, 32, given), batch_size=1)
    return keras.Model(x, layers.Conv2D(made, 3, padding="same", activation="relu")(x))


def resnet8(stem, *widths):
    given = layers.Input((32, 32, 3), batch_size=1)
    x = layers.Conv2D(stem, 3, padding="same", activation="relu")(given)
    for inner, made, stride in ((widths[0], stem, 1), (*widths[1:3], 2), (*widths[3:], 2)):
        y = layers.Conv2D(inner, 3, stride, "same", activation="relu")(x)
        y = layers.Conv2D(made, 3, padding="same")(y)
        x = layers.ReLU()(layers.Add()([layers.Conv2D(made, 1, stride)(x) if stride > 1 else x, y]))
    return keras.Model(given, layers.Dense(10, "softmax")(layers.Flatten()(layers.AveragePooling2D(8)(x))))


def multiplications(model):
    return sum(math.prod(l.output.shape[1:-1]) * math.prod(l.kernel.shape) for l in model.layers if hasattr(l, "kernel"))


def interpreter(model):
    random = np.random.default_rng(1)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[random.normal(size=model.input_shape).astype(np.float32)]]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with contextlib.redirect_stdout(io.StringIO()):
        leaf = Interpreter(model_content=converter.convert(), num_threads=1)
    leaf.allocate_tensors()
    leaf.invoke()
    return leaf


def least(leaves):
    seconds = [math.inf] * len(leaves)
    for _ in range(TURNS):
        for k, leaf in enumerate(leaves):
            start = time.perf_counter()
            for _ in range(CALLS):
                leaf.invoke()
            seconds[k] = min(seconds[k], (time.perf_counter() - start) / CALLS)
    return seconds


def main():
    seconds = iter(least([interpreter(convolution(i, o)) for i in INPUTS for o in OUTPUTS]))
    print("µs, convolution to", *OUTPUTS)
    for i in INPUTS:
        print(f"of {i}:", *(f"{1e6 * next(seconds):.1f}" for _ in OUTPUTS))
    models = [resnet8(*widths) for widths in RESNETS]
    seconds = least([interpreter(m) for m in models])
    for widths, m, s in zip(RESNETS, models, seconds):
        print(f"ResNet-8 of {widths}: multiplications {multiplications(m) / multiplications(models[0]):.2f}, {1e6 * s:.1f} µs, {s / seconds[0]:.2f}")


main()
