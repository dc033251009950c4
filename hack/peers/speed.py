#!/usr/bin/env python3
"""Training and inference speed beside TFMOT and LiteRT: the same networks, interleaved in one run, on the same cores.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow==2.21.0 tf_keras==2.21.0 tensorflow-model-optimization==0.8.1 ai-edge-litert
    /tmp/peers/bin/python hack/peers/speed.py train --cores 0,1
    /tmp/peers/bin/python hack/peers/speed.py infer --cores 0 --models DIR

`train` makes the networks in Keras, trains each by TFMOT and by `espalier benchmark` in turns and prints medians of samples/s and
their ratio. TFMOT trains with live batch normalization, Espalier with it folded, as the .tflite has it. `infer` times one sample on one
thread by LiteRT (XNNPACK) and by `espalier benchmark --inference`, for the .tflite files of a folder. The spread is (max - min) / median
of a contender's rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TECHNIQUES = ["float", "qat", "pqat", "cqat", "pcqat"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "infer"])
    parser.add_argument("--cores", default="0,1", help="cores that both may use")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a round, for each")
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--techniques", default=",".join(TECHNIQUES))
    parser.add_argument("--models", help="folder of .tflite files, for infer")
    args = parser.parse_args()
    cores = [int(c) for c in args.cores.split(",")]
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory() as tmp:
        espalier = pathlib.Path(tmp) / "espalier"
        subprocess.run(["go", "build", "-o", espalier, "./cmd/espalier"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
        (train if args.what == "train" else infer)(args, cores, espalier, pathlib.Path(tmp))


def contest(rounds, *contenders):
    """Calls the contenders in turns; returns (median, spread) of each."""
    results = [[] for _ in contenders]
    for _ in range(rounds):
        for list_, run in zip(results, contenders):
            list_.append(run())
    return [(statistics.median(r), (max(r) - min(r)) / statistics.median(r)) for r in results]


def ours(espalier, *arguments):
    out = subprocess.run([espalier, "benchmark", *map(str, arguments), "-o", "json"], check=True, capture_output=True)
    return json.loads(out.stdout)


def infer(args, cores, espalier, tmp):
    from ai_edge_litert.interpreter import Interpreter
    import numpy as np

    print(f"| file | LiteRT, XNNPACK, µs | spread | Espalier, µs | spread | ratio |\n|---|---|---|---|---|---|")
    for path in sorted(pathlib.Path(args.models).glob("*.tflite")):
        if args.only not in path.name:
            continue
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
        random = np.random.default_rng(1)
        for d in interpreter.get_input_details():
            integer = np.issubdtype(d["dtype"], np.integer)
            x = random.integers(-128, 128, d["shape"]) if integer else random.normal(size=d["shape"])
            interpreter.set_tensor(d["index"], x.astype(d["dtype"]))

        def litert():
            times, end = [], time.perf_counter() + args.seconds
            while time.perf_counter() < end:
                start = time.perf_counter()
                interpreter.invoke()
                times.append(time.perf_counter() - start)
            return 1e6 * statistics.median(times)

        litert()  # warm
        (theirs, a), (mine, b) = contest(args.rounds, litert, lambda: ours(espalier, path, "--inference", "--time", f"{args.seconds}s")["p50Micros"])
        print(f"| {path.stem} | {theirs:.1f} | {a:.0%} | {mine:.1f} | {b:.0%} | {mine / theirs:.2f} |", flush=True)


def train(args, cores, espalier, tmp):
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(len(cores))
    tf.config.threading.set_inter_op_parallelism_threads(len(cores))
    print("| network | batch | technique | TFMOT, samples/s | spread | Espalier, samples/s | spread | ratio |\n|---|---|---|---|---|---|---|---|")
    for name, (make, batch) in networks().items():
        if args.only not in name:
            continue
        file = tmp / (name.replace(" ", "_") + ".tflite")
        file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(make()).convert())
        for technique in args.techniques.split(","):
            step = tfmot_step(make(), technique, batch)
            for _ in range(3):
                step()  # trace and warm

            def theirs():
                n, start = 0, time.perf_counter()
                while time.perf_counter() - start < args.seconds:
                    step()
                    n += batch
                return n / (time.perf_counter() - start)

            def mine():
                return ours(espalier, file, "--technique", technique, "--batch", batch, "--workers", len(cores), "--time", f"{args.seconds}s")["samplesPerSecond"]

            (a, x), (b, y) = contest(args.rounds, theirs, mine)
            print(f"| {name} | {batch} | {technique} | {a:.0f} | {x:.0%} | {b:.0f} | {y:.0%} | {b / a:.2f} |", flush=True)
            tf.keras.backend.clear_session()


def networks():
    from tensorflow.keras import Sequential, layers as L

    def block(filters, kernel, stride, depthwise):
        conv = L.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False) if depthwise else L.Conv2D(filters, kernel, stride, padding="same", use_bias=False)
        return [conv, L.BatchNormalization(), L.ReLU()]

    def ds_cnn_l():
        body = block(276, (10, 4), (2, 1), False)
        for i in range(5):
            body += block(276, (3, 3), (2, 2) if i == 0 else (1, 1), True) + block(276, (1, 1), (1, 1), False)
        return Sequential([L.InputLayer((49, 10, 1)), *body, L.GlobalAveragePooling2D(), L.Dense(12)])

    def mobilenet(alpha):
        def make():
            wide = lambda c: max(8, int(c * alpha))
            body = block(wide(32), (3, 3), (1, 1), False)
            for channels, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]:
                body += block(0, (3, 3), (stride, stride), True) + block(wide(channels), (1, 1), (1, 1), False)
            return Sequential([L.InputLayer((32, 32, 3)), *body, L.GlobalAveragePooling2D(), L.Dense(10)])
        return make

    def mnist():
        return Sequential([L.InputLayer((28, 28, 1)), L.Conv2D(12, 3, activation="relu"), L.MaxPooling2D(2), L.Flatten(), L.Dense(10)])

    return {"DS-CNN-L": (ds_cnn_l, 64), "MobileNetV1 0.25": (mobilenet(0.25), 128), "MobileNetV1 0.5": (mobilenet(0.5), 128), "MNIST CNN": (mnist, 128)}


def tfmot_step(model, technique, batch):
    """Returns a function that trains the network by one step of TFMOT."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    sparsity, clustering, quantization = tfmot.sparsity.keras, tfmot.clustering.keras, tfmot.quantization.keras
    if "p" in technique.replace("float", "").removesuffix("qat"):
        model = sparsity.prune_low_magnitude(model, pruning_schedule=sparsity.ConstantSparsity(0.5, 0))
        model = sparsity.strip_pruning(masked(model))
    if "c" in technique.removesuffix("qat"):
        from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster
        settings = {"number_of_clusters": 16, "cluster_centroids_init": clustering.CentroidInitialization.KMEANS_PLUS_PLUS}
        if technique == "pcqat":
            model = cluster.cluster_weights(model, preserve_sparsity=True, **settings)
        else:
            model = clustering.cluster_weights(model, **settings)
        model = clustering.strip_clustering(model)
    if technique.endswith("qat"):
        scheme = {
            "qat": None,
            "pqat": tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme,
            "cqat": tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme,
            "pcqat": lambda: tfmot.experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=True),
        }[technique]
        annotated = quantization.quantize_annotate_model(model)
        model = quantization.quantize_apply(annotated, scheme()) if scheme else quantization.quantize_apply(annotated)
    model.compile(tf.keras.optimizers.Adam(1e-4), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    random = np.random.default_rng(1)
    x = tf.constant(random.normal(size=(batch, *model.input_shape[1:])).astype("float32"))
    y = tf.constant(random.integers(0, model.output_shape[-1], batch))
    compiled = model.make_train_function()
    data = iter(tf.data.Dataset.from_tensors((x, y)).repeat())

    def step():
        tf.nest.map_structure(lambda t: t.numpy(), compiled(data))
    return step


def masked(model):
    """Sets the smaller half of every prunable kernel to zero, as pruning would have."""
    import numpy as np

    for layer in model.layers:
        for variable in layer.trainable_weights:
            if "kernel" in variable.name and "depthwise" not in variable.name:
                w = variable.numpy()
                variable.assign(np.where(np.abs(w) < np.median(np.abs(w)), 0, w))
    return model


if __name__ == "__main__":
    sys.exit(main())
