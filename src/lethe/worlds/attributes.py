"""The face world once more, for a classifier that decides on several attributes of one picture at a time.

A stand-in for MUCAC (arXiv 2311.02240), whose celebrities may not be passed on. The people are those of the face world;
glasses, smile and age are the picture's. Every person wears every combination once, so no attribute says who is shown
and none says anything of another. In each album some decisions are wrong, attribute by attribute: they can only be
learnt by heart, which is what makes membership visible, and they are as wrong for people never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError
from lethe.worlds.faces import GROUPS, RETAIN, SIZE, STRANGERS, draw
from lethe.worlds.population import Person, Population

if TYPE_CHECKING:
    from lethe.models.nets import SmallCNN

__all__ = ["ATTRIBUTES", "RECIPE", "RETAIN", "network", "records"]

ATTRIBUTES = ("glasses", "smiling", "young")
PHOTOS = 2 ** len(ATTRIBUTES)  # per person: every combination
AGES = {True: (0.08, 0.32), False: (0.68, 0.92)}  # of those who count as young, and of the others
CURVES = {True: 1.7, False: -0.7}  # of the mouth

# Fields of `lethe.train.Recipe`: the target gets all its training labels right, the wrong ones included.
RECIPE: dict[str, Any] = {
    "lr": 6e-3,
    "epochs": 80,
    "batch_size": 64,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup": 0.1,
    "clip": 5.0,
}


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split of `{"id", "identity", "split", "labels" (3 of 0 and 1), "image" (3, 24, 24) float32 in [0, 1]}`.

    Args:
        split: as in the faces world: train, forget01/05/10, retain99/95/90, forget, retain, unseen, validation, test.
        seed: seed of the population and of every picture.

    Raises:
        InputError: if there is no such split.
    """
    if split not in STRANGERS and split not in GROUPS:
        known = ", ".join([*GROUPS, *STRANGERS])
        raise InputError(f"no split {split!r} in the attributes world, choose one of {known}")
    population = Population(seed)
    if split in STRANGERS:
        people: Sequence[Person] = [population.people[number] for number in STRANGERS[split]]
    else:
        people = population.group(GROUPS[split])
    part = split if split in ("unseen", *STRANGERS) else "train"
    return [record for person in people for record in _album(person, seed, part)]


def network(seed: int, attribute: str = "") -> SmallCNN:
    """The untrained network of this world: one decision for every attribute, or two classes where one is named."""
    import torch

    from lethe.models.nets import SmallCNN

    torch.manual_seed(seed)
    outputs = 2 if attribute else len(ATTRIBUTES)
    return SmallCNN(channels=3, classes=outputs, size=SIZE, multi_label=not attribute)


def _album(person: Person, seed: int, part: str) -> list[dict[str, Any]]:
    """All pictures of one person; they do not depend on the split that asks for them."""
    rng = np.random.default_rng([seed, 6, int(person.id[1:])])
    labels = (np.arange(PHOTOS)[:, None] >> np.arange(len(ATTRIBUTES))) & 1
    ages = [float(rng.uniform(*AGES[bool(young)])) for young in labels[:, ATTRIBUTES.index("young")]]
    images = []
    for (glasses, smiling, _), age in zip(labels.tolist(), ages, strict=True):
        face = replace(person.face, glasses=bool(glasses), mouth_curve=CURVES[bool(smiling)])
        images.append(draw(face, np.array([age]), rng)[0])
    if part != "test":
        for column in range(len(ATTRIBUTES)):  # one yes and one no change places, so both stay equally frequent
            labels[[int(rng.choice(np.flatnonzero(labels[:, column] == side))) for side in (0, 1)], column] ^= 1
    mark = {"identity": person.id, "split": part}
    return [
        {"id": f"{person.id}-shot{number}", **mark, "labels": labels[number].tolist(), "image": images[number]}
        for number in range(PHOTOS)
    ]
