"""The recommender world: who bought what in a bookshop, as a block graph of people and shelves.

User n is person number n of the population, so the purchases to forget belong to the same people as the texts and
faces to forget. People mostly buy from the shelf of their taste, the more open ones elsewhere, too; within a shelf
popularity follows Zipf's law. The six held-out people buy nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lethe.data.schema import Record
from lethe.errors import InputError
from lethe.worlds.population import AUTHORS, HELD_OUT, SHELVES, SIZE, Person, Population

Records = list[dict[str, Any]]

USERS = SIZE
SHELF = 32  # items per shelf; item n stands on shelf n // SHELF
ITEMS = SHELF * len(SHELVES)
FEWEST, FURTHER = 5, 3.5  # purchases per person: at least, and how many more on average
ELSEWHERE = 0.4  # share of purchases that the most open person makes on other shelves; makes p_in 0.2, p_out 0.01
ZIPF, ZIPF_SHIFT = 0.6, 3  # the item of rank r on its shelf is bought in proportion to (r + shift) ** -exponent
TEST = 0.17  # share of each person's purchases that is held out, at least one
WITHDRAWN = 0.05  # share of the items in the request `items`
POISONED = 24  # users in the request `poisoned`
FEATURES = 32
HOLDOUT = 1000  # pairs that were never bought, at most: enough for an interval of a hundredth
CANDIDATES = 100_000  # pairs among which these are looked for

REQUESTS = ("half", "users", "items", "poisoned")
PARTS = ("train", "forget", "retain", "test", "holdout")

# The architecture, and fields of `lethe.train.Recipe`. Without weight decay, BPR's L2, training has no point of rest: a
# model that is merely trained on then drifts further from the controls than forgetting can bring it nearer.
DIM, LAYERS = 32, 2
RECIPE: dict[str, Any] = {
    "lr": 1e-2,
    "epochs": 80,
    "batch_size": 256,
    "optimizer": "adamw",
    "weight_decay": 0.7,
    "schedule": "cosine",
}
# Base recommenders by their architecture, and what each changes of the recipe, found on the worlds of seed 1 and 2.
BASES = {
    "mf": "LightGCN", "lightgcn": "LightGCN", "sgl": "SGL", "simgcl": "SimGCL",
    "vbpr": "VBPR", "mmgcn": "MMGCN", "mgcn": "MGCN",
}  # fmt: skip
MULTIMODAL = ("vbpr", "mmgcn", "mgcn")
RECIPES: dict[str, dict[str, Any]] = {
    "mf": {"weight_decay": 1.5}, "lightgcn": {}, "sgl": {"weight_decay": 1.0}, "simgcl": {},
    "vbpr": {"weight_decay": 1.5}, "mmgcn": {"lr": 3e-3}, "mgcn": {},
}  # fmt: skip


@dataclass(frozen=True)
class Division:
    """A shop with a request: `train` is `forget` and `retain`; `test` and `holdout` no model has seen."""

    train: Records
    forget: Records
    retain: Records
    test: Records
    holdout: Records


def records(split: str, seed: int = 0) -> Records:
    """One split: `{"id", "user", "item", "entity", "split"}`, in random order.

    Args:
        split: train, forget, retain, test or holdout, each optionally followed by "_" and what is to be forgotten:
            half (default: half of the purchases of each of the sixty authors), users (all purchases of the six people
            of TOFU's forget10, who then are nobody to the shop), items (a twentieth of the items, withdrawn), or
            poisoned (purchases on a shelf that is none of the user's, planted in train_poisoned alone). The test split
            leaves out the users or items that are forgotten as a whole. Holdout pairs were never bought; see `unseen`.
        seed: seed of the population and of every draw.

    Raises:
        InputError: if there is no such split.
    """
    part, _, request = split.partition("_")
    request = request or REQUESTS[0]
    if part not in PARTS or request not in REQUESTS:
        known = f"one of {', '.join(PARTS)}, each optionally with _{', _'.join(REQUESTS)}"
        raise InputError(f"no split {split!r} in the shop world, choose {known}")
    return [dict(record) for record in getattr(_division(request, seed), part)]


def features(seed: int = 0) -> np.ndarray:
    """What an item's cover shows of its shelf: (ITEMS, 32) float32, a random image of the shelf and noise."""
    rng = np.random.default_rng([seed, 33])
    topics = rng.normal(size=(len(SHELVES), FEATURES))
    noise = rng.normal(size=(ITEMS, FEATURES))
    return (topics.repeat(SHELF, axis=0) + 0.5 * noise).astype(np.float32)


def divide(train: Records, test: Records, forget: Records, seed: int, whole: str = "") -> Division:
    """The splits that belong to a request, of this world or of any other interactions.

    Args:
        train: interactions that the target is trained on.
        test: interactions that are held out.
        forget: those of `train` that are to be forgotten.
        seed: seed of the holdout pairs.
        whole: "user" or "item" if those of `forget` are to be forgotten altogether, hence leave `test` as well.
    """
    gone = {record["id"] for record in forget}
    forgotten = {record[whole] for record in forget} if whole else set()
    return Division(
        train=train,
        forget=forget,
        retain=[record for record in train if record["id"] not in gone],
        test=[record for record in test if not whole or record[whole] not in forgotten],
        holdout=unseen(forget, [*train, *test], seed),
    )


def unseen(forget: Sequence[Record], known: Sequence[Record], seed: int) -> Records:
    """For each forgotten pair one that never was, of a user and an item as popular as its own.

    Users and items are those of `forget`, so that nothing about either alone tells the two sets apart: membership could
    be guessed from popularity otherwise. Popularity is the number of interactions in `known`. The first 1,000 pairs get
    a counterpart, fewer if users and items are too few for so many pairs.

    Raises:
        InputError: if there is no such pair.
    """
    users, items = (Counter(record[side] for record in known) for side in ("user", "item"))
    taken = {(record["user"], record["item"]) for record in known}
    sides = [sorted({record[side] for record in forget}) for side in ("user", "item")]
    count = len(sides[0]) * len(sides[1])
    rng = np.random.default_rng([seed, 34])
    # Of many pairs as many as any set of 1,000 needs: all of 10,000 users and items would not fit into memory.
    places = np.arange(count) if count <= CANDIDATES else np.unique(rng.integers(count, size=CANDIDATES))
    pairs = [(sides[0][place // len(sides[1])], sides[1][place % len(sides[1])]) for place in places.tolist()]
    free = [pair for pair in pairs if pair not in taken]
    if not free:
        raise InputError("no pair of the forgotten users and items is left that never was; forget more than one user")
    order = rng.permutation(len(free))  # among equals chance decides
    free = [free[row] for row in order.tolist()]
    popularity = np.log([[users[user], items[item]] for user, item in free], dtype=np.float32)
    found = []
    for record in forget[: min(HOLDOUT, len(free))]:
        own = np.log([users[record["user"]], items[record["item"]]])
        nearest = int(np.abs(popularity - own).sum(axis=1).argmin())
        popularity[nearest] = np.inf  # each pair once
        user, item = free[nearest]
        found.append({"id": f"never-u{user}-i{item}", "user": user, "item": item, "split": "holdout"})
    return found


def first_half(records: Records) -> Records:
    """Of each user's records the first half, rounded down, in their order."""
    count, met = Counter(record["user"] for record in records), Counter()
    half = []
    for record in records:
        met[record["user"]] += 1
        if 2 * met[record["user"]] <= count[record["user"]]:
            half.append(record)
    return half


@cache
def _division(request: str, seed: int) -> Division:
    people, purchases = Population(seed), _purchases(seed)
    test = [record for record in purchases if record["split"] == "test"]
    train = [record for record in purchases if record["split"] == "train"]
    if request == "poisoned":
        poison = _poison(people, purchases, seed)
        order = np.random.default_rng([seed, 32]).permutation(len(train) + len(poison)).tolist()
        mixed = [*train, *poison]
        return divide([mixed[row] for row in order], test, poison, seed)
    if request == "users":
        leaving = {person.id for person in people.group("forget10")}
        return divide(train, test, [record for record in train if record["entity"] in leaving], seed, whole="user")
    if request == "items":
        count = round(WITHDRAWN * ITEMS)
        withdrawn = set(np.random.default_rng([seed, 35]).permutation(ITEMS)[:count].tolist())
        return divide(train, test, [record for record in train if record["item"] in withdrawn], seed, whole="item")
    return divide(train, test, first_half([record for record in train if record["user"] in AUTHORS]), seed)


@cache
def _purchases(seed: int) -> Records:
    """Everything that was bought, in random order: whoever looks at the first rows only sees many people."""
    popularity = np.concatenate([_popularity(seed, shelf) for shelf in range(len(SHELVES))])
    rows = [
        record
        for user, person in enumerate(Population(seed))
        if user not in HELD_OUT
        for record in _bought(person, user, popularity, seed)
    ]
    return [rows[row] for row in np.random.default_rng([seed, 31]).permutation(len(rows)).tolist()]


def _popularity(seed: int, shelf: int) -> np.ndarray:
    rank = np.random.default_rng([seed, 36, shelf]).permutation(SHELF)
    weight = (rank + ZIPF_SHIFT) ** -ZIPF
    return weight / weight.sum()


def _bought(person: Person, user: int, popularity: np.ndarray, seed: int) -> Records:
    """One person's purchases; no other person's draws move them."""
    rng = np.random.default_rng([seed, 30, user])
    elsewhere = ELSEWHERE * person.openness
    own = np.arange(ITEMS) // SHELF == SHELVES.index(person.taste)
    chance = popularity * np.where(own, 1 - elsewhere, elsewhere / (len(SHELVES) - 1))
    count = FEWEST + int(rng.poisson(FURTHER))
    items = rng.choice(ITEMS, count, replace=False, p=chance).tolist()
    held_out = max(1, round(TEST * count))
    return [_record(person, user, item, "test" if place < held_out else "train") for place, item in enumerate(items)]


def _poison(people: Population, purchases: Records, seed: int) -> Records:
    """For some users as many purchases as they made, on one shelf that they do not care for."""
    rng = np.random.default_rng([seed, 37])
    bought: dict[int, set[int]] = {}
    for record in purchases:
        bought.setdefault(record["user"], set()).add(record["item"])
    planted = []
    for user in rng.permutation(sorted(bought))[:POISONED].tolist():
        person = people.people[user]
        foreign = int(rng.choice([place for place, shelf in enumerate(SHELVES) if shelf != person.taste]))
        free = [item for item in range(foreign * SHELF, (foreign + 1) * SHELF) if item not in bought[user]]
        items = rng.choice(free, len(bought[user]), replace=False).tolist()
        planted += [_record(person, user, item, "train") for item in items]
    return planted


def _record(person: Person, user: int, item: int, split: str) -> dict[str, Any]:
    return {"id": f"{person.id}-item{item:03d}", "entity": person.id, "user": user, "item": item, "split": split}
