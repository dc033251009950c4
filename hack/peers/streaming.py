#!/usr/bin/env python3
"""Converts streaming networks that keep their state in variables, float and int8, and records 1,000 steps of LiteRT's reference kernels.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow==2.21.0 ai-edge-litert
    /tmp/peers/bin/python hack/peers/streaming.py optimizer/exec/integer/testdata/streaming

ring is shaped as a wake word's: depthwise convolutions of two widths over ring buffers of frames, then a dense layer.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

STEPS = 1000
random = np.random.default_rng(11)


class Ring(tf.Module):
    """Every call takes two frames of eight features."""

    def __init__(self):
        self.wide = tf.Variable(tf.zeros([1, 4, 8]), trainable=False)
        self.long = tf.Variable(tf.zeros([1, 6, 4]), trainable=False)
        weight = lambda *shape: tf.constant(random.normal(0, 0.5, shape), tf.float32)
        self.first, self.mix, self.second, self.dense = weight(5, 1, 8, 1), weight(1, 1, 8, 4), weight(7, 1, 4, 1), weight(8, 3)

    def filtered(self, x, kernel):
        return tf.nn.depthwise_conv2d(x[:, :, None, :], kernel, [1, 1, 1, 1], "VALID")

    @tf.function(input_signature=[tf.TensorSpec([1, 2, 8], tf.float32)])
    def step(self, x):
        x = tf.concat([self.wide, x], 1)
        self.wide.assign(x[:, -4:])
        x = tf.nn.relu(tf.nn.conv2d(self.filtered(x, self.first), self.mix, 1, "VALID"))
        x = tf.concat([self.long, x[:, :, 0]], 1)
        self.long.assign(x[:, -6:])
        x = tf.nn.relu(self.filtered(x, self.second))
        return tf.sigmoid(tf.reshape(x, [1, 8]) @ self.dense)


def frames():
    return random.normal(0, 1, [1, 2, 8]).astype(np.float32)


def convert(kind):
    network = Ring()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.step.get_concrete_function()], network)
    converter.experimental_enable_resource_variables = True
    if kind == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([frames()] for _ in range(200))
        converter._experimental_variable_quantization = True
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for kind in "f32", "int8":
        model = convert(kind)
        (folder / f"ring_{kind}.tflite").write_bytes(model)
        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        interpreter.allocate_tensors()
        d, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        inputs, outputs = [], []
        for _ in range(STEPS):
            x = frames()
            if d["dtype"] == np.int8:
                scale, zero = d["quantization"]
                x = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
            interpreter.set_tensor(d["index"], x)
            interpreter.invoke()
            inputs.append(x)
            outputs.append(interpreter.get_tensor(out["index"]).copy())
        np.savez_compressed(folder / f"ring_{kind}.npz", input_0=np.stack(inputs), output_0=np.stack(outputs))


if __name__ == "__main__":
    main()
