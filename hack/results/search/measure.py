"""What a search finds beside what a hand-written tree holds, on samples that decided nothing.

    python measure.py MATERIAL ESPALIER FOLDER CASE [--seeds 3] [--again]

CASE is kws, mnist, fsdd or digits; MATERIAL is the folder of models and data, for digits what ../channels/digits.py makes. A seed is that
of the training and of which samples decide: half of the test samples, of kws, which has only 1,000 in all, a quarter beside a quarter for the test.
The networks have learned the training samples, so that these would not do. Beside the leaf that a search takes stands "level", the smallest of its leaves that
is no less accurate than the tree's on the samples that decide (without labels: that agrees no less), as one picks it from the report's front. Tree and search run with one thread, and their processor time counts. What
was measured is kept in FOLDER. --again searches twice and compares the bytes. Needs numpy and pyyaml.
"""

import argparse
import filecmp
import gzip
import json
import os
import statistics
import subprocess
import sys

import numpy as np
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = {  # model, data, tree; the search is CASE.yaml
    "kws": ("models/kws_ref_float.tflite", "kws01/kws01_int8.npz", "../reconstruct/kws.yaml"),
    "mnist": ("models/mnist_cnn_float.tflite", "mnist", "mnist-tree.yaml"),
    "fsdd": ("models/fsdd_ds_cnn_l_float.tflite", "fsdd/fsdd_mfcc.npz", "fsdd-tree.yaml"),
    "digits": ("resnet8.tflite", "digits32.npz", "digits-tree.yaml"),
}

TRAINING = {"digits": 10000}  # samples that are trained on, where not all


