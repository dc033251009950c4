#!/usr/bin/env python3
"""Writes encoded networks of one layer and records what TensorFlow Lite Micro answers on them, for the tests of optimizer/exec/integer.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow==2.21.0 ai-edge-litert tflite-micro
    /tmp/peers/bin/python hack/peers/encode_goldens.py optimizer/exec/integer/testdata/encoded

Each case gives NAME_KIND.tflite, by this project (LUT, Huffman, Prune) and by TFLM's own tool (peer), and one NAME.npz with arrays input_0 and
tflm_0, a row a sample: what TensorFlow Lite Micro answers on all of them, and on the plain layer. The layers are converted to int8 and
their weights given codes: 16 for all channels of which half is zero, 4 for each channel, or a few that are not zero.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

import encode
from fourbit import converted, dense, draw, micro, written
from goldens import bound, const, image_conv, image_depthwise
from litert_check import plain

SAMPLES = 3
random = np.random.default_rng(14)
IMAGE = (1, 5, 6, 8)

conv = bound(image_conv(), const(3, 3, 8, 16), const(16))
CASES = {
    "conv_16_codes": (conv, IMAGE, "shared"),
    "conv_4_a_channel": (conv, IMAGE, "own"),
    "conv_sparse": (conv, IMAGE, "sparse"),
    "depthwise_16_codes": (bound(image_depthwise(), const(5, 5, 32, 1), const(32)), (1, 6, 6, 32), "shared"),
    "depthwise_4_a_channel": (bound(image_depthwise(), const(7, 7, 32, 1), const(32)), (1, 7, 7, 32), "own"),
    "fc_16_codes": (bound(dense(tf.nn.relu), const(40, 24), const(24)), (1, 40), "shared"),
    "fc_one_scale_sparse": (bound(dense(), const(64, 24), const(24)), (1, 64), "sparse"),
    "transpose_conv_16_codes": (lambda x: tf.nn.conv2d_transpose(x, const(3, 3, 12, 8), (1, 10, 12, 12), 2, "SAME"), IMAGE, "shared"),
}


def codes(kind, shape, axis):
    n = int(np.prod(shape))
    if kind == "sparse":
        return np.where(random.random(n) < 0.9, 0, random.integers(-127, 128, n)).astype(np.int8).reshape(shape)
    if kind == "shared":
        values = np.concatenate([[0], random.choice(np.arange(1, 128), 15, replace=False) * random.choice([-1, 1], 15)])
        return np.where(random.random(n) < 0.5, 0, random.choice(values, n)).astype(np.int8).reshape(shape)
    rows = [random.choice(random.choice(np.arange(-127, 128), 4, replace=False), n // shape[axis]) for _ in range(shape[axis])]
    rest = tuple(d for i, d in enumerate(shape) if i != axis)
    return np.moveaxis(np.stack(rows).astype(np.int8).reshape((shape[axis],) + rest), 0, axis)


def coded(content, kind):
    """The model with such codes in the place of its weights."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    for t in graph.tensors:
        data = model.buffers[t.buffer].data
        if t.type == schema.TensorType.INT8 and data is not None and len(data) > 0:
            model.buffers[t.buffer].data = codes(kind, tuple(t.shape), t.quantization.quantizedDimension).tobytes()
    return written(model)


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        tool, espalier = str(work / "encode"), str(work / "espalier")
        encode.go("go", "build", "-o", tool, "./hack/peers/encode")
        encode.go("go", "build", "-o", espalier, "./cmd/espalier")
        for name, (function, shape, kind) in CASES.items():
            layer = work / "layer.tflite"
            layer.write_bytes(coded(converted(name, "a8", function, shape), kind))
            encode.go(tool, str(layer), str(layer), "None")
            detail = plain(layer)[0].get_input_details()[0]
            x = np.stack([draw(detail) for _ in range(SAMPLES)])
            answers = micro(layer, x)
            for how in ("LUT", "Huffman", "Prune"):
                out = folder / f"{name}_{how}.tflite"
                encode.go(tool, str(layer), str(out), how)
                read = json.loads(encode.go(espalier, "inspect", "-o", "json", str(out)))
                if not any(t.get("encoding") for t in read["tensors"]):
                    out.unlink()
                    continue
                if not np.array_equal(micro(out, x), answers):
                    raise SystemExit(f"{out}: TFLM answers otherwise")
                if how == "LUT":
                    peer = folder / f"{name}_peer.tflite"
                    chosen = [(t["index"], t.get("scales", 1), t.get("axis", 0)) for t in read["tensors"] if t.get("encoding")]
                    subprocess.run([sys.executable, "-c", encode.PEER, str(layer), json.dumps(chosen), str(peer), "channel"], check=True)
                    if not np.array_equal(micro(peer, x), answers):
                        raise SystemExit(f"{peer}: TFLM answers otherwise")
            np.savez_compressed(folder / f"{name}.npz", input_0=x, tflm_0=answers)


if __name__ == "__main__":
    main()
