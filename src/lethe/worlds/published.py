"""Interactions of the shop world or of published data, divided by what a request concerns.

Requests: half of some users' interactions; users that are most active (core), least active (edge) or random, as in
CURE4Rec (arXiv 2408.14393); items; interactions that do harm; or whatever a file names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lethe.data.interactions import Base, check_once, counts, expand, shifted, unused
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.worlds.harmful import planted
from lethe.worlds.models import recommender
from lethe.worlds.shop import ITEMS, PARTS, USERS, Division, Records, divide, first_half

CLEAN = 99  # seed of the model that says what would do harm


class Drawn(NamedTuple):
    """A division, the number of users and items that a model needs places for, and what a reader must know of it."""

    division: Division
    shape: tuple[int, int]
    told: str = ""


def tiny(split: str, seed: int, base: str) -> Drawn:
    """A request of the shop world, see `lethe.worlds.shop.records`; harmful ones are planted by a `base` model."""
    if split != "harmful":
        read = {part: load_records(f"tiny:shop:{part}_{split}", family="recommender", seed=seed) for part in PARTS}
        return Drawn(Division(**read), (USERS, ITEMS))
    train, test = (load_records(f"tiny:shop:{part}", family="recommender", seed=seed) for part in ("train", "test"))
    return Drawn(_harmful(train, test, (USERS, ITEMS), seed, base, None), (USERS, ITEMS))


def _harmful(
    train: Records, test: Records, shape: tuple[int, int], seed: int, base: str, recipe: Mapping[str, Any] | None
) -> Division:
    clean = recommender(base, train, *shape, CLEAN, f"{base}-clean", None if recipe is None else dict(recipe))
    poison = planted(clean, [*train, *test], seed)
    mixed = [*train, *poison]
    order = np.random.default_rng([seed, 32]).permutation(len(mixed)).tolist()
    return divide([mixed[row] for row in order], test, poison, seed)


def published(
    source: str, split: str, share: float, forget: str, ids: Base, seed: int, base: str, recipe: Mapping[str, Any]
) -> Drawn:
    """A request on interactions from a file or folder with the splits train and test.

    Args:
        source: The file or folder.
        split: half, core, edge, random, items or harmful.
        share: Share of the users or items that it concerns, 0 to 1.
        forget: File that names what is forgotten, in place of a split; or "".
        ids: Where ids of train and test begin; those of `forget` begin at 0 or there.
        seed: Seed of every draw.
        base: Recommender that says what would do harm, with its `recipe`.
        recipe: Fields of `lethe.train.Recipe`.

    Raises:
        InputError: If the data cannot be read, or nothing is left to forget or to keep.
    """
    if not Path(source).exists():
        raise InputError(f"shop: {source} does not exist; give tiny, or data with the splits train and test.")
    read = {part: load_records(source, family="recommender", split=part) for part in ("train", "test")}
    both, step = shifted([record for part in read.values() for record in part], ids, source)
    check_once(both, source)
    shape = counts(both, source)
    told = f"{'Ids were counted from 1. ' if step else ''}{unused(both)}".strip()
    train, test = both[: len(read["train"])], both[len(read["train"]) :]
    train = [train[row] for row in np.random.default_rng([seed, 0]).permutation(len(train)).tolist()]
    if split == "harmful" and not forget:
        return Drawn(_harmful(train, test, shape, seed, base, recipe), shape, told)
    if forget:
        gone, whole = _named(forget, train, step)
    else:
        side = "item" if split == "items" else "user"
        chosen = _chosen(Counter(record[side] for record in train), split, share, seed)
        gone, whole = [record for record in train if record[side] in chosen], side
        if split == "half":
            gone, whole = first_half(gone), ""
    if not 0 < len(gone) < len(train):
        raise InputError(f"shop: split {split}, share {share:g} forgets {len(gone)} of {len(train)}; choose another.")
    return Drawn(divide(train, test, gone, seed, whole=whole), shape, told)


def _named(source: str, train: Records, step: int) -> tuple[Records, str]:
    """The training interactions that a file means, and whether it means all of its users or items."""
    rows = load_records(source, family="deletion")
    known = {(record["user"], record["item"]): record for record in train}
    try:
        meant = expand(rows, known, source)
    except InputError as unknown:
        try:
            meant = expand(shifted(rows, "1", source)[0], known, source) if step else []
        except InputError:
            meant = []
        if not meant:  # nor do its ids begin where those of train do
            raise unknown from None
    gone = [known[record["user"], record["item"]] for record in meant]
    for side in ("user", "item"):
        chosen = {record[side] for record in gone}
        if sum(record[side] in chosen for record in train) == len(gone):
            return gone, side
    return gone, ""


def _chosen(activity: Counter[int], split: str, share: float, seed: int) -> set[int]:
    """Users or items that a request concerns; ties in activity go to the lower id."""
    if split in ("core", "edge"):
        order = sorted(activity, key=lambda one: (-activity[one] if split == "core" else activity[one], one))
    else:  # of CURE4Rec the seed is known (42), not the call
        order = np.random.RandomState(42 + seed).permutation(sorted(activity)).tolist()
    return set(order[: int(len(order) * round(100 * share, 9) / 100)])


def looked_at(division: Division, most: int, seed: int) -> tuple[dict[str, Records], str]:
    """The records of the users that are looked at, and what to tell where these are not all.

    Of each user all retained records are kept, since rankings leave them out.

    Args:
        division: All records.
        most: Most users; half of them are drawn from those asked for, where there are as many.
        seed: Seed of the draw.
    """
    sets = {name: getattr(division, name) for name in ("forget", "retain", "test", "holdout")}
    everybody = sorted({record["user"] for records in sets.values() for record in records})
    if len(everybody) <= most:
        return sets, ""
    asked = {record["user"] for record in division.forget}
    drawn = np.random.default_rng([seed, 2]).permutation(everybody).tolist()
    first = [user for user in drawn if user in asked][: most // 2]
    chosen = {*first, *[user for user in drawn if user not in asked][: most - len(first)]}
    told = f"Looked at were {len(chosen)} of {len(everybody)} users, {len(first)} of the {len(asked)} asked for."
    found = {name: [record for record in records if record["user"] in chosen] for name, records in sets.items()}
    return found, told
