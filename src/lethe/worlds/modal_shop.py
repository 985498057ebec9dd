"""The shop whose items have a cover and a blurb: the people and purchases of `lethe.worlds.shop`, and what items show.

A cover (image) tells the shelf as seen, a blurb (text) the shelf as read; the two err independently, and each also says
a little of the item itself. A request withdraws users, items, both, single purchases, or covers: then the publisher's
licence for the image has ended, while the item, its text and its purchases stay.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from lethe.errors import InputError
from lethe.worlds import shop
from lethe.worlds.shop import ITEMS, SHELF, Division, Records, divide, first_half

MODALITIES = ("image", "text")
REQUESTS = ("interactions", "users", "items", "users_items", "modality")
PARTS = ("train", "forget", "retain", "test", "holdout")
WITHDRAWN = 0.05  # share of users, of items and of covers that a request withdraws
LICENSED = 0.2  # share of the covers whose licence ends in the request `modality`
NOISE = 0.5  # of a feature, beside what it tells of the shelf
BOOK = 0.5  # what a feature tells of the item itself


def records(split: str, seed: int = 0) -> Records:
    """One split: `{"id", "user", "item", "entity", "split"}`, in random order.

    Args:
        split: train, forget, retain, test or holdout, each optionally followed by "_" and what is to be forgotten:
            interactions (default: half of the purchases of each of the sixty authors), users (all purchases of a
            twentieth of the users), items (a twentieth of the items, withdrawn), users_items (both) or modality (the
            covers of a fifth of the items: their purchases, each with `"modality": "image"`, while retain and train
            hold the purchases themselves). The test split leaves out the users and items that are forgotten.
        seed: seed of the population and of every draw.

    Raises:
        InputError: if there is no such split.
    """
    part, _, request = split.partition("_")
    request = request or REQUESTS[0]
    if part not in PARTS or request not in REQUESTS:
        known = f"one of {', '.join(PARTS)}, each optionally with _{', _'.join(REQUESTS)}"
        raise InputError(f"no split {split!r} in the modal_shop world, choose {known}")
    return [dict(record) for record in getattr(_division(request, seed), part)]


def features(seed: int = 0) -> dict[str, np.ndarray]:
    """What the items show, modality -> (ITEMS, 32) float32: a random picture of the shelf, one of the item, and noise.

    Items of one shelf share half of what they show in each modality; what is an item's own is the same in both, seen
    through another random map.
    """
    rng = np.random.default_rng([seed, 40])
    own = rng.normal(size=(ITEMS, 8))
    found = {}
    for number, modality in enumerate(MODALITIES):
        rng = np.random.default_rng([seed, 41, number])
        shelves = rng.normal(size=(ITEMS // SHELF, shop.FEATURES)).repeat(SHELF, axis=0)
        seen = own @ rng.normal(size=(8, shop.FEATURES)) / np.sqrt(8)
        noise = rng.normal(size=(ITEMS, shop.FEATURES))
        found[modality] = (shelves + BOOK * seen + NOISE * noise).astype(np.float32)
    return found


def content_records(records: Records, items: set[int], modality: str) -> Records:
    """A request for the content of items: each of their interactions with the modality, under an id of its own."""
    return [
        {**record, "id": f"{record['id']}-{modality}", "modality": modality}
        for record in records
        if record["item"] in items
    ]


@cache
def _division(request: str, seed: int) -> Division:
    train, test = (shop.records(part, seed) for part in ("train", "test"))
    if request == "interactions":
        return divide(train, test, first_half([record for record in train if record["user"] in shop.AUTHORS]), seed)
    return withdrawal(train, test, request, WITHDRAWN if request != "modality" else LICENSED, seed)


def withdrawal(
    train: Records, test: Records, request: str, share: float, seed: int, modality: str = "image"
) -> Division:
    """The splits of a request for a share of the users, of the items, of both, or of what the items show.

    Args:
        train: interactions that the target is trained on.
        test: interactions that are held out.
        request: interactions (half of each user's), users, items, users_items or modality.
        share: of the users or items, 0 to 1.
        seed: seed of the draw.
        modality: what goes, in a request for content.

    Raises:
        InputError: if nothing is left to forget or to keep.
    """
    chosen = {
        side: _drawn(train, side, share, [seed, 42, number]) if side in _sides(request) else set()
        for number, side in enumerate(("user", "item"))
    }

    def meant(record: dict[str, Any]) -> bool:
        return record["user"] in chosen["user"] or record["item"] in chosen["item"]

    if request == "modality":
        # Purchases stay: what is forgotten are covers. Holdout pairs stand beside the purchases of their items.
        forget = content_records(train, chosen["item"], modality)
        beside = divide(train, test, [record for record in train if meant(record)], seed)
        return Division(train, forget, train, test, beside.holdout)
    forget = [record for record in train if meant(record)]
    if request == "interactions":
        return divide(train, test, first_half(forget), seed)
    if not 0 < len(forget) < len(train):
        raise InputError(f"share {share:g} of {request} forgets {len(forget)} of {len(train)}; choose another")
    whole = divide(train, test, forget, seed)
    return Division(train, forget, whole.retain, [record for record in test if not meant(record)], whole.holdout)


def _sides(request: str) -> set[str]:
    users = {"user"} if request in ("interactions", "users", "users_items") else set()
    return users | ({"item"} if request in ("items", "users_items", "modality") else set())


def _drawn(train: Records, side: str, share: float, seed: list[int]) -> set[int]:
    """That share of the users or items with interactions, at least one."""
    known = sorted({record[side] for record in train})
    return set(np.random.default_rng(seed).permutation(known)[: max(1, int(share * len(known)))].tolist())
