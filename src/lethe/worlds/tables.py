"""Tables that come with scikit-learn, or a user's own, divided for forgetting rows or a whole class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lethe.data.tables import NumericTable
from lethe.errors import InputError
from lethe.registry import did_you_mean

BUNDLED = ("breast_cancer", "wine", "digits")
NOISE = 0.3  # share of wrong labels in all parts of a bundled table but test: what can only be learnt by heart
SHARES = {"forget": 0.1, "retain": 0.3, "unseen": 0.2}  # all other rows are the test part
FEWEST = 10  # rows of a part

# Fields of `lethe.train.Recipe`: the target gets all its training labels right, wrong ones included.
RECIPE: dict[str, Any] = {
    "lr": 3e-3,
    "epochs": 100,
    "batch_size": 32,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 5.0,
}

Records = list[dict[str, Any]]


def bundled(name: str) -> NumericTable:
    """One of scikit-learn's tables: breast_cancer (569 x 30, 2 classes), wine (178 x 13, 3), digits (1,797 x 64, 10).

    Raises:
        InputError: If there is no such table.
    """
    if name not in BUNDLED:
        raise InputError(f"There is no bundled table {name!r}{did_you_mean(name, BUNDLED)}; {', '.join(BUNDLED)}.")
    from sklearn import datasets

    found: Any = getattr(datasets, f"load_{name}")()
    return NumericTable(name, found.data.astype(np.float32), found.target, tuple(map(str, found.target_names)))


def divide(table: NumericTable, noise: float, seed: int) -> dict[str, Records]:
    """The parts forget, retain, unseen and test: `{"id", "split", "label", "features" (D,) float32}`.

    Columns are scaled to mean 0 and deviation 1 over unseen and test alone, so that no request moves another's rows.

    Args:
        table: The rows.
        noise: Share of labels that are wrong in all parts but test, 0 to 1.
        seed: Seed of the division and of the wrong labels.

    Raises:
        InputError: If there are too few rows, or the share is out of range.
    """
    count, classes = len(table.rows), len(table.classes)
    if not 0 <= noise < 1:
        raise InputError(f"noise is {noise:g}; it is a share of the labels, from 0 to below 1.")
    sizes = {name: int(share * count) for name, share in SHARES.items()}
    if min(sizes.values()) < FEWEST:
        raise InputError(f"{table.name} has {count} rows; forgetting a tenth of them needs at least {FEWEST * 10}.")
    rng = np.random.default_rng([seed, 6])
    order = rng.permutation(count)
    wrong = np.where(rng.random(count) < noise, rng.integers(1, classes, count), 0)
    labels = (table.labels + wrong) % classes
    apart = order[sizes["forget"] + sizes["retain"] :]
    mean, deviation = table.rows[apart].mean(axis=0), table.rows[apart].std(axis=0)
    rows = (table.rows - mean) / np.where(deviation > 0, deviation, 1)
    parts: dict[str, Records] = {}
    start = 0
    for name, size in {**sizes, "test": count - sum(sizes.values())}.items():
        own = table.labels if name == "test" else labels
        split = name if name in ("test", "unseen") else "train"
        parts[name] = [
            {"id": f"{table.name}{row:05d}", "split": split, "label": int(own[row]), "features": rows[row].copy()}
            for row in order[start : start + size].tolist()
        ]
        start += size
    return parts


def of_class(parts: dict[str, Records], number: int) -> dict[str, Records]:
    """The same division, but all training rows of one class are to be forgotten, and test holds the other classes."""
    train: Sequence[dict[str, Any]] = [*parts["forget"], *parts["retain"]]
    return {
        "forget": [row for row in train if row["label"] == number],
        "retain": [row for row in train if row["label"] != number],
        "unseen": [row for row in parts["unseen"] if row["label"] == number],
        "test": [row for row in parts["test"] if row["label"] != number],
    }
