"""What TensorFlow Lite Micro answers on int8 and int16 models: goldens of optimizer/exec/integer's option TFLM.

    python tflm_answers.py ROOT MODEL... > tflm.json

needs a virtual environment with tflite-micro and numpy. testdata/tflm.json holds the digests of the material, testdata/tflm those of
its models. Byte j of sample k is the high byte of (j+1)(k+3)·2654435761 mod 2³²; of
each model the SHA-256 of the answers to 100 samples is kept, one after the other, by its path below ROOT.
"""
import hashlib
import json
import os
import subprocess
import sys

ANSWER = """
import hashlib, sys
import numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1], arena_size=64 << 20)
inputs = [interpreter.get_input_details(0)]
dtype = np.dtype(inputs[0]["dtype"])
if dtype not in (np.int8, np.int16) or interpreter.get_output_details(0)["dtype"] != dtype:
    sys.exit(3)
digest = hashlib.sha256()
size = int(np.prod(inputs[0]["shape"])) * dtype.itemsize
for k in range(100):
    values = (np.arange(1, size + 1, dtype=np.uint64) * np.uint64(k + 3) * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(24)
    interpreter.reset()  # every sample is a sequence, which an LSTM begins with zeros
    interpreter.set_input(values.astype(np.uint8).view(dtype).reshape(inputs[0]["shape"]), 0)
    interpreter.invoke()
    digest.update(interpreter.get_output(0).tobytes())
print(digest.hexdigest())
"""

root, out = sys.argv[1], {}
for path in sys.argv[2:]:
    done = subprocess.run([sys.executable, "-c", ANSWER, path], capture_output=True, text=True)
    if done.returncode == 0:
        out[os.path.relpath(path, root)] = done.stdout.split()[-1]
print(json.dumps(out, indent=1, sort_keys=True))
