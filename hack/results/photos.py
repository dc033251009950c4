"""Square crops of photographs as a dataset without labels, for networks whose own data is not at hand.

    python photos.py SIDE OUT.npz

Needs numpy, scikit-image and scikit-learn, whose sample photographs these are. Training crops are from the left three fifths of each
photograph, test crops from the right two fifths; each is 32 to 256 pixels wide, scaled to SIDE, 0 to 255.
"""

import os
import sys

import numpy as np
import skimage
import sklearn
from skimage import io, transform

FOLDERS = {
    os.path.join(os.path.dirname(skimage.__file__), "data"): ["astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"],
    os.path.join(os.path.dirname(sklearn.__file__), "datasets", "images"): ["china.jpg", "flower.jpg"],
}


def crops(images, count, side, random):
    out = np.empty((count, side, side, 3), np.float32)
    for i in range(count):
        image = images[i % len(images)]
        size = random.integers(32, min(256, *image.shape[:2]) + 1)
        y, x = random.integers(image.shape[0] - size + 1), random.integers(image.shape[1] - size + 1)
        crop = image[y : y + size, x : x + size].astype(np.float64) / 255
        out[i] = np.round(255 * transform.resize(crop, (side, side), anti_aliasing=size > side))
    return out


def main():
    side, out = int(sys.argv[1]), sys.argv[2]
    photos = [io.imread(os.path.join(folder, name))[:, :, :3] for folder, names in FOLDERS.items() for name in names]
    cuts = [photo.shape[1] * 3 // 5 for photo in photos]
    random = np.random.default_rng(1)
    train = crops([p[:, :c] for p, c in zip(photos, cuts)], 512, side, random)
    test = crops([p[:, c:] for p, c in zip(photos, cuts)], 1000, side, random)
    np.savez_compressed(out, x_train=train.astype(np.uint8), x_test=test.astype(np.uint8))


if __name__ == "__main__":
    main()
