#!/usr/bin/env python3
"""Checks that a .tflite read and written again by optimizer/tflite is the same network to LiteRT: equal bytes from its reference kernels.

    python3 -m venv /tmp/litert && /tmp/litert/bin/pip install ai-edge-litert numpy
    /tmp/litert/bin/python hack/peers/roundtrip_check.py ../shared/material/models/*.tflite ../shared/material/models/ops/*.tflite

Inputs are random over the whole range of their type. Files that LiteRT itself refuses are named and not counted. The exit code is 1 if
any file differs.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from ai_edge_litert.interpreter import OpResolverType
from litert_check import ROOT, inputs, interpreter, run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="+", help=".tflite files")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        rewrite = pathlib.Path(tmp) / "rewrite"
        subprocess.run(["go", "build", "-o", rewrite, "./hack/peers/rewrite"], cwd=ROOT, check=True)
        results = [check(model, rewrite, pathlib.Path(tmp) / "again.tflite", args) for model in args.model]
    print(f"{results.count(True)} of {len(results) - results.count(None)} files give the same bytes; LiteRT refuses {results.count(None)} as they are")
    sys.exit(1 if False in results else 0)


def check(model, rewrite, again, args):
    """True: equal; False: not; None: LiteRT refuses the file as it is."""
    name = pathlib.Path(model).name
    try:
        before = interpreter(model, OpResolverType.BUILTIN_REF)
    except (ValueError, RuntimeError) as e:
        print(f"{name}: LiteRT refuses it as it is: {str(e).splitlines()[0][:120]}")
        return None
    written = subprocess.run([rewrite, model, again], capture_output=True)
    if written.returncode:
        print(f"{name}: {written.stderr.decode().strip()}")
        return False
    try:
        after = interpreter(str(again), OpResolverType.BUILTIN_REF)
    except (ValueError, RuntimeError) as e:
        print(f"{name}: LiteRT refuses what was written: {e}")
        return False
    for k in range(args.samples):
        sample = inputs(before, None, k, args)
        for a, b in zip(run(before, sample), run(after, sample)):
            if a.tobytes() != b.tobytes():
                print(f"{name}: sample {k} differs")
                return False
    return True


if __name__ == "__main__":
    main()
