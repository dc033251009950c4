"""What TensorFlow Lite Micro makes of models: whether it loads them, and what memory it allocates (goldens of optimizer/target).

    python tflm.py MODEL... > allocations.json

needs a virtual environment with tflite-micro. Each model runs in a process of its own, because kernels may abort.
"""
import json
import os
import re
import subprocess
import sys

LOAD = """
import sys
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1], arena_size=64 << 20)
interpreter.print_allocations()
"""


def allocations(path):
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True)
    text = done.stdout + done.stderr
    if done.returncode != 0:
        return {"refused": [line for line in text.splitlines() if "failed to prepare" in line or "find op" in line][:1]}
    out = {}
    for name, size in re.findall(r"Arena allocation (\w+) (\d+) bytes", text):
        out[name] = int(size)
    for name, size in re.findall(r"\] '([^']+)' used (\d+) bytes", text):
        out[name] = int(size)
    return out


print(json.dumps({os.path.basename(path): allocations(path) for path in sys.argv[1:]}, indent=1))
