#!/usr/bin/env python3
"""Trains a streaming network that tells spoken digits apart, offline over whole recordings, and exports one step of it, float, with its
state in variables; beside it the dataset in steps.

    /tmp/peers/bin/python hack/peers/streaming_digits.py fsdd_mfcc.npz FOLDER

The dataset has arrays x_train, y_train, x_test, y_test of 49 frames of ten MFCCs, as of the Free Spoken Digit Dataset. Every step takes
three frames. The network is microWakeWord's in form: a convolution over a ring buffer, then blocks of mixed depthwise convolutions, whose
groups of channels have ring buffers of different lengths, and pointwise ones; the answer is of the mean of the last sixteen.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

STEPS, NEW, FEATURES, CHANNELS, CLASSES, LAST = 16, 3, 10, 48, 10, 16
BLOCKS = [(5,), (3, 5), (3, 5, 7)]
random = np.random.default_rng(3)


class Network(tf.Module):
    def __init__(self):
        weight = lambda *shape: tf.Variable(random.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape), dtype=tf.float32)
        self.conv, self.bias = weight(5, 1, FEATURES, CHANNELS), tf.Variable(tf.zeros(CHANNELS))
        self.blocks = []
        for widths in BLOCKS:
            size = CHANNELS // len(widths)
            filters = [tf.Variable(random.normal(0, w**-0.5, (w, 1, size, 1)), dtype=tf.float32) for w in widths]
            self.blocks.append((filters, weight(1, 1, CHANNELS, CHANNELS), tf.Variable(tf.zeros(CHANNELS))))
        self.dense, self.last = weight(CHANNELS, CLASSES), tf.Variable(tf.zeros(CLASSES))

    def run(self, x, remember):
        """remember(i, x, n) puts the n frames before x in front of it."""
        x = remember(0, x[:, :, None, :], 2)
        x = tf.nn.relu(tf.nn.conv2d(x, self.conv, [1, NEW, 1, 1], "VALID") + self.bias)
        ring = 1
        for filters, mix, bias in self.blocks:
            parts = []
            for part, kernel in zip(tf.split(x, len(filters), axis=3) if len(filters) > 1 else [x], filters):
                part = remember(ring, part, kernel.shape[0] - 1)
                parts.append(tf.nn.depthwise_conv2d(part, kernel, [1, 1, 1, 1], "VALID"))
                ring += 1
            x = tf.concat(parts, 3) if len(parts) > 1 else parts[0]
            x = tf.nn.relu(tf.nn.conv2d(x, mix, 1, "VALID") + bias)
        x = tf.reduce_mean(remember(ring, x, LAST - 1)[:, -LAST:], [1, 2])
        return x @ self.dense + self.last

    def offline(self, x):
        return self.run(x, lambda _, x, n: tf.pad(x, [[0, 0], [n, 0], [0, 0], [0, 0]]))


class Step(tf.Module):
    """One step of a trained network, of which the weights are constants."""

    def __init__(self, network):
        self.network = network
        constant = lambda v: tf.constant(v.numpy())
        network.conv, network.bias, network.dense, network.last = map(constant, (network.conv, network.bias, network.dense, network.last))
        network.blocks = [([constant(f) for f in filters], constant(mix), constant(bias)) for filters, mix, bias in network.blocks]
        sizes = [(2, FEATURES)] + [(w - 1, CHANNELS // len(widths)) for widths in BLOCKS for w in widths] + [(LAST - 1, CHANNELS)]
        self.rings = [tf.Variable(tf.zeros([1, n, 1, size]), trainable=False, name=f"ring_{i}") for i, (n, size) in enumerate(sizes)]

    def remember(self, i, x, n):
        x = tf.concat([self.rings[i], x], 1)
        self.rings[i].assign(x[:, -n:])
        return x

    @tf.function(input_signature=[tf.TensorSpec([1, NEW, FEATURES], tf.float32)])
    def step(self, x):
        return tf.nn.softmax(self.network.run(x, self.remember))


def main():
    data, folder = np.load(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    mean, spread = data["x_train"].mean((0, 1)), data["x_train"].std((0, 1))
    frames = lambda x: ((x - mean) / spread)[:, : STEPS * NEW, :, 0].astype(np.float32)
    x, y = frames(data["x_train"]), data["y_train"]
    tf.random.set_seed(1)
    network = Network()
    variables = network.trainable_variables
    optimizer = tf.keras.optimizers.Adam(2e-3)

    @tf.function
    def train(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, network.offline(x)))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss

    for epoch in range(40):
        if epoch == 25:
            optimizer.learning_rate.assign(4e-4)
        order = random.permutation(len(x))
        for i in range(0, len(x) - 63, 64):
            shift = random.integers(-6, 7)  # frames
            train(np.roll(x[order[i : i + 64]], shift, 1) * random.uniform(0.7, 1.3, (64, 1, FEATURES)).astype(np.float32) + random.normal(0, 0.4, (64, STEPS * NEW, FEATURES)).astype(np.float32), y[order[i : i + 64]])
    answers = np.argmax(network.offline(frames(data["x_test"])), 1)
    print("offline accuracy", np.mean(answers == data["y_test"]))
    step = Step(network)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([step.step.get_concrete_function()], step)
    converter.experimental_enable_resource_variables = True
    (folder / "digits.tflite").write_bytes(converter.convert())
    steps = lambda x: frames(x).reshape(-1, STEPS, NEW, FEATURES)
    np.savez_compressed(folder / "digits.npz", x_train=steps(data["x_train"]), y_train=y, x_test=steps(data["x_test"]), y_test=data["y_test"])


if __name__ == "__main__":
    main()
