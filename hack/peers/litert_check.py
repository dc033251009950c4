#!/usr/bin/env python3
"""Checks that LiteRT loads a leaf and that its reference kernels give the same bytes as optimizer/exec/integer.

    python3 -m venv /tmp/litert && /tmp/litert/bin/pip install ai-edge-litert numpy
    /tmp/litert/bin/python hack/peers/litert_check.py out/leaves/*.tflite
    /tmp/litert/bin/python hack/peers/litert_check.py --data data.npz:x_test leaf.tflite

Without --data the inputs are random over the whole range of their type. Float outputs of operators kept in float may differ by float
rounding. A leaf also has to run on the default path (XNNPACK),
whose rounding differs: the largest distance is printed, not judged. The exit code is 1 if any leaf differs.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

AGREES, DIFFERS, NOT_JUDGED = range(3)
ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("leaf", nargs="+", help=".tflite files")
    parser.add_argument("--data", help="FILE.npz:KEY, real samples (float arrays are quantized as the input says)")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ids", type=int, default=2, help="int32 inputs are random ids below this")
    args = parser.parse_args()

    data = None
    if args.data:
        path, _, key = args.data.partition(":")
        data = np.load(path)[key][: args.samples]

    with tempfile.TemporaryDirectory() as tmp:
        ours = pathlib.Path(tmp) / "integer"
        subprocess.run(["go", "build", "-o", ours, "./hack/peers/integer"], cwd=ROOT, check=True)
        verdicts = [apart(check, leaf, ours, data, args) for leaf in args.leaf]
    said = f"{verdicts.count(AGREES)} of {len(verdicts)} leaves agree"
    if verdicts.count(NOT_JUDGED):
        said += f", {verdicts.count(NOT_JUDGED)} cannot be judged"
    print(said)
    sys.exit(1 if DIFFERS in verdicts else 0)


def apart(check, leaf, *args):
    """Calls check in a process of its own: some of LiteRT's kernels abort where they meet what they do not expect."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        verdict = DIFFERS
        try:
            verdict = check(leaf, *args)
            sys.stdout.flush()
        finally:
            os._exit(verdict)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        print(f"{pathlib.Path(leaf).name}: LiteRT stops, signal {os.WTERMSIG(status)}")
        return DIFFERS
    return os.WEXITSTATUS(status)


def check(leaf, ours, data, args):
    """Compares one leaf and prints one line."""
    name = pathlib.Path(leaf).name
    try:
        reference, lacks = plain(leaf)
        samples = [inputs(reference, data, k, args) for k in range(args.samples if data is None else len(data))]
        anew = begins_anew(leaf)
        want = [run(reference, s, anew) for s in samples]
        default = interpreter(pathlib.Path(leaf).read_bytes(), OpResolverType.AUTO)
        xnnpack = max(distance(run(default, s, anew), w) for s, w in zip(samples, want))
    except (ValueError, RuntimeError) as e:
        print(f"{name}: LiteRT refuses it: {e}")
        return DIFFERS
    raw = b"".join(x.tobytes() for s in samples for x in s)
    answer = subprocess.run([ours, leaf], input=raw, capture_output=True)
    if answer.returncode:
        print(f"{name}: {answer.stderr.decode().strip()}")
        return DIFFERS
    expected = b"".join(y.tobytes() for w in want for y in w)
    rounding = float_rounding(answer.stdout, want)
    if answer.stdout == expected:
        print(f"{name}: identical bytes on {len(samples)} samples (default kernels within {xnnpack:g})")
    elif rounding is not None:
        print(f"{name}: float outputs within {rounding:.1g} of their size, all else identical on {len(samples)} samples (default kernels within {xnnpack:g})")
    elif lacks:
        print(f"{name}: NOT JUDGED, the reference kernels lack {lacks}; of the optimized ones it differs in {difference(answer.stdout, want)}")
        return NOT_JUDGED
    else:
        print(f"{name}: DIFFERS: {difference(answer.stdout, want)}")
        return DIFFERS
    return AGREES


