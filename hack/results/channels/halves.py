"""Which half of the digits, 0 to 4 or 5 to 9: two classes on photographs, for MobileNetV1-0.25 of Visual Wake Words, whose own data is not at hand.

    python halves.py MNIST FOLDER

The samples are drawn as in digits.py, at 96×96; FOLDER gets halves96.npz. halves.yaml trains the network on them before it takes channels out.
"""

import pathlib
import sys

import numpy as np

from digits import dataset

TRAIN = 10000


def main():
    data = dataset(pathlib.Path(sys.argv[1]), 96, TRAIN)
    np.savez(pathlib.Path(sys.argv[2]) / "halves96.npz", **{k: v // 5 if k.startswith("y_") else v for k, v in data.items()})


main()
