#!/usr/bin/env python3
"""Writes the datasets of optimizer/dataset/testdata that other programs write: Parquet by pyarrow, WebDataset by webdataset.

    python3 -m venv /tmp/datasets && /tmp/datasets/bin/pip install pyarrow==26.0.1 webdataset==1.0.2 numpy pillow
    /tmp/datasets/bin/python hack/peers/datasets.py optimizer/dataset/testdata
"""

import decimal
import io
import json
import pathlib
import struct
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

SAMPLES = 6


def picture(i, form):
    """2 by 3 pixels, all of the sample's number."""
    out = io.BytesIO()
    Image.fromarray(np.full((2, 3, 3), 10 * i, np.uint8)).save(out, form)
    return out.getvalue()


def wav(i):
    """4 samples of 8 kHz, all of the sample's number."""
    data = struct.pack("<4h", *[i << 8] * 4)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data" + struct.pack("<I", len(data)) + data


def hugging_face(label_names, media):
    features = {media: {"_type": media.capitalize()}, "label": {"names": label_names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def parquet(out):
    rows = range(SAMPLES)
    files = lambda name, data: pa.array([{"bytes": b, "path": f"{i}.{name}"} for i, b in enumerate(data)])
    labels = pa.array([i % 2 for i in rows], pa.int64())
    pictures = pa.table({"image": files("png", [picture(i, "PNG") for i in rows]), "label": labels})
    pq.write_table(pictures.replace_schema_metadata(hugging_face(["cat", "dog", "owl"], "image")), out / "images.parquet", row_group_size=4)
    clips = pa.table({"audio": files("wav", [wav(i) for i in rows]), "label": labels})
    pq.write_table(clips.replace_schema_metadata(hugging_face(["yes", "no"], "audio")), out / "clips.parquet", row_group_size=2, compression="zstd")
    numbers = pa.table({
        "id": pa.array([f"row {i}" for i in rows]),
        "height": pa.array([i + 0.5 for i in rows], pa.float32()),
        "width": pa.array([10 * i for i in rows], pa.uint8()),
        "ripe": pa.array([i > 2 for i in rows]),
        "label": pa.array(["pear" if i % 3 else "plum" for i in rows]),
    })
    pq.write_table(numbers.drop(["id"]), out / "numbers.parquet", row_group_size=4, compression="gzip")
    pq.write_table(numbers.drop(["id"]), out / "runs.parquet", data_page_version="2.0")
    pq.write_table(numbers.drop(["id"]), out / "blocks.parquet", compression="lz4")
    lists = pa.table({
        "pixels": pa.array([[i, i + 1, i + 2] for i in rows], pa.list_(pa.int32())),
        "fixed": pa.array([[0.25 * i, 1.0] for i in rows], pa.list_(pa.float64(), 2)),
        "name": pa.array([f"row {i}" for i in rows]),
        "y": pa.array([0.5 * i for i in rows], pa.float64()),
    })
    halves = np.arange(12, dtype=np.float16) / 4
    pq.write_table(pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(halves), 2), "label": [i % 2 for i in range(6)]}), out / "halves.parquet")
    pq.write_table(lists, out / "lists.parquet", row_group_size=5, compression="brotli")
    fixed = lambda kind, digits: pa.array([decimal.Decimal(i - 3).scaleb(-digits) for i in rows], kind)
    decimals = pa.table({"a": fixed(pa.decimal128(30, 20), 20), "b": fixed(pa.decimal128(12, 1), 1), "c": fixed(pa.decimal256(60, 2), 2), "label": labels})
    pq.write_table(decimals, out / "decimals.parquet")
    pq.write_table(decimals.drop(["a", "c"]), out / "small_decimals.parquet", store_decimal_as_integer=True)
    structs = pa.table({
        "sensor": pa.array([{"about": {"unit": "g", "rate": 50}, "values": [i, i + 0.5]} for i in rows]),
        "meta": pa.array([{"kind": "ab"[i % 2], "age": i} for i in rows]),
    })
    pq.write_table(structs, out / "structs.parquet", row_group_size=4)
    pq.write_table(numbers, out / "withtext.parquet")
    pq.write_table(pa.table({"a": pa.array([1.0, None, 3.0]), "label": pa.array([0, 1, 0])}), out / "gaps.parquet")


def tars(out):
    def write(name, samples, **options):
        with webdataset.TarWriter(str(out / name), mtime=0, **options) as sink:
            for sample in samples:
                sink.write(sample)

    write("images.tar", ({"__key__": f"{i:04d}", "jpg" if i % 2 else "png": picture(i, "JPEG" if i % 2 else "PNG"), "cls": i % 3, "json": {"weight": i / 2, "kind": "ab"[i % 2]}} for i in range(SAMPLES)))
    write("clips.tar.gz", ({"__key__": f"speaker/{i}", "wav": wav(i), "json": {"word": ["yes", "no"][i % 2]}} for i in range(SAMPLES)))
    write("arrays.tar", ({"__key__": f"{i}", "x.npy": np.full((2, 2), i, np.float32), "y.npy": np.array([i, 0.5], np.float32)} for i in range(SAMPLES)))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    parquet(folder)
    tars(folder)
