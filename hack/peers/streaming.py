#!/usr/bin/env python3
"""Converts networks that keep state from call to call, float and int8, and records 1,000 steps of LiteRT's reference kernels and of
tflite-micro's.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow==2.21.0 ai-edge-litert tflite-micro
    /tmp/peers/bin/python hack/peers/streaming.py optimizer/exec/integer/testdata/streaming [NAME ...]

Without names all are made, with weights drawn anew, so that files change.

    ring   depthwise convolutions of two widths over ring buffers of frames, then a dense layer
    mixed  as microWakeWord has it: a convolution over a ring buffer, then blocks of mixed depthwise convolutions, which filter groups of
           channels over ring buffers of different lengths, and pointwise ones; every third frame is new, one output, from 0 to 1
    frames the same state as inputs and outputs: two ring buffers that the caller hands on
    gru    a gated recurrent unit, whose state the caller hands on; float
    delay  two variables of which one is what the other was, and a running mean that is read after it was set; float
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro.runtime import Interpreter as Micro

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

    variables = True
    inputs = [(1, 2, 8)]
    states = 0


class Mixed(tf.Module):
    """Every call takes three frames of ten features."""

    variables = True
    inputs = [(1, 3, 10)]
    states = 0

    def __init__(self):
        weight = lambda *shape: tf.constant(random.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape), tf.float32)
        self.rings = []
        self.ring([1, 2, 1, 10])
        self.conv, self.bias = weight(5, 1, 10, 12), tf.constant(random.normal(0, 0.1, 12), tf.float32)
        self.blocks = []
        for widths in (3, 5), (3, 5, 7):
            size = 12 // len(widths)
            filters = [tf.constant(random.normal(0, 0.5, (w, 1, size, 1)), tf.float32) for w in widths]
            for w in widths:
                self.ring([1, w - 1, 1, size])
            self.blocks.append((filters, weight(1, 1, 12, 12), tf.constant(random.normal(0, 0.1, 12), tf.float32)))
        self.ring([1, 3, 1, 12])
        self.dense = tf.constant(random.normal(0, 0.2, (48, 1)), tf.float32)

    def ring(self, shape):
        self.rings.append(tf.Variable(tf.zeros(shape), trainable=False, name=f"ring_{len(self.rings)}"))

    def remembered(self, ring, x):
        x = tf.concat([ring, x], 1)
        ring.assign(x[:, -ring.shape[1]:])
        return x

    @tf.function(input_signature=[tf.TensorSpec([1, 3, 10], tf.float32)])
    def step(self, x):
        rings = iter(self.rings)
        x = self.remembered(next(rings), x[:, :, None, :])
        x = tf.nn.relu(tf.nn.conv2d(x, self.conv, 1, "VALID") + self.bias)
        for filters, mix, bias in self.blocks:
            parts = []
            for part, kernel in zip(tf.split(x, len(filters), axis=3), filters):
                part = self.remembered(next(rings), part)
                parts.append(tf.nn.depthwise_conv2d(part, kernel, [1, 1, 1, 1], "VALID"))
            x = tf.nn.relu(tf.nn.conv2d(tf.concat(parts, 3), mix, 1, "VALID") + bias)
        x = self.remembered(next(rings), x)
        return tf.sigmoid(tf.reshape(x, [1, 48]) @ self.dense)


class Frames(tf.Module):
    """Every call takes one frame of six features and the two rings that the call before gave."""

    variables = False
    inputs = [(1, 1, 6), (1, 4, 6), (1, 3, 5)]
    states = 2

    def __init__(self):
        weight = lambda *shape: tf.constant(random.normal(0, 0.5, shape), tf.float32)
        self.first, self.mix, self.second, self.dense = weight(5, 1, 6, 1), weight(1, 1, 6, 5), weight(4, 1, 5, 5), weight(5, 4)

    @tf.function(input_signature=[tf.TensorSpec(s, tf.float32, name=n) for s, n in zip(inputs, ["x", "near_in", "far_in"])])
    def step(self, x, near, far):
        near = tf.concat([near, x], 1)
        y = tf.nn.relu(tf.nn.conv2d(tf.nn.depthwise_conv2d(near[:, :, None, :], self.first, [1, 1, 1, 1], "VALID"), self.mix, 1, "VALID"))
        far = tf.concat([far, y[:, :, 0]], 1)
        y = tf.nn.relu(tf.nn.conv2d(far[:, :, None, :], self.second, 1, "VALID"))
        return {"y": tf.nn.softmax(tf.reshape(y, [1, 5]) @ self.dense), "near_out": near[:, -4:], "far_out": far[:, -3:]}


class Gru(tf.Module):
    """Every call takes a frame of six features and the state of eight that the call before gave."""

    variables = False
    inputs = [(1, 6), (1, 8)]
    states = 1

    def __init__(self):
        weight = lambda *shape: tf.constant(random.normal(0, 0.5, shape), tf.float32)
        self.kernel, self.gates, self.candidate, self.dense = weight(6, 24), weight(8, 16), weight(8, 8), weight(8, 3)

    @tf.function(input_signature=[tf.TensorSpec(s, tf.float32, name=n) for s, n in zip(inputs, ["x", "h"])])
    def step(self, x, h):
        of_x = x @ self.kernel
        gates = tf.sigmoid(of_x[:, :16] + h @ self.gates)
        update, reset = gates[:, :8], gates[:, 8:]
        candidate = tf.tanh(of_x[:, 16:] + (reset * h) @ self.candidate)
        h = update * h + (1.0 - update) * candidate
        return {"y": tf.nn.softmax(h @ self.dense), "h_next": h}


class Delay(tf.Module):
    """Every call takes five numbers."""

    variables = True
    inputs = [(1, 5)]
    states = 0

    def __init__(self):
        weight = lambda *shape: tf.constant(random.normal(0, 0.5, shape), tf.float32)
        self.last, self.older, self.mean = (tf.Variable(tf.zeros([1, n]), trainable=False, name=name) for name, n in (("last", 5), ("older", 5), ("mean", 7)))
        self.hidden, self.dense = weight(15, 7), weight(7, 2)

    @tf.function(input_signature=[tf.TensorSpec([1, 5], tf.float32)])
    def step(self, x):
        before = self.last.read_value()
        y = tf.nn.relu(tf.concat([x, before, self.older], 1) @ self.hidden)
        self.older.assign(before)
        self.last.assign(x)
        self.mean.assign(0.9 * self.mean + 0.1 * y)
        return self.mean.read_value() @ self.dense


def frames(network):
    return [random.normal(0, 1, shape).astype(np.float32) for shape in network.inputs]


def calls(network, n):
    """What n calls one after the other are given."""
    states = [np.zeros(shape, np.float32) for shape in network.inputs[len(network.inputs) - network.states:]]
    for _ in range(n):
        x = frames(network)[: len(network.inputs) - network.states] + states
        yield x
        if network.states:
            made = network.step(*map(tf.constant, x))
            states = [made[name].numpy() for name in network.next]


def convert(network, kind):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.step.get_concrete_function()], network)
    converter.experimental_enable_resource_variables = network.variables
    if kind == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        names = list(network.step.get_concrete_function().structured_input_signature[0])
        converter.representative_dataset = lambda: (dict(zip([n.name for n in names], x)) if network.states else x for x in calls(network, 200))
        converter._experimental_variable_quantization = network.variables
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def record(folder, name, network, model, kind):
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    details, out = interpreter.get_input_details(), interpreter.get_output_details()
    order = pairs(interpreter, network)  # of each state: place among inputs, among outputs
    data = next(i for i in range(len(details)) if i not in [a for a, _ in order])
    answer = next(i for i in range(len(out)) if i not in [b for _, b in order])
    inputs = []
    for _ in range(STEPS):
        x = random.normal(0, 1, details[data]["shape"]).astype(np.float32)
        if kind == "int8":
            scale, zero = details[data]["quantization"]
            x = np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
        inputs.append(x)

    def run(call):
        state = {a: np.full(details[a]["shape"], details[a]["quantization"][1], details[a]["dtype"]) for a, _ in order}
        outputs = []
        for x in inputs:
            made = call(state | {data: x})
            state = {a: made[b] for a, b in order}
            outputs.append(made[answer])
        return np.stack(outputs)

    def litert(given):
        for i, v in given.items():
            interpreter.set_tensor(details[i]["index"], v)
        interpreter.invoke()
        return [interpreter.get_tensor(o["index"]).copy() for o in out]

    arrays = {"input_0": np.stack(inputs), "output_0": run(litert)}
    if kind == "int8":
        micro = Micro.from_bytes(model, arena_size=1 << 20)

        def tflm(given):
            for i, v in given.items():
                micro.set_input(v, i)
            micro.invoke()
            return [micro.get_output(i).copy() for i in range(len(out))]

        arrays["tflm_0"] = run(tflm)
        print(f"{name}: {np.mean(arrays['tflm_0'] != arrays['output_0']):.4f} of TFLM's values are others than LiteRT's")
    np.savez_compressed(folder / f"{name}_{kind}.npz", **arrays)


def pairs(interpreter, network):
    if not network.states:
        return []
    signature = interpreter.get_signature_runner()
    index = lambda details: [d["index"] for d in details]
    ins, outs = index(interpreter.get_input_details()), index(interpreter.get_output_details())
    return [(ins.index(signature.get_input_details()[a]["index"]), outs.index(signature.get_output_details()[b]["index"])) for a, b in zip(network.before, network.next)]


Frames.before, Frames.next = ["near_in", "far_in"], ["near_out", "far_out"]
Gru.before, Gru.next = ["h"], ["h_next"]

NETWORKS = {"ring": Ring, "mixed": Mixed, "frames": Frames, "gru": Gru, "delay": Delay}
FLOAT = ["gru", "delay"]  # the converter gives what they hand on several scales, or fails


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or NETWORKS:
        network = NETWORKS[name]()
        for kind in ["f32"] if name in FLOAT else ["f32", "int8"]:
            model = convert(network, kind)
            (folder / f"{name}_{kind}.tflite").write_bytes(model)
            if kind == "int8" or name in FLOAT + ["ring"]:
                record(folder, name, network, model, kind)


if __name__ == "__main__":
    main()
