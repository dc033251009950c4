#!/usr/bin/env python3
"""Makes a dataset of long sequences for the network of streaming_digits.py: recordings one behind the other, with the digit as target at
each step.

    python hack/peers/streaming_long.py FOLDER [RECORDINGS]

FOLDER has the digits.npz that streaming_digits.py made; long.npz is put beside it, of RECORDINGS (64) recordings of 16 steps a sequence. The answer
of a step is of the mean of the last sixteen, so that the target is what was spoken eight steps before.
"""

import pathlib
import sys

import numpy as np

LATE = 8
random = np.random.default_rng(5)


def sequences(x, y, recordings, count):
    order = np.concatenate([random.permutation(len(x)) for _ in range(-(-count * recordings // len(x)))])[: count * recordings]
    steps = x[order].reshape(count, -1, *x.shape[2:])
    labels = np.repeat(y[order], x.shape[1]).reshape(count, -1)
    return steps, np.concatenate([labels[:, :1].repeat(LATE, 1), labels[:, :-LATE]], 1)


def main():
    folder, recordings = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 64
    data, out = np.load(folder / "digits.npz"), {}
    for split, count in ("train", 128), ("test", 24):
        out["x_" + split], out["y_" + split] = sequences(data["x_" + split], data["y_" + split], recordings, count)
    print({name: a.shape for name, a in out.items()})
    np.savez_compressed(folder / "long.npz", **out)


if __name__ == "__main__":
    main()