# The last version that LiteRT's table of reference kernels names, of operators whose later versions are the same code: TILE of int8,
# DEPTHWISE_CONV_2D and FULLY_CONNECTED with int4 weights.
NAMED = {schema.BuiltinOperator.TILE: 2, schema.BuiltinOperator.DEPTHWISE_CONV_2D: 6, schema.BuiltinOperator.CONV_2D: 6, schema.BuiltinOperator.FULLY_CONNECTED: 9}


def plain(leaf):
    """LiteRT's reference kernels, and what they lack. A leaf with an operator that their table does not have runs on the optimized kernels,
    whose convolutions round once, not twice."""
    content = pathlib.Path(leaf).read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for code in model.operatorCodes:
        code.version = min(code.version, NAMED.get(code.builtinCode, code.version))
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    try:
        return interpreter(bytes(builder.Output()), OpResolverType.BUILTIN_REF), None
    except ValueError as e:
        lacks = re.search("Didn't find op for builtin opcode '([^']*)'", str(e))
        if not lacks:
            raise
    return interpreter(content, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES), lacks[1]


def interpreter(content, resolver):
    result = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=1)
    result.allocate_tensors()
    return result


def inputs(interp, data, k, args):
    """Sample k for every model input."""
    return [one_input(d, data, k, args.seed + i, args.ids) for i, d in enumerate(interp.get_input_details())]


def one_input(detail, data, k, seed, ids):
    shape, dtype = detail["shape"], detail["dtype"]
    if data is None:
        rng = np.random.default_rng([seed, k])
        if dtype == np.float32:
            return rng.standard_normal(shape).astype(np.float32)
        if dtype == np.int32:
            return rng.integers(0, ids, shape, dtype)
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    x = data[k].reshape(shape)
    if x.dtype == dtype:
        return np.ascontiguousarray(x)
    scale, zero = detail["quantization"]
    if dtype == np.int8:
        return np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
    return x.astype(dtype)


def begins_anew(leaf):
    """Whether every sample is a sequence of its own, which an LSTM is to begin with zeros."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(pathlib.Path(leaf).read_bytes(), 0))
    return any(code.builtinCode == schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM for code in model.operatorCodes)


def run(interp, sample, anew=False):
    if anew:
        interp.reset_all_variables()
    for d, x in zip(interp.get_input_details(), sample):
        interp.set_tensor(d["index"], x)
    interp.invoke()
    return [interp.get_tensor(d["index"]).copy() for d in interp.get_output_details()]


def distance(got, want):
    return max(float(np.max(np.abs(g.astype(np.float64) - w.astype(np.float64)))) for g, w in zip(got, want))


def float_rounding(answer, want):
    """How far float outputs are from the reference's, relative to the largest value; None if that is more than 1e-5 or anything else differs.
    Zeros of either sign are equal, and so are all numbers that are none."""
    offset, largest = 0, 0.0
    if len(answer) != sum(y.nbytes for w in want for y in w):
        return None
    for w in want:
        for y in w:
            got = np.frombuffer(answer, y.dtype, y.size, offset).reshape(y.shape)
            offset += y.nbytes
            if y.dtype != np.float32:
                if not np.array_equal(got, y):
                    return None
                continue
            same = (got == y) | np.isnan(got) & np.isnan(y)
            scale = max(1.0, float(np.max(np.abs(y), initial=0, where=np.isfinite(y))))
            largest = max(largest, float(np.max(np.abs(got - y), initial=0, where=~same)) / scale)
    return largest if largest < 1e-5 else None


def difference(answer, want):
    """Says how far our answer is from the reference's."""
    expected = sum(y.nbytes for w in want for y in w)
    if len(answer) != expected:
        return f"{len(answer)} bytes instead of {expected}"
    offset, wrong, largest, total = 0, 0, 0.0, 0
    for w in want:
        for y in w:
            got = np.frombuffer(answer, y.dtype, y.size, offset).reshape(y.shape)
            offset += y.nbytes
            delta = np.abs(got.astype(np.float64) - y.astype(np.float64))
            wrong, largest, total = wrong + int(np.count_nonzero(delta)), max(largest, float(delta.max())), total + y.size
    return f"{wrong} of {total} values, by at most {largest:g}"


if __name__ == "__main__":
    main()
