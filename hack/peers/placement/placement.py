#!/usr/bin/env python3
"""Which operators Vela leaves on the processor, beside what `espalier check` says.

    python placement.py ESPALIER MODEL... [--json FILE]

needs a virtual environment with ethos-u-vela, whose `vela` is found beside this python, and the binary ESPALIER. Of each model and each of
ethos-u55, ethos-u65 and ethos-u85 it reads the file that Vela writes: what is no command stream there runs on the processor. It prints the operators on
which the two disagree and, by target, how many models and operators were compared. --json records Vela's answer by target and file, and --keep the
models without their weights, for the tests of optimizer/target.
"""

import argparse
import collections
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

from ethosu.vela.tflite import BuiltinOperator, Model

TARGETS = {"ethos-u55": "ethos-u55-128", "ethos-u65": "ethos-u65-256", "ethos-u85": "ethos-u85-256"}
NAMES = {code: name for name, code in vars(BuiltinOperator.BuiltinOperator).items() if not name.startswith("_")}


def operators(content):
    """Returns the operators of a .tflite, NAME and the tensor that each makes, custom ones as None."""
    model = Model.Model.GetRootAsModel(bytearray(content), 0)
    out = []
    for s in range(model.SubgraphsLength()):
        graph = model.Subgraphs(s)
        for i in range(graph.OperatorsLength()):
            operator = graph.Operators(i)
            code = model.OperatorCodes(operator.OpcodeIndex())
            name = NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            made = graph.Tensors(operator.Outputs(0)).Name().decode() if operator.OutputsLength() else ""
            out.append(None if name == "CUSTOM" else f"{name} {made}")
    return out


def hollow(content):
    """Returns a .tflite with zeros in place of large constants and one value for the scales of channels, compressed."""
    content = bytearray(content)
    model = Model.Model.GetRootAsModel(content, 0)
    for i in range(model.BuffersLength()):
        if model.Buffers(i).DataLength() > 256:
            model.Buffers(i).DataAsNumpy()[:] = 0  # a view of content
    for s in range(model.SubgraphsLength()):
        graph = model.Subgraphs(s)
        for i in range(graph.TensorsLength()):
            quantization = graph.Tensors(i).Quantization()
            if quantization is not None and quantization.ScaleLength() > 1:
                quantization.ScaleAsNumpy()[:] = 1
    return gzip.compress(bytes(content), mtime=0)


def vela(path, accelerator):
    """Returns the operators that Vela leaves on the processor, None where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        command = [pathlib.Path(sys.executable).parent / "vela", path, "--accelerator-config", accelerator, "--output-dir", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired:
            return None, "it takes longer than 15 minutes"
        written = list(pathlib.Path(folder).glob("*_vela.tflite"))
        if done.returncode != 0 or not written:
            lines = (done.stdout + done.stderr).strip().splitlines()
            return None, lines[-1] if lines else "no output"
        return [o for o in operators(written[0].read_bytes()) if o is not None], ""


def check(espalier, path, target):
    """Returns the operators that espalier places on the processor, and the reasons."""
    done = subprocess.run([espalier, "check", "-o", "json", path, "--target", target], capture_output=True, text=True)
    report = json.loads(done.stdout)
    return {f"{o['name']} {o['layer']}": o.get("reason", "") for o in report["operators"] if o["place"] != "accelerator"}, len(report["operators"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("espalier")
    parser.add_argument("model", nargs="+", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path, metavar="FOLDER")
    args = parser.parse_args()
    answers, totals, apart = collections.defaultdict(dict), collections.Counter(), 0
    for path in args.model:
        if args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            (args.keep / f"{path.name}.gz").write_bytes(hollow(path.read_bytes()))
        for target, accelerator in TARGETS.items():
            left, why = vela(path, accelerator)
            if left is None:
                print(f"{target} {path.name}: vela fails: {why}", flush=True)
                continue
            answers[target][path.name] = sorted(left)
            said, count = check(args.espalier, path, target)
            totals[target, "models"] += 1
            totals[target, "operators"] += count
            totals[target, "on the processor"] += len(left)
            for operator in sorted(set(left) ^ set(said)):
                where = "vela leaves it on the processor, check does not" if operator in left else f"check leaves it on the processor, vela does not: {said[operator]}"
                print(f"{target} {path.name}: {operator}: {where}", flush=True)
                apart += 1
    for target in TARGETS:
        print(f"{target}: {totals[target, 'models']} models, {totals[target, 'operators']} operators, {totals[target, 'on the processor']} of them on the processor")
    print(f"{apart} operators are placed otherwise")
    if args.json:
        args.json.write_text(json.dumps(answers, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
