"""Time of leaves in LiteRT, one thread, beside the first's.

    python time.py out/leaves/baseline.tflite out/leaves/half.tflite …

Needs ai-edge-litert and numpy. Leaves take turns, so that what else the machine does is shared; each one's time is the least of its turns.
"""

import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

TURNS, CALLS = 40, 20


def main():
    leaves = []
    for path in sys.argv[1:]:
        leaf = Interpreter(model_path=path, num_threads=1)
        leaf.allocate_tensors()
        random = np.random.default_rng(1)
        for i in leaf.get_input_details():
            leaf.set_tensor(i["index"], random.integers(-128, 128, i["shape"]).astype(i["dtype"]))
        leaf.invoke()
        leaves.append(leaf)
    least = [float("inf")] * len(leaves)
    for _ in range(TURNS):
        for k, leaf in enumerate(leaves):
            start = time.perf_counter()
            for _ in range(CALLS):
                leaf.invoke()
            least[k] = min(least[k], (time.perf_counter() - start) / CALLS)
    for path, seconds in zip(sys.argv[1:], least):
        print(f"{path}: {1e6 * seconds:.0f} µs, {seconds / least[0]:.2f}")


main()