def mnist(folder):
    """Reads the four idx.gz files."""

    def array(name, header):
        with gzip.open(os.path.join(folder, name)) as f:
            return np.frombuffer(f.read(), np.uint8, offset=header)

    data = {}
    for split, name in {"train": "train", "test": "t10k"}.items():
        data["x_" + split] = array(name + "-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
        data["y_" + split] = array(name + "-labels-idx1-ubyte.gz", 8)
    return data


def divide(source, out, seed, most):
    """Writes a dataset with three splits: half of the test samples decide, of a dataset without a quarter, and a quarter is for the test; of those to train on, the first are kept."""
    data = mnist(source) if os.path.isdir(source) else dict(np.load(source))
    whole = "x_test" not in data
    names = sorted({name.removesuffix("_test") for name in data if whole or name.endswith("_test")})
    count = len(data[names[0] if whole else names[0] + "_test"])
    order = np.random.default_rng(seed).permutation(count)
    parts = np.split(order, [count // 4, count // 2] if whole else [count // 2])
    made = {} if whole else {name: data[name][:most] for name in data if name.endswith("_train")}
    for name in names:
        samples = data[name if whole else name + "_test"]
        made |= {f"{name}_{split}": samples[part] for split, part in zip(("validation", "test", "train"), parts)}
    np.savez(out, **made)


def read(path):
    with open(os.path.join(HERE, path)) as f:
        return yaml.safe_load(f)


def timed(command):
    """Runs a command and returns its processor time in seconds, all threads together."""
    child = subprocess.Popen(command, env=os.environ | {"GOMAXPROCS": "1"}, stdout=sys.stderr)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 5):  # 5: no leaf met the constraint
        sys.exit(f"{' '.join(command)}: exit code {child.returncode}")
    return usage.ru_utime + usage.ru_stime


class Case:
    def __init__(self, args):
        self.espalier, self.name = os.path.abspath(args.espalier), args.case
        self.model, self.data, self.tree = CASES[args.case]
        self.model = os.path.abspath(os.path.join(args.material, self.model))
        self.data = os.path.abspath(os.path.join(args.material, self.data))
        self.folder = os.path.join(os.path.abspath(args.folder), self.name)

    def run(self, kind, seed, out):
        """Runs tree or search and returns what its leaf is on both splits."""
        folder = os.path.join(self.folder, str(seed))
        known = os.path.join(folder, out + ".json")
        if os.path.exists(known):
            with open(known) as f:
                return json.load(f)
        os.makedirs(folder, exist_ok=True)
        pipeline = read(self.name + ".yaml")
        spec = pipeline["spec"]
        if kind == "tree":
            del spec["search"]
            tree = read(self.tree)["spec"]
            spec |= {k: tree[k] for k in ("training", "stages") if k in tree}
            spec["selection"] = {"strategy": "Best", "objective": "CompressedBytes"}
        spec.setdefault("training", {})["seed"] = seed
        spec["model"]["uri"], spec["dataset"]["uri"] = self.model, os.path.join(folder, "data.npz")
        if not os.path.exists(spec["dataset"]["uri"]):
            divide(self.data, spec["dataset"]["uri"], seed, TRAINING.get(self.name))
        manifest = os.path.join(folder, out + ".yaml")
        with open(manifest, "w") as f:
            yaml.safe_dump(pipeline, f, sort_keys=False)
        seconds = timed([self.espalier, "run", manifest, "-o", os.path.join(folder, out)])
        with open(os.path.join(folder, out, "result.json")) as f:
            status = json.load(f)["status"]
        found = {"seconds": seconds, "leaves": len(status.get("stages", []))}  # the baseline is among them
        if selected := status.get("selected"):
            found |= self.measured(seed, out, selected["stage"])
        with open(known, "w") as f:
            json.dump(found, f)
        return found

    def measured(self, seed, out, stage):
        """What a leaf is on both splits, by labels where there are any."""
        folder = os.path.join(self.folder, str(seed))
        section = {k: v for k, v in read(self.name + ".yaml")["spec"]["dataset"].items() if k not in ("uri", "target")}
        leaf, data = os.path.join(folder, out, "leaves", stage + ".tflite"), os.path.join(folder, "data.npz")
        found = {"stage": stage}
        for split in ("validation", "test"):
            command = [self.espalier, "evaluate", leaf, "--dataset", data, "--dataset-spec", json.dumps(section), "--split", split, "--original", self.model, "-o", "json"]
            found[split] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["metrics"]
        return found

    def level(self, seed, tree):
        """The smallest leaf of a search that meets on the deciding samples what the tree's leaf does."""
        metric = self.metric()
        with open(os.path.join(self.folder, str(seed), "search", "result.json")) as f:
            leaves = {s["name"]: {m["name"]: float(m["value"]) for m in s["leaf"]["metrics"]} for s in json.load(f)["status"]["stages"] if s.get("leaf")}
        with open(os.path.join(self.folder, str(seed), "tree", "result.json")) as f:
            taken = next(s for s in json.load(f)["status"]["stages"] if s["name"] == tree["stage"])
        least = next(float(m["value"]) for m in taken["leaf"]["metrics"] if m["name"] == metric)
        stage = min((n for n, m in leaves.items() if m[metric] >= least), key=lambda n: leaves[n]["CompressedBytes"], default=None)
        return self.measured(seed, "search", stage) if stage else {}

    def metric(self):
        return "Agreement" if any(c["metric"] == "Agreement" for c in read(self.name + ".yaml")["spec"]["constraints"]) else "Accuracy"


def spread(values, form):
    return f"{form.format(statistics.mean(values))} ± {form.format(statistics.stdev(values))}" if len(values) > 1 else form.format(values[0])


def main():
    parser = argparse.ArgumentParser()
    for name in ("material", "espalier", "folder"):
        parser.add_argument(name)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    case = Case(args)
    rows = {kind: [case.run(kind, seed, kind) for seed in range(1, args.seeds + 1)] for kind in ("tree", "search")}
    rows["level"] = [case.level(seed, tree) if "stage" in tree else {} for seed, tree in enumerate(rows["tree"], 1)]
    for kind, runs in rows.items():
        print(kind, [f"seed {i + 1}: {r.get('stage', 'none')}" + (f", {r['leaves']} leaves, {r['seconds']:.0f} s" if "leaves" in r else "") for i, r in enumerate(runs)])
        met = [r for r in runs if "stage" in r]
        for split in ("validation", "test"):
            for metric, form in {"CompressedBytes": "{:.0f}", "Accuracy": "{:.4f}", "AccuracyDrop": "{:.4f}", "Agreement": "{:.4f}"}.items():
                values = [r[split][metric] for r in met if metric in r[split]]
                if values and (split == "test" or metric != "CompressedBytes"):
                    print(f"  {split} {metric} {spread(values, form)}  {values}")
    for kind in ("search", "level"):
        pairs = [(t["test"], r["test"]) for t, r in zip(rows["tree"], rows[kind]) if "stage" in t and "stage" in r]
        if pairs:
            print(f"{kind} smaller by, in percent:", spread([100 * (1 - r["CompressedBytes"] / t["CompressedBytes"]) for t, r in pairs], "{:.1f}"))
            print(f"{kind} more accurate by, in points:", spread([100 * (r["Accuracy"] - t["Accuracy"]) for t, r in pairs], "{:.2f}"))
    print("time of the search, of the tree's:", spread([s["seconds"] / t["seconds"] for t, s in zip(rows["tree"], rows["search"])], "{:.2f}"))
    if args.again:
        case.run("search", 1, "again")
        folder = os.path.join(case.folder, "1")
        names = sorted(os.listdir(os.path.join(folder, "search", "leaves")))
        same = names == sorted(os.listdir(os.path.join(folder, "again", "leaves"))) and all(filecmp.cmp(os.path.join(folder, "search", "leaves", n), os.path.join(folder, "again", "leaves", n), shallow=False) for n in names)
        print(f"a second search made the same {len(names)} leaves, byte for byte:", same)


if __name__ == "__main__":
    main()
