#!/usr/bin/env python3
"""Makes float networks that keep state in other ways than streaming.py's, each with data and pipelines, and compares their leaves with LiteRT
and TensorFlow Lite Micro.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow==2.21.0 ai-edge-litert tflite-micro
    /tmp/peers/bin/python hack/peers/streaming_variants.py make FOLDER
    for p in FOLDER/*/*.yaml; do espalier run $p -o ${p%.yaml}; done
    /tmp/peers/bin/python hack/peers/streaming_variants.py check FOLDER

There is a pipeline for each target, litert and tflm, with activations of int8 and of int16. `check` runs every leaf for 1,000 steps in LiteRT's
reference kernels or, of those for TFLM, in tflite-micro, each step with the state of the one before, and compares every byte of every output, states
among them, with what optimizer/exec/integer computes. The exit code is 1 if any leaf differs.

    residual  frames by two, a strided convolution and residual blocks of mixed depthwise convolutions, state in variables; a label a sequence
    denoiser  two LSTM cells whose states are inputs and outputs; a mask at each step
    tcn       dilated causal convolutions over ring buffers in inputs and outputs; a class at each step
    rnnoise   three gated recurrent units; gains and voice activity at each step
"""

import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro.runtime import Interpreter as Micro

SEQUENCE, STEPS = 20, 1000
random = np.random.default_rng(5)
weight = lambda *shape: tf.constant(random.normal(0, (1.5 / np.prod(shape[:-1])) ** 0.5, shape), tf.float32)
spec = lambda name, *shape: tf.TensorSpec(shape, tf.float32, name=name)


