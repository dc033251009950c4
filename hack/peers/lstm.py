#!/usr/bin/env python3
"""Makes Keras networks of fused LSTMs in two sizes, each with data and a pipeline.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow tf_keras numpy
    /tmp/peers/bin/python hack/peers/lstm.py FOLDER
    for n in small large; do espalier run FOLDER/$n/pipeline.yaml -o FOLDER/$n/out; done
    /tmp/peers/bin/python hack/peers/litert_check.py FOLDER/*/out/leaves/*.tflite
    /tmp/peers/bin/python hack/peers/tflm_check.py FOLDER/*/out/leaves/*.tflite

    small  one layer of 20 cells over 28 steps of 10 numbers
    large  layers of 96 and 48 cells over 64 steps of 24 numbers

Samples are noisy oscillations, their classes the frequencies.
"""

import json
import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras as keras

NETWORKS = {"small": (28, 10, [20], 6, 1.2), "large": (64, 24, [96, 48], 8, 1.5)}  # steps, numbers, cells, classes, noise
STAGES = [
    {"name": "prune", "prune": {"sparsity": "0.5"}}, {"name": "pqat", "quantize": {}}, {"name": "cluster", "cluster": {"clusters": 16}}, {"name": "pcqat", "quantize": {}},
]
random = np.random.default_rng(3)


def samples(count, steps, numbers, classes, noise):
    y = random.integers(0, classes, count)
    t, k = np.arange(steps)[None, :, None], np.arange(numbers)[None, None, :]
    x = np.sin(t * (0.15 + 0.11 * y[:, None, None]) + 0.7 * k + random.uniform(0, 6, (count, 1, 1))) + noise * random.standard_normal((count, steps, numbers))
    return x.astype(np.float32), y.astype(np.int32)


def network(shape, cells, classes, batch):
    layers = [keras.layers.LSTM(n, return_sequences=i < len(cells) - 1) for i, n in enumerate(cells)]
    return keras.Sequential([keras.layers.Input(shape, batch_size=batch), *layers, keras.layers.Dense(classes, activation="softmax")])


def main(folder):
    for name, (steps, numbers, cells, classes, noise) in NETWORKS.items():
        at = folder / name
        at.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(3)
        x, y = samples(3000, steps, numbers, classes, noise)
        x_test, y_test = samples(1000, steps, numbers, classes, noise)
        trained = network((steps, numbers), cells, classes, None)
        trained.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", ["accuracy"])
        trained.fit(x, y, 64, 8, verbose=0)
        print(name, trained.evaluate(x_test, y_test, verbose=0))
        one = network((steps, numbers), cells, classes, 1)
        one.set_weights(trained.get_weights())
        (at / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(one).convert())
        np.savez(at / "data.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        (at / "pipeline.yaml").write_text(json.dumps({
            "apiVersion": "espalier.dev/v1alpha1", "kind": "OptimizationPipeline", "metadata": {"name": name},
            "spec": {"model": {"uri": "model.tflite"}, "dataset": {"uri": "data.npz", "split": {"validation": "0.1"}}, "training": {"epochs": 2}, "stages": STAGES}}, indent=1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
