#!/usr/bin/env python3
"""Walks networks that build.py made and prints a table: accuracies of float, PTQ, PQAT and PCQAT, whether LiteRT's reference kernels
give every leaf's bytes, time and peak memory.

    python walk.py --espalier ./espalier /tmp/applications/*

The accuracies are those of result.json: the test samples, measured by the integer executor.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

CHECK = pathlib.Path(__file__).resolve().parents[1] / "litert_check.py"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="+", type=pathlib.Path)
    parser.add_argument("--espalier", type=pathlib.Path, default=pathlib.Path("espalier"))
    parser.add_argument("--samples", type=int, default=10, help="random samples of the comparison with LiteRT")
    args = parser.parse_args()
    print("| network | parameters | float | PTQ | PQAT | PCQAT | equal to LiteRT | time | peak memory |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for folder in args.folder:
        print(row(folder, args), flush=True)


def row(folder, args):
    started = time.monotonic()
    with open(folder / "log", "w") as log:
        walk = subprocess.Popen([args.espalier.resolve(), "run", "pipeline.yaml", "-o", "out"], cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(walk.pid, 0)
    took = time.monotonic() - started
    if status:
        return f"| {folder.name} | failed: {(folder / 'log').read_text().strip().splitlines()[-1]} |"
    result = json.loads((folder / "out" / "result.json").read_text())["status"]
    accuracy = {"float": metric(result["baseline"]["metrics"], "Accuracy")}
    for stage in result["stages"]:
        accuracy[stage["name"]] = metric(stage["leaf"]["metrics"], "Accuracy")
    leaves = sorted((folder / "out" / "leaves").glob("*.tflite"))
    check = subprocess.run([sys.executable, CHECK, "--samples", str(args.samples), *leaves], capture_output=True, text=True)
    equal = "yes" if check.returncode == 0 else "**no**: " + check.stdout.strip().replace("\n", "; ")
    if check.returncode < 0:
        equal = f"LiteRT stops, signal {-check.returncode}"
    parameters = (folder / "model.tflite").stat().st_size / 4e6
    return (f"| {folder.name} | {parameters:.1f} M | " + " | ".join(accuracy.get(k, "-") for k in ("float", "baseline", "pqat", "pcqat"))
            + f" | {equal} | {took:.0f} s | {usage.ru_maxrss / 1e6:.2f} GB |")


def metric(metrics, name):
    return next(m["value"] for m in metrics if m["name"] == name)


if __name__ == "__main__":
    main()
