"""Digits as a folder of pictures, one subfolder per class: what `lethe.benchmarks.images` is shown on.

The scans of the digits world as PNG files, in sets train, unseen and test. Some of train and unseen lie in a wrong
class's folder, as many in either: such a file can only be learnt by heart, which is what makes membership visible.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lethe.data.atomic import folder as atomic_folder
from lethe.worlds import digits
from lethe.worlds.cache import cache_folder

NOISE = 0.25  # share of pictures in a wrong class's folder, of train and unseen
SIDE = 16  # pixels; a scan has 8
SETS = {"train": ("train", 320), "unseen": ("unseen", 80), "test": ("test", 200)}  # set -> digits' own, pictures
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Fields of `lethe.train.Recipe`: the target gets all its training labels right, the wrong ones included.
RECIPE: dict[str, Any] = {
    "lr": 3e-3,
    "epochs": 60,
    "batch_size": 32,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 5.0,
}


def folder(seed: int = 0) -> Path:
    """The folder, written into the cache the first time.

    Args:
        seed: Seed of the sets and of the wrong folders.

    Raises:
        InputError: If the cache cannot be written to.
    """
    place = cache_folder() / "pictures" / f"digits-seed{seed}-{SIDE}-{round(100 * NOISE)}"
    if not place.is_dir():
        with atomic_folder(place) as temporary:
            _write(temporary, seed)
    return place


def _write(place: Path, seed: int) -> None:
    from PIL import Image

    rng = np.random.default_rng([seed, 8])
    (place / ".lethe").touch()  # what marks a folder as one of ours, to be replaced
    for name, (own, count) in SETS.items():
        for record in digits.records(own, seed)[:count]:
            wrong = name != "test" and rng.random() < NOISE
            shown = (record["digit"] + wrong * int(rng.integers(1, len(NAMES)))) % len(NAMES)
            grey = np.kron(record["features"].reshape(8, 8), np.ones((SIDE // 8, SIDE // 8)))
            target = place / name / NAMES[shown] / f"{record['id']}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((grey * 255).round().astype(np.uint8)).save(target)
