#!/usr/bin/env python3
"""Makes recurrent Keras networks of many kinds, each with data and a pipeline, and says what became of them.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow tf_keras ai-edge-litert numpy
    /tmp/peers/bin/python hack/peers/keras_recurrent.py FOLDER [NETWORK...]
    for p in FOLDER/*/pipeline.yaml; do espalier run $p -o $(dirname $p)/out; done
    /tmp/peers/bin/python hack/peers/litert_check.py --ids 20 FOLDER/*/out/leaves/*.tflite
    /tmp/peers/bin/python hack/peers/tflm_check.py FOLDER/*/out/leaves/*.tflite

Each is trained for a few epochs and converted with a batch of 1, as docs/guide.md says.
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

STEPS, NUMBERS, CLASSES, WORDS = 16, 6, 4, 20
STAGES = [
    {"name": "prune", "prune": {"sparsity": "0.5"}}, {"name": "pqat", "quantize": {}}, {"name": "cluster", "cluster": {"clusters": 16}}, {"name": "pcqat", "quantize": {}},
]


def networks(layers):
    """By name the layers between input and classes; those of "words" begin with identifiers."""
    L = layers
    return {
        "lstm": lambda: [L.LSTM(12)],
        "lstm_stacked": lambda: [L.LSTM(12, return_sequences=True), L.LSTM(8)],
        "lstm_sequences": lambda: [L.LSTM(12, return_sequences=True), L.TimeDistributed(L.Dense(6, activation="relu")), L.Flatten()],
        "lstm_bidirectional": lambda: [L.Bidirectional(L.LSTM(8))],
        "lstm_bidirectional_stacked": lambda: [L.Bidirectional(L.LSTM(8, return_sequences=True)), L.Bidirectional(L.LSTM(6), merge_mode="sum")],
        "lstm_unrolled": lambda: [L.LSTM(10, unroll=True)],
        "lstm_backwards": lambda: [L.LSTM(10, go_backwards=True)],
        "lstm_stateful": lambda stateful: [L.LSTM(10, stateful=stateful)],
        "lstm_masked": lambda: [L.Masking(), L.LSTM(10)],
        "lstm_words": lambda: [L.Embedding(WORDS, 8), L.LSTM(12)],
        "lstm_masked_words": lambda: [L.Embedding(WORDS, 8, mask_zero=True), L.LSTM(10)],
        "lstm_no_bias": lambda: [L.LSTM(10, use_bias=False, unit_forget_bias=False)],
        "gru": lambda: [L.GRU(12)],
        "gru_unrolled": lambda: [L.GRU(10, unroll=True, return_sequences=True), L.GlobalAveragePooling1D()],
        "gru_reset_before": lambda: [L.GRU(10, reset_after=False)],
        "gru_bidirectional": lambda: [L.Bidirectional(L.GRU(8, return_sequences=True)), L.GlobalMaxPooling1D()],
        "gru_words": lambda: [L.Embedding(WORDS, 8, mask_zero=False), L.GRU(10)],
        "rnn": lambda: [L.SimpleRNN(12)],
        "rnn_unrolled": lambda: [L.SimpleRNN(12, unroll=True, activation="relu")],
        "conv_lstm_gru": lambda: [L.Conv1D(8, 3, activation="relu"), L.MaxPooling1D(), L.LSTM(8, return_sequences=True), L.GRU(8)],
    }


def main(folder, names):
    random = np.random.default_rng(5)

    def samples(count, words):
        y = random.integers(0, CLASSES, count)
        t, k = np.arange(STEPS)[None, :, None], np.arange(NUMBERS)[None, None, :]
        x = np.sin(t * (0.2 + 0.25 * y[:, None, None]) + 0.7 * k + random.uniform(0, 6, (count, 1, 1))) + 0.4 * random.standard_normal((count, STEPS, NUMBERS))
        if words:
            x = np.clip((x[:, :, 0] + 2) * WORDS / 4, 0, WORDS - 1).astype(np.int32)
        return x if words else x.astype(np.float32), y.astype(np.int32)

    for name, inner in networks(keras.layers).items():
        if names and name not in names:
            continue
        at, words = folder / name, name.endswith("words")
        at.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(3)
        x, y = samples(1200, words)
        x_test, y_test = samples(400, words)

        stateful = "stateful" in name

        def network(batch, shape, *state):
            first = keras.layers.Input(shape, batch_size=batch, dtype="int32" if words else "float32")
            return keras.Sequential([first, *inner(*state), keras.layers.Dense(CLASSES, activation="softmax")])

        trained = network(None, x.shape[1:], *[False] * stateful)
        trained.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", ["accuracy"])
        trained.fit(x, y, 40, 6, verbose=0)
        if stateful:  # a call is a quarter of a sequence
            x, x_test = (v.reshape(len(v), 4, STEPS // 4, NUMBERS) for v in (x, x_test))
        one = network(1, x.shape[1 + stateful :], *[True] * stateful)
        one.set_weights(trained.get_weights())
        try:
            file = tf.lite.TFLiteConverter.from_keras_model(one).convert()
        except Exception as error:  # what the converter refuses is said and left out
            print(f"{name}: not converted: {str(error).splitlines()[0][:150]}")
            continue
        (at / "model.tflite").write_bytes(file)
        np.savez(at / "data.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        (at / "pipeline.yaml").write_text(json.dumps({
            "apiVersion": "espalier.dev/v1alpha1", "kind": "OptimizationPipeline", "metadata": {"name": name.replace("_", "-")},
            "spec": {"model": {"uri": "model.tflite"}, "dataset": {"uri": "data.npz", "split": {"validation": "0.1"}}, "training": {"epochs": 2}, "stages": STAGES}}, indent=1))
        operators = [o["op_name"] for o in tf.lite.Interpreter(model_content=file)._get_ops_details() if o["op_name"] != "DELEGATE"]
        print(f"{name}: {len(file)} bytes, {len(operators)} operators {sorted(set(operators))}", flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
