"""The second classifier world: scikit-learn's handwritten digits, for forgetting random rows or a whole class.

Real data without a person behind it, so it has no part in the population. Few training rows and some wrong labels make
a network learn single rows by heart; unseen rows carry as many wrong labels, so that an attack on membership sees
membership and not the noise.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError

if TYPE_CHECKING:
    from lethe.models.nets import MLP

CLASSES = 10
NOISE = 0.15  # share of wrong labels in all splits but test
SIZES = {"forget": 80, "retain": 240, "unseen": 400}  # the other 1,077 rows are the test split

# Fields of `lethe.train.Recipe`: the target gets all its training labels right, the wrong ones included.
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


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split of `{"id", "split", "label", "digit", "features" (64,) float32 in [0, 1]}`; "digit" is the true label.

    Args:
        split: train (= forget + retain), forget and retain (a random request), forget_class0 to forget_class9 and
            retain_class0 to retain_class9 (the rows of train with that label, and all others), unseen, or test (true
            labels).
        seed: seed of the splits and of the wrong labels.

    Raises:
        InputError: if there is no such split.
    """
    parts = _split(seed)
    parts["train"] = parts["forget"] + parts["retain"]
    by_class = re.fullmatch(rf"(forget|retain)_class([0-{CLASSES - 1}])", split)
    if by_class:
        wanted = int(by_class[2])
        return [row for row in parts["train"] if (row["label"] == wanted) == (by_class[1] == "forget")]
    if split not in parts:
        known = ", ".join([*parts, "forget_class0", "retain_class0"])
        raise InputError(f"no split {split!r} in the digits world, choose one of {known}")
    return parts[split]


def network(seed: int) -> MLP:
    """The untrained network of this world."""
    import torch

    from lethe.models.nets import MLP

    torch.manual_seed(seed)
    return MLP(inputs=64, classes=CLASSES)


def _split(seed: int) -> dict[str, list[dict[str, Any]]]:
    pixels, digits = _scans()
    rng = np.random.default_rng([seed, 5])
    order = rng.permutation(len(digits)).tolist()
    wrong = rng.random(len(order)) < NOISE
    other = (digits + rng.integers(1, CLASSES, len(order))) % CLASSES
    parts: dict[str, list[dict[str, Any]]] = {}
    start = 0
    for name, size in {**SIZES, "test": len(order) - sum(SIZES.values())}.items():
        labels = digits if name == "test" else np.where(wrong, other, digits)
        split = name if name in ("test", "unseen") else "train"
        parts[name] = [
            {
                "id": f"digit{row:04d}",
                "split": split,
                "label": int(labels[row]),
                "digit": int(digits[row]),
                "features": pixels[row].copy(),
            }
            for row in order[start : start + size]
        ]
        start += size
    return parts


@cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return (data.data / 16).astype(np.float32), data.target
