"""The third classifier world: scikit-learn's digits as images, whole classes to forget and other tasks to transfer to.

A small network learns eight of the ten classes. Of the classes to forget, top (3 and 8) look like what it is later
asked to tell apart without ever having learnt it (5 and 9), random (0 and 1) do not. Labels are right, and no set
downstream holds a row that any model was trained on.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError

if TYPE_CHECKING:
    from lethe.models.nets import SmallCNN

SIDE = 8  # pixels
CLASSES = 10  # of the head: it has units for the two classes that it never learns
UNTAUGHT = (5, 9)
FORGET = {"top": (3, 8), "random": (0, 1)}
TRAINED = 0.6  # share of the rows
DOWNSTREAM = ("rotated", "inverted", "transfer")

# Fields of `lethe.train.Recipe`: training and test rows of the learnt classes come out nearly all right.
RECIPE: dict[str, Any] = {
    "lr": 3e-3,
    "epochs": 25,
    "batch_size": 32,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 5.0,
}


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split of `{"id", "split", "label", "image" (1, 8, 8) float32 in [0, 1]}`.

    Args:
        split: train (the learnt classes), forget_top, retain_top, forget_random and retain_random (its parts by
            class), unseen (rows of the learnt classes that are not in train), and of unseen rows rotated (all ten
            classes, by a quarter turn), inverted (all ten, white for black) and transfer (of 5 and 9, as they are).
        seed: seed of the division.

    Raises:
        InputError: if there is no such split.
    """
    pixels, digits = _scans()
    order = np.random.default_rng([seed, 6]).permutation(len(digits))
    cut = round(TRAINED * len(order))
    part = re.fullmatch(rf"(forget|retain)_({'|'.join(FORGET)})", split)
    if split != "train" and split != "unseen" and split not in DOWNSTREAM and not part:
        parts = ", ".join(f"{name}_{which}" for which in FORGET for name in ("forget", "retain"))
        raise InputError(
            f"no split {split!r} in the scans world, choose one of train, {parts}, unseen, {', '.join(DOWNSTREAM)}"
        )
    rows = order[cut:] if split in ("unseen", *DOWNSTREAM) else order[:cut]
    untaught = np.isin(digits[rows], UNTAUGHT)
    if split not in ("rotated", "inverted"):
        rows = rows[untaught] if split == "transfer" else rows[~untaught]
    if part:
        rows = rows[np.isin(digits[rows], FORGET[part[2]]) == (part[1] == "forget")]
    name, turned = split if split in (*DOWNSTREAM, "unseen") else "train", split == "rotated"
    return [
        {
            "id": f"scan{row:04d}{'' if name in ('train', 'unseen', 'transfer') else f'-{name}'}",
            "split": name,
            "label": int(digits[row]),
            "image": np.ascontiguousarray(np.rot90(image, axes=(1, 2)) if turned else image),
        }
        for row, image in zip(rows.tolist(), 1 - pixels[rows] if split == "inverted" else pixels[rows], strict=True)
    ]


def network(seed: int) -> SmallCNN:
    """The untrained network of this world."""
    import torch

    from lethe.models.nets import SmallCNN

    torch.manual_seed(seed)
    return SmallCNN(channels=1, classes=CLASSES, size=SIDE)


@cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target
