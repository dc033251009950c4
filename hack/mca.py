#!/usr/bin/env python3
"""Estimates what the arm64 kernels' inner loops do in a cycle, by llvm-mca: a model of the core's ports, no caches.

    apt-get install llvm-19
    hack/mca.py                    # a Markdown table, as in docs/performance.md

The kernels are taken from the compiled binary. A loop is a backward branch and what lies between it and its target, with no other
backward branch in between, and as if no branch forward were taken; of a function's loops the one with the most arithmetic a pass is shown. An operation is a multiplication or an addition, so that a
vector FMLA of four float32 counts eight, SDOT 32, SMMLA 64 and SMLAL 16.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
CORES = ["neoverse-n1", "neoverse-v1", "neoverse-n2"]
# what is shown: function, what it is, cores that have its instructions
KERNELS = [
    ("Gemm", "f32 GEMM, FMLA by element", CORES),
    ("Depthwise", "f32 depthwise", CORES),
    ("DepthwiseWeights", "f32 depthwise, weights' gradient", CORES),
    ("gemmInt8MM", "int8 GEMM, SMMLA", CORES[1:]),
    ("gemmInt8Dot", "int8 GEMM, SDOT", CORES),
    ("gemmInt8NEON", "int8 GEMM, SMULL and SADALP", CORES),
    ("depthwiseInt8Dot", "int8 depthwise, SDOT", CORES),
    ("BiasActQuant", "bias, activation, fake quantization", CORES),
    ("Adam", "Adam", CORES),
    ("Assign", "codes of clusters", CORES),
    ("Requantize", "requantization", CORES),
]
WORK = [(r"^smmla", 64), (r"^[su]dot", 32), (r"^smlal2?\s+v\d+\.4s", 8), (r"^smlal2?", 16), (r"^smull2?\s+v\d+\.8h", 8), (r"^sadalp\s+v\d+\.4s", 8), (r"^fml[as]\s+v\d+\.4s", 8)]


def tool(name):
    for candidate in (name + "-19", name):
        if subprocess.run(["which", candidate], capture_output=True).returncode == 0:
            return candidate
    sys.exit(f"{name} is missing: apt-get install llvm-19")


def main():
    with tempfile.TemporaryDirectory() as tmp:
        binary = pathlib.Path(tmp) / "kernel.test"
        subprocess.run(["go", "test", "-c", "-o", binary, "./optimizer/kernel"], cwd=ROOT, check=True, env={**environment(), "GOARCH": "arm64", "GOOS": "linux"})
        print("| kernel | inner loop | " + " | ".join(CORES) + " |\n|---|---|" + "---|" * len(CORES))
        for function, name, cores in KERNELS:
            loop = max(loops(binary, function), key=lambda l: (work(l), len(l)))
            cells = [f"{work(loop) or len(loop)} {'ops' if work(loop) else 'instructions'}"]
            cells += [estimate(loop, core) if core in cores else "–" for core in CORES]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def environment():
    return {**os.environ, "CGO_ENABLED": "0"}


def loops(binary, function):
    """The innermost loops of an assembly function, each a list of instructions."""
    symbol = f"espalier.dev/espalier/optimizer/kernel/internal/simd.{function}.abi0"
    text = subprocess.run([tool("llvm-objdump"), "-d", "--mattr=+all", "--no-show-raw-insn", f"--disassemble-symbols={symbol}", binary], check=True, capture_output=True, text=True).stdout
    lines = [(int(m[1], 16), m[2].strip()) for m in re.finditer(r"^\s*([0-9a-f]+):\s+(.*)$", text, re.M)]
    if not lines:
        sys.exit(f"{symbol} is not in the binary")
    branches = [(i, int(m[1], 16)) for i, (_, text) in enumerate(lines) if (m := re.match(r"(?:b|b\.\w+|cbn?z|tbn?z)\s.*?0x([0-9a-f]+)", text))]
    found = []
    for i, target in branches:
        body = [(a, t) for a, t in lines[: i + 1] if a >= target]
        inside = any(target <= to <= lines[j][0] < lines[i][0] for j, to in branches)
        if target <= lines[i][0] and len(body) > 1 and not inside:
            jumps = {lines[j][0] for j, _ in branches}
            found.append([re.sub(r"\s*(//|<).*", "", t) for a, t in body if a not in jumps] + ["subs x30, x30, #1"])
    if not found:
        sys.exit(f"{function} has no loop")
    return found


def work(loop):
    return sum(next((ops for pattern, ops in WORK if re.match(pattern, i)), 0) for i in loop)


def estimate(loop, core):
    """Operations (or instructions, where nothing multiplies) a cycle."""
    out = subprocess.run([tool("llvm-mca"), "-march=aarch64", f"-mcpu={core}", "-mattr=+all", "-iterations=1000"], input="\n".join(loop), check=True, capture_output=True, text=True).stdout
    cycles = int(re.search(r"Total Cycles:\s+(\d+)", out)[1]) / 1000
    return f"{(work(loop) or len(loop)) / cycles:.1f} a cycle ({cycles:.1f} cycles)"


if __name__ == "__main__":
    main()
