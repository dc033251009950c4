#!/usr/bin/env python3
"""Checks that TensorFlow Lite Micro gives a leaf's bytes as optimizer/exec/integer computes them for it.

    python3 -m venv /tmp/tflm && /tmp/tflm/bin/pip install tflite-micro numpy
    /tmp/tflm/bin/python hack/peers/tflm_check.py out/leaves/*.tflite

Inputs are random over the whole range of their type. Each leaf runs in a process of its own, because kernels may abort; one that TFLM does not
load is named with what it lacks. Float outputs of layers kept in float may differ by float rounding. The exit code is 1 if any leaf differs.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Runs in a process of its own: prints nothing, writes samples and answers.
ANSWER = """
import sys
import numpy as np
from tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema_fb
path, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
interpreter = runtime.Interpreter.from_file(path, arena_size=128 << 20)
def details(get):
    out = []
    while True:
        try:
            out.append(get(len(out)))
        except (IndexError, ValueError, RuntimeError):
            return out
ins, outs = details(interpreter.get_input_details), details(interpreter.get_output_details)
rng = np.random.default_rng(1)
model = schema_fb.ModelT.InitFromObj(schema_fb.Model.GetRootAs(open(path, "rb").read(), 0))
# every sample is a sequence, which an LSTM is to begin with zeros
anew = any(code.builtinCode == schema_fb.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM for code in model.operatorCodes)
with open(folder + "/samples", "wb") as samples, open(folder + "/answers", "wb") as answers:
    for _ in range(count):
        if anew:
            interpreter.reset()
        for i, d in enumerate(ins):
            if d["dtype"] == np.float32:
                x = rng.standard_normal(d["shape"]).astype(np.float32)
            elif d["dtype"] == np.int32:
                x = rng.integers(0, 2, d["shape"], np.int32)
            else:
                info = np.iinfo(d["dtype"])
                x = rng.integers(info.min, info.max, d["shape"], d["dtype"], endpoint=True)
            interpreter.set_input(x, i)
            samples.write(x.tobytes())
        interpreter.invoke()
        for i in range(len(outs)):
            answers.write(interpreter.get_output(i).tobytes())
with open(folder + "/float", "w") as f:
    f.write("1" if outs and all(d["dtype"] == np.float32 for d in outs) else "")
"""


def check(leaf, ours, count):
    """Returns what is to be said of one leaf, and whether it agrees (None: TFLM does not load it)."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", ANSWER, leaf, folder, str(count)], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if "find op" in line or "prepare" in line or "Error" in line]
            return f"TFLM does not run it: {lines[0] if lines else done.returncode}", None
        folder = pathlib.Path(folder)
        answer = subprocess.run([ours, "-tflm", leaf], input=(folder / "samples").read_bytes(), capture_output=True)
        if answer.returncode:
            return answer.stderr.decode().strip(), False
        want = (folder / "answers").read_bytes()
        if answer.stdout == want:
            return f"identical bytes on {count} samples", True
        if (folder / "float").read_text() and len(want) == len(answer.stdout):
            a, b = np.frombuffer(want, np.float32), np.frombuffer(answer.stdout, np.float32)
            apart = float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(a)))))
            if apart < 1e-5:
                return f"float outputs within {apart:.1g} of their size on {count} samples", True
        wrong = sum(a != b for a, b in zip(want, answer.stdout))
        return f"DIFFERS in {wrong} of {len(want)} bytes", False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("leaf", nargs="+", help=".tflite files")
    parser.add_argument("--samples", type=int, default=100)
    args = parser.parse_args()
    counts = {True: 0, False: 0, None: 0}
    with tempfile.TemporaryDirectory() as folder:
        ours = pathlib.Path(folder) / "integer"
        subprocess.run(["go", "build", "-o", ours, "./hack/peers/integer"], cwd=ROOT, check=True)
        for leaf in args.leaf:
            said, agrees = check(leaf, ours, args.samples)
            counts[agrees] += 1
            print(f"{pathlib.Path(leaf).name}: {said}", flush=True)
    print(f"{counts[True]} leaves agree, {counts[False]} differ, {counts[None]} do not run in TFLM")
    sys.exit(1 if counts[False] else 0)


if __name__ == "__main__":
    main()
