#!/usr/bin/env python3
"""Holds encoded leaves to TensorFlow Lite Micro: a leaf encoded for DECODE answers what the plain leaf answers, byte for byte.

    python3 -m venv /tmp/tflm && /tmp/tflm/bin/pip install tflite-micro numpy
    /tmp/tflm/bin/python hack/peers/encode.py out/leaves/*.tflite

Each leaf with int8 inputs and outputs is encoded by LUT, Huffman, Prune and Auto (go run ./hack/peers/encode) and answers 100 samples, with
the samples of tflm_answers.py. A row a leaf: its bytes, those of the encoded files, that by LUT beside what TFLM's own tool makes of the same
tensors, and activations as TFLM plans them. --samples N are others than 100. With --goldens FOLDER the leaves' Auto files and what they
answer to 4 samples are kept there, for the tests of optimizer/exec/integer.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Kernels may abort: each model runs in a process of its own.
ANSWER = """
import hashlib, sys
import numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1], arena_size=64 << 20)
interpreter.print_allocations()
details = interpreter.get_input_details(0)
if details["dtype"] != np.int8 or interpreter.get_output_details(0)["dtype"] != np.int8:
    sys.exit(3)
digest, size, kept = hashlib.sha256(), int(np.prod(details["shape"])), ([], [])
for k in range(int(sys.argv[2])):
    values = (np.arange(1, size + 1, dtype=np.uint64) * np.uint64(k + 3) * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(24)
    x = values.astype(np.uint8).view(np.int8).reshape(details["shape"])
    interpreter.set_input(x, 0)
    interpreter.invoke()
    y = interpreter.get_output(0)
    digest.update(y.tobytes())
    kept[0].append(x[0]), kept[1].append(y[0])
if len(sys.argv) > 3:
    np.savez_compressed(sys.argv[3], input_0=np.stack(kept[0]), tflm_0=np.stack(kept[1]))
print("digest", digest.hexdigest())
"""

# TFLM's own tool, with LUT for the given tensors as narrow as they can be.
PEER = """
import contextlib, io, json, sys
from tflite_micro import compression
from tflite_micro.tensorflow.lite.micro.compression import model_editor, spec
content = open(sys.argv[1], "rb").read()
graph = model_editor.read(content).subgraphs[0]
specs = []
for index, scales, axis in json.loads(sys.argv[2]):
    values = graph.tensors[index].array
    per_channel = scales > 1 and sys.argv[4] == "channel"
    channels = [values.take(c, axis) for c in range(scales)] if per_channel else [values]
    bits = max(1, max(len(set(c.ravel().tolist())) - 1 for c in channels).bit_length())
    if bits > 7:
        sys.exit(3)
    mode = spec.PerChannel(axis=axis) if per_channel else spec.PerTensor()
    specs.append(spec.Tensor(subgraph=0, tensor=index, compression=[spec.LookUpTableCompression(index_bitwidth=bits, mode=mode)]))
with contextlib.redirect_stdout(io.StringIO()):
    made = compression.compress(content, specs)
open(sys.argv[3], "wb").write(made)
"""


def answers(path, samples, keep=None):
    done = subprocess.run([sys.executable, "-c", ANSWER, str(path), str(samples)] + ([str(keep)] if keep else []), capture_output=True, text=True)
    text = done.stdout + done.stderr
    if done.returncode == 3:
        return None, 0
    if done.returncode != 0:
        raise SystemExit(f"{path}: {text[-2000:]}")
    return re.search(r"digest (\w+)", text)[1], int(re.search(r"Arena allocation head (\d+) bytes", text)[1])


def go(*args):
    return subprocess.run(args, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def peer(espalier, plain, lut, want, work, samples):
    """Bytes of the file by TFLM's own tool, with tables a channel or a tensor, whichever is smaller; both have to read as the plain leaf."""
    chosen = [(t["index"], t.get("scales", 1), t.get("axis", 0)) for t in json.loads(go(espalier, "inspect", "-o", "json", str(lut)))["tensors"] if t.get("encoding") == "LUT"]
    sizes = []
    for mode in ("channel", "tensor") if chosen else ():
        made = work / "peer.tflite"
        done = subprocess.run([sys.executable, "-c", PEER, str(plain), json.dumps(chosen), str(made), mode], stderr=subprocess.PIPE, text=True)
        if done.returncode == 3:
            continue
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        go(espalier, "compare", str(plain), str(made))
        # The kernel of tflite-micro 0.dev20261023 has tables by the scales, whatever the tool was told: it misreads one table of many scales.
        if mode == "channel" and answers(made, samples)[0] != want:
            raise SystemExit(f"{made}: what TFLM's tool makes answers otherwise")
        sizes.append(made.stat().st_size)
    return min(sizes, default=None)


def main(args):
    flags = argparse.ArgumentParser()
    flags.add_argument("--samples", type=int, default=100)
    flags.add_argument("--goldens", type=pathlib.Path)
    flags.add_argument("leaves", nargs="+", type=pathlib.Path)
    args = flags.parse_args(args)
    equal = leaves = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        espalier, encode = str(work / "espalier"), str(work / "encode")
        go("go", "build", "-o", espalier, "./cmd/espalier")
        go("go", "build", "-o", encode, "./hack/peers/encode")
        print(f"{'leaf':40} {'plain':>8} {'LUT':>8} {'peer':>8} {'Huffman':>8} {'Prune':>8} {'Auto':>8} {'of plain':>8} {'arena':>7} {'encoded':>7}")
        for path in args.leaves:
            path = path.resolve()
            plain = work / "plain.tflite"
            go(encode, str(path), str(plain), "None")
            want, arena = answers(plain, args.samples)
            if want is None:
                continue
            sizes, decoded = {}, 0
            for kind in ("LUT", "Huffman", "Prune", "Auto"):
                out = work / f"{kind}.tflite"
                go(encode, str(path), str(out), kind)
                got, decoded = answers(out, args.samples)
                sizes[kind] = out.stat().st_size
                if sizes[kind] < plain.stat().st_size: # else nothing is encoded
                    leaves, equal = leaves + 1, equal + (got == want)
                if got != want:
                    print(f"{path}: {kind} answers otherwise")
            theirs = peer(espalier, plain, work / "LUT.tflite", want, work, args.samples)
            if theirs and sizes["LUT"] > theirs + 64:
                raise SystemExit(f"{path}: LUT takes {sizes['LUT']} bytes, by TFLM's tool {theirs}")
            size = plain.stat().st_size
            name = str(path.relative_to(path.parents[2]) if len(path.parents) > 2 else path)[-40:]
            print(f"{name:40} {size:8} {sizes['LUT']:8} {theirs or '-':>8} {sizes['Huffman']:8} {sizes['Prune']:8} {sizes['Auto']:8} {sizes['Auto'] / size:8.3f} {arena:7} {decoded:7}", flush=True)
            if args.goldens:
                answers(work / "Auto.tflite", 4, args.goldens.resolve() / (path.stem + ".npz"))
                (args.goldens / path.name).write_bytes((work / "Auto.tflite").read_bytes())
    print(f"{equal} of {leaves} encoded leaves answer as the plain ones")
    return equal != leaves


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
