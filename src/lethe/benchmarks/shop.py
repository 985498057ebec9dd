"""Recommendation: forget purchases, users or items, read against a model that was trained without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import benchmark, did_you_mean
from lethe.request import Request
from lethe.task import Sides, Task, sides_on_disk
from lethe.worlds.models import lightgcn, shop_model
from lethe.worlds.shop import PARTS, RECIPE, REQUESTS, Division, Records, divide, first_half

PUBLISHED = ("half", "core", "edge", "random", "items")

METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "recall:set=forget",
    "ndcg:set=forget",
    "forget_rank",
    "membership:variant=loss",
    "recall:set=retain",
    "recall:set=test",
    "ndcg:set=test",
)

# One rate alone certifies little. These two teach a control a little, too, before they wear it out; at the attack's
# default of 0.001 embeddings hardly move, and every model would pass.
ATTACKS = (
    "relearn:lr=0.01,batch_size=32,steps=20,40,80",
    "relearn:lr=0.03,batch_size=32",
    "quantize:bits=8",
    "quantize:bits=4",
    "merge",
)

# Options under which each method does what it can. Found on the request `half` of the worlds of seed 1 to 3 (other
# people, other purchases), reported on seed 0. The weight decay is the world's own. NPO and SimNPO are refused: they
# compare likelihoods, and BPR is none; against another negative the same purchase has another loss.
DECAY = {"weight_decay": RECIPE["weight_decay"]}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "finetune": {"lr": 2e-2, "epochs": 20, "batch_size": 64, **DECAY},
    "grad_diff": {"lr": 1e-2, "epochs": 25, "batch_size": 64, "retain_weight": 2.0, **DECAY},
    "kl_min": {"lr": 1e-2, "epochs": 25, "batch_size": 64},
    "reverse_bpr": {"lr": 3e-2, "epochs": 40, "batch_size": 64, "alpha": 0.01, "schedule": "linear", **DECAY},
    "retrain": RECIPE,
}

# Published data are larger: fewer, larger steps, and less decay, since a user has more items to tell apart.
RECIPE_PUBLISHED = {**RECIPE, "epochs": 40, "batch_size": 1024, "weight_decay": 0.1}

# Controls have seeds of their own: the method `retrain` under seed n would else share its order of data and its
# negatives with control n, and stand nearer to it than controls stand to each other.
FIRST_CONTROL = 100


@benchmark(families={"recommender"}, paper="2408.14393")
def shop(
    *,
    source: str = "tiny",
    split: str = "half",
    seed: int = 0,
    share: float = 0.05,
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """Shop: a recommender forgets some purchases, whole users, withdrawn items, or purchases that were planted.

    Args:
        source: tiny (embedded world), or a file or folder with the splits train and test (CURE4Rec, MMRec).
        split: What is forgotten: half (of some users' purchases), users, items or poisoned (tiny); of published data
            half, items, or as in CURE4Rec the users that are most active (core), least active (edge) or random.
        seed: Seed of the embedded world, or of the draw from published data, and of the request.
        share: Share of the users or items that the request concerns, 0 to 1 (published data; half: of the users).
        model: Folder of the target model; empty trains LightGCN.
        control: Folders of models trained without the forget set; with neither model nor control they are trained.

    Raises:
        InputError: If the split does not exist, the data cannot be read, or the share leaves nothing to forget or keep.
    """
    known = REQUESTS if source == "tiny" else PUBLISHED
    if split not in known:
        near = did_you_mean(split, known)
        raise InputError(f"shop ({source}) has no split {split!r}{near}; one of {', '.join(known)}.")
    division = _tiny(split, seed) if source == "tiny" else _published(source, split, share, seed)
    request = Request(division.forget, division.retain, division.holdout, seed=seed, scope="sample")
    # All retained records: rankings leave them out.
    probes = {name: getattr(division, name) for name in ("forget", "retain", "test", "holdout")}
    target, controls = _models(source, split, seed, division, model, control)
    return Task(
        name="shop",
        family="recommender",
        request=request,
        probes=probes,
        metrics=METRICS,
        knowledge="recall:set=forget",
        utility="recall:set=test",
        target=target,
        control=controls,
        presets=PRESETS if source == "tiny" else {},
        attacks=ATTACKS,
        floors=("noise", "refusal"),
        note="Rankings hold all items but the user's retained ones; what was forgotten can in part be guessed from the "
        "rest, so the ideal is the control's value, not 0.",
    )


def _tiny(split: str, seed: int) -> Division:
    read = {part: load_records(f"tiny:shop:{part}_{split}", family="recommender", seed=seed) for part in PARTS}
    return Division(**read)


def _published(source: str, split: str, share: float, seed: int) -> Division:
    if not Path(source).exists():
        raise InputError(f"shop: {source} does not exist; give tiny, or data with the splits train and test.")
    train, test = (load_records(source, family="recommender", split=part) for part in ("train", "test"))
    train = [train[row] for row in np.random.default_rng([seed, 0]).permutation(len(train)).tolist()]
    side = "item" if split == "items" else "user"
    chosen = _chosen(Counter(record[side] for record in train), split, share, seed)
    forget = [record for record in train if record[side] in chosen]
    if split == "half":
        forget = first_half(forget)
    if not 0 < len(forget) < len(train):
        raise InputError(f"shop: split {split}, share {share:g} forgets {len(forget)} of {len(train)}; choose another.")
    return divide(train, test, forget, seed, whole="" if split == "half" else side)


def _chosen(activity: Counter[int], split: str, share: float, seed: int) -> set[int]:
    """Users or items that a request concerns; ties in activity go to the lower id."""
    if split in ("core", "edge"):
        order = sorted(activity, key=lambda one: (-activity[one] if split == "core" else activity[one], one))
    else:
        order = np.random.default_rng([seed, 1]).permutation(sorted(activity)).tolist()
    return set(order[: int(share * len(order))])


def _models(source: str, split: str, seed: int, division: Division, model: str, control: tuple[str, ...]) -> Sides:
    if given := sides_on_disk("shop", model, control, family="recommender"):
        return given
    if source == "tiny":
        trained = "train_poisoned" if split == "poisoned" else "train"
        target = partial(shop_model, trained, world_seed=seed)
        retrained = partial(shop_model, f"retain_{split}", world_seed=seed)
    else:
        target, retrained = (partial(_trained, records, division) for records in (division.train, division.retain))
    return target, lambda number: retrained(FIRST_CONTROL + number)


def _trained(records: Records, division: Division, seed: int) -> Model:
    """LightGCN with a place for everybody and everything in the data, also for who is held out or forgotten."""
    everything = [*division.train, *division.test]
    users, items = (1 + max(record[side] for record in everything) for side in ("user", "item"))
    return lightgcn(records, users, items, seed, f"lightgcn-seed{seed}", RECIPE_PUBLISHED)