class Residual(tf.Module):
    states = {}

    def __init__(self):
        self.rings = []
        self.ring(1, 10)
        self.first, self.bias, self.blocks = weight(3, 1, 10, 16), weight(16), []
        for widths in (3, 9), (5,), (5, 9, 11):
            sizes = [16 // len(widths)] * len(widths)
            sizes[0] += 16 - sum(sizes)
            for width, size in zip(widths, sizes):
                self.ring(width - 1, size)
            self.blocks.append((sizes, [weight(width, 1, size, 1) for width, size in zip(widths, sizes)], weight(1, 1, 16, 16), weight(16)))
        self.ring(7, 16)
        self.dense = weight(16, 2)

    def ring(self, frames, channels):
        self.rings.append(tf.Variable(tf.zeros([1, frames, 1, channels]), trainable=False, name=f"ring_{len(self.rings)}"))

    def remembered(self, ring, x):
        x = tf.concat([ring, x], 1)
        ring.assign(x[:, -ring.shape[1]:])
        return x

    @tf.function(input_signature=[spec("x", 1, 2, 10)])
    def step(self, x):
        rings = iter(self.rings)
        x = tf.nn.relu(tf.nn.conv2d(self.remembered(next(rings), x[:, :, None, :]), self.first, [1, 2, 1, 1], "VALID") + self.bias)
        for sizes, kernels, mix, bias in self.blocks:
            parts = [tf.nn.depthwise_conv2d(self.remembered(next(rings), part), kernel, [1, 1, 1, 1], "VALID") for part, kernel in zip(tf.split(x, sizes, axis=3), kernels)]
            x = tf.nn.relu(tf.nn.conv2d(tf.concat(parts, 3), mix, 1, "VALID") + bias) + x
        return tf.nn.softmax(tf.reduce_mean(self.remembered(next(rings), x), [1, 2]) @ self.dense)


class Denoiser(tf.Module):
    states = {name: name + "_out" for name in ("h1", "c1", "h2", "c2")}

    def __init__(self):
        self.cells, self.dense = [(weight(16, 48), weight(12, 48)), (weight(12, 48), weight(12, 48))], weight(12, 16)

    def cell(self, x, h, c, kernels):
        enter, forget, new, leave = tf.split(x @ kernels[0] + h @ kernels[1], 4, axis=1)
        c = tf.sigmoid(forget) * c + tf.sigmoid(enter) * tf.tanh(new)
        return tf.sigmoid(leave) * tf.tanh(c), c

    @tf.function(input_signature=[spec("x", 1, 16)] + [spec(name, 1, 12) for name in states])
    def step(self, x, h1, c1, h2, c2):
        h1, c1 = self.cell(x, h1, c1, self.cells[0])
        h2, c2 = self.cell(h1, h2, c2, self.cells[1])
        return {"mask": tf.sigmoid(h2 @ self.dense), "h1_out": h1, "c1_out": c1, "h2_out": h2, "c2_out": c2}


class Tcn(tf.Module):
    states = {f"b{i}": f"b{i}_out" for i in range(3)}

    def __init__(self):
        self.first, self.kernels, self.dense = weight(1, 1, 8, 10), [weight(3, 1, 10, 10) for _ in range(3)], weight(10, 3)

    @tf.function(input_signature=[spec("x", 1, 1, 8)] + [spec(f"b{i}", 1, 2 << i, 10) for i in range(3)])
    def step(self, x, b0, b1, b2):
        x, out = tf.nn.relu(tf.nn.conv2d(x[:, :, None, :], self.first, 1, "VALID")), {}
        for i, ring in enumerate((b0, b1, b2)):
            all = tf.concat([ring[:, :, None, :], x], 1)
            out[f"b{i}_out"] = all[:, 1:, 0]
            x = x + tf.nn.relu(tf.nn.conv2d(all, self.kernels[i], 1, "VALID", dilations=[1, 1 << i, 1, 1]))
        return out | {"y": tf.nn.softmax(tf.reshape(x, [1, 10]) @ self.dense)}


class Rnnoise(tf.Module):
    states = {name: name + "_out" for name in ("vad_h", "noise_h", "denoise_h")}

    def __init__(self):
        self.first, self.gain, self.voice = weight(12, 8), weight(12, 6), weight(8, 1)
        self.units = [(weight(inputs, 3 * n), weight(n, 3 * n)) for inputs, n in ((8, 8), (28, 10), (30, 12))]

    def unit(self, x, h, kernels):
        x, back = tf.split(x @ kernels[0], 3, axis=1), tf.split(h @ kernels[1], 3, axis=1)
        keep, reset = tf.sigmoid(x[0] + back[0]), tf.sigmoid(x[1] + back[1])
        return keep * h + (1.0 - keep) * tf.tanh(x[2] + reset * back[2])

    @tf.function(input_signature=[spec("x", 1, 12), spec("vad_h", 1, 8), spec("noise_h", 1, 10), spec("denoise_h", 1, 12)])
    def step(self, x, vad_h, noise_h, denoise_h):
        y = tf.tanh(x @ self.first)
        vad = self.unit(y, vad_h, self.units[0])
        noise = self.unit(tf.concat([y, vad, x], 1), noise_h, self.units[1])
        denoise = self.unit(tf.concat([vad, noise, x], 1), denoise_h, self.units[2])
        return {"gains": tf.sigmoid(denoise @ self.gain), "vad": tf.sigmoid(vad @ self.voice), "vad_h_out": vad, "noise_h_out": noise, "denoise_h_out": denoise}


sigmoid = lambda x: (1 / (1 + np.exp(-x))).astype(np.float32)
each = lambda y: np.repeat(y[:, None], SEQUENCE, 1)
NETWORKS = {  # and what of samples x of classes y their outputs are to say
    "residual": (Residual, lambda x, y: {"y": y}),
    "denoiser": (Denoiser, lambda x, y: {"y": sigmoid(x)}),
    "tcn": (Tcn, lambda x, y: {"y": each(y)}),
    "rnnoise": (Rnnoise, lambda x, y: {"y_vad": each(y), "y_gains": sigmoid(x[..., :6])}),
}


TARGETS = {"litert": "LiteRT", "tflm": "TFLM"}


def make(folder):
    for name, (kind, targets) in NETWORKS.items():
        network, at = kind(), folder / name
        at.mkdir(parents=True, exist_ok=True)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([network.step.get_concrete_function()], network)
        converter.experimental_enable_resource_variables = not network.states
        (at / "model.tflite").write_bytes(converter.convert())
        arrays = {}
        for split, n in ("train", 160), ("test", 60):
            y, shape = random.integers(0, 2, n), tuple(network.step.input_signature[0].shape[1:])
            x = (random.normal(0, 1, (n, SEQUENCE) + shape) + (y - 0.5).reshape((-1,) + (1,) * (len(shape) + 1))).astype(np.float32)
            arrays |= {f"x_{split}": x} | {f"{key}_{split}": value for key, value in targets(x, y).items()}
        np.savez(at / "data.npz", **arrays)
        states = [{"input": a, "output": b} for a, b in network.states.items()]
        stages = [{"name": "prune", "prune": {"sparsity": 0.5}}, {"name": "pqat", "quantize": {}},
                  {"name": "cluster", "cluster": {"clusters": 16}, "training": {"epochs": 0}}, {"name": "pcqat", "quantize": {}}]
        model = {"uri": "model.tflite"} | ({"states": states} if states else {})
        for target in TARGETS:
            for activations in "Int8", "Int16":
                (at / f"{target}-{activations}.yaml".lower()).write_text(json.dumps({
                    "apiVersion": "espalier.dev/v1alpha1", "kind": "OptimizationPipeline", "metadata": {"name": name},
                    "spec": {"model": model, "dataset": {"uri": "data.npz"}, "target": {"runtime": TARGETS[target]}, "leaf": {"activations": activations},
                             "training": {"epochs": 1, "learningRate": 1e-3}, "stages": stages}}, indent=1))


def opened(path):
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    return interpreter


def borders(path):
    """Inputs and outputs of a leaf by name, each with its place; from an interpreter of its own, since a runner keeps references into it."""
    interpreter = opened(path)
    ins, outs = interpreter.get_input_details(), interpreter.get_output_details()
    named = {"x": ins[0]}, {"y": outs[0]}
    if interpreter.get_signature_list():
        runner = interpreter.get_signature_runner()
        named = runner.get_input_details(), runner.get_output_details()
    for details, order in zip(named, (ins, outs)):
        for one in details.values():
            one["place"] = [d["index"] for d in order].index(one["index"])
    return named


def caller(path, target, given, made):
    """A function of the inputs of a step that gives its outputs, by name."""
    if target == "tflm":
        micro = Micro.from_bytes(path.read_bytes(), arena_size=1 << 20)
        put, run, get = lambda d, v: micro.set_input(v, d["place"]), micro.invoke, lambda d: micro.get_output(d["place"])
    else:
        interpreter = opened(path)
        put, run, get = lambda d, v: interpreter.set_tensor(d["index"], v), interpreter.invoke, lambda d: interpreter.get_tensor(d["index"])

    def call(values):
        for name, value in values.items():
            put(given[name], value)
        run()
        return {name: get(made[name]).copy() for name in made}

    return call


def steps(path, states, target):
    """What goes into each step and comes out of it, as bytes, in the order of the leaf's inputs and outputs."""
    given, made = borders(path)
    call = caller(path, target, given, made)
    data = next(name for name in given if name not in states)
    scale, zero = given[data]["quantization"]
    info = np.iinfo(given[data]["dtype"])
    x = random.normal(0, 1, (STEPS,) + tuple(given[data]["shape"])) / scale + zero
    x = np.clip(np.round(x), info.min, info.max).astype(info.dtype)
    held = {name: np.full(given[name]["shape"], given[name]["quantization"][1], given[name]["dtype"]) for name in states}
    joined = lambda values, of: b"".join(values[name].tobytes() for name in sorted(values, key=lambda name: of[name]["place"]))
    fed, out = [], []
    for frame in x:
        now = call(held | {data: frame})
        fed.append(joined(held | {data: frame}, given))
        out.append(joined(now, made))
        held = {name: now[states[name]] for name in states}
    return b"".join(fed), b"".join(out)


def check(folder):
    ours, leaves, differ = folder.resolve() / "integer", sorted(folder.glob("*/*/leaves/*.tflite")), 0
    subprocess.run(["go", "build", "-o", ours, "./hack/peers/integer"], cwd=pathlib.Path(__file__).resolve().parents[2], check=True)
    for leaf in leaves:
        name, pipeline = leaf.parts[-4:-2]
        target = pipeline.split("-")[0]
        fed, want = steps(leaf, NETWORKS[name][0].states, target)
        got = subprocess.run([ours] + ["-tflm"] * (target == "tflm") + [leaf], input=fed, capture_output=True, check=True).stdout
        a, b = (np.frombuffer(v, np.uint8).reshape(STEPS, -1) for v in (got, want))
        others = np.flatnonzero((a != b).any(1))
        differ += len(others) > 0
        print(name, pipeline, leaf.stem, f"{len(others)} of {STEPS} steps differ, the first is {others[0]}" if len(others) else f"identical bytes at {STEPS} steps", flush=True)
    print(f"{len(leaves) - differ} of {len(leaves)} leaves agree")
    return differ > 0


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2])
    sys.exit(make(folder) if sys.argv[1] == "make" else check(folder))
