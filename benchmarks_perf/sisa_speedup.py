"""How much sooner SISA serves a deletion than retraining does, beside the closed form.

    python benchmarks_perf/sisa_speedup.py [--requests 10] [--rows 800] [--epochs 5]

A network of two layers on scikit-learn's handwritten digits, one thread. For every number of shards S and slices R an
ensemble is trained and kept on disk; then requests of K random rows each are served, every one from that ensemble.
Speed-up is what full retraining (one model, all rows left, the same epochs) takes over what the requests take on
average: in optimiser steps, and in processor seconds, both sides measured in this run. The closed form 1 / `retrained`
counts rows read; rows fall on shards independently. Epochs of a stage are whole numbers, so give epochs of which
2 / (R + 1) is one. Short last batches make steps a little dearer than rows. Drawing fresh networks, hashing records and
reading the checkpoints of all shards cost seconds and no steps: they bound the speed-up in seconds of small networks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sklearn.datasets import load_digits

from lethe.data.schema import Record
from lethe.data.shards import assign
from lethe.descent.ensembles import ensemble
from lethe.models.classifier import Classifier
from lethe.models.nets import MLP
from lethe.recipe import Recipe
from lethe.scoring.intervals import bootstrap
from lethe.scoring.sharding import retrained

SHARDS, SLICES, DELETED = (1, 2, 5, 10, 20), (1, 4), (1, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    records, recipe = rows(asked.rows), Recipe(epochs=asked.epochs, batch_size=4)
    model = Classifier(MLP(64, 10, width=64))
    drawn = np.random.default_rng(0)
    whole = [served(model, records[1:], 1, 1, recipe, None) for _ in range(3)]
    steps, seconds = whole[0][0], statistics.median(taken for _, taken in whole)
    print(f"retraining: {steps} steps, {seconds:.2f} processor seconds\n")
    print("| shards | slices | rows deleted | speed-up in steps | in seconds | closed form |")
    print("|---:|---:|---:|---:|---:|---:|")
    for shards in SHARDS:
        for slices in SLICES:
            with tempfile.TemporaryDirectory() as place:
                stored = Path(place) / "stored"
                stored.mkdir()
                served(model, records, shards, slices, recipe, stored)
                for deleted in DELETED:
                    taken = []
                    for _ in range(asked.requests):
                        gone = set(drawn.choice(len(records), deleted, replace=False).tolist())
                        left = [record for row, record in enumerate(records) if row not in gone]
                        taken.append(served(model, left, shards, slices, recipe, stored))
                    line = [shards, slices, deleted, *(_ratio(whole, side) for whole, side in
                            ((steps, [one for one, _ in taken]), (seconds, [two for _, two in taken])))]  # fmt: skip
                    print("| " + " | ".join(map(str, [*line, f"{1 / retrained(shards, slices, deleted):.2f}"])), "|")


def rows(count: int) -> list[Record]:
    data = load_digits(return_X_y=True)
    pixels, labels = np.asarray(data[0], dtype=np.float32) / 16, np.asarray(data[1])
    return [{"id": f"digit{row}", "features": pixels[row], "label": int(labels[row])} for row in range(count)]


def served(
    model: Classifier, records: Sequence[Record], shards: int, slices: int, recipe: Recipe, stored: Path | None
) -> tuple[int, float]:
    """Steps and processor seconds of the ensemble of these records, from a copy of what is stored."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if stored is not None:
            for path in stored.iterdir():
                (folder / path.name).hardlink_to(path)
        start = time.process_time()
        trained = ensemble(model, assign(records, shards, slices, recipe.seed), recipe, folder)
        taken = time.process_time() - start
        if stored is not None and not any(stored.iterdir()):
            shutil.copytree(folder, stored, dirs_exist_ok=True)
    return sum(one.steps for one in trained), taken


def _ratio(whole: float, taken: Sequence[float]) -> str:
    """Over the mean of what was taken, with the interval of that mean."""
    spread = bootstrap(np.asarray(taken, dtype=float), seed=0)
    return f"{whole / np.mean(taken):.2f} ({whole / spread.high:.2f} to {whole / spread.low:.2f})"


if __name__ == "__main__":
    main()
