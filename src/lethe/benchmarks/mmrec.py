"""Multi-modal recommendation: forget users, items or interactions, or the images of items whose licence has ended."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lethe.benchmarks.shop import PRESETS as SHOP
from lethe.data.load import load_records
from lethe.data.sparse import load_features
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.models.base import Model
from lethe.registry import benchmark, did_you_mean
from lethe.request import Request
from lethe.task import Task, sides_on_disk
from lethe.worlds import modal_shop
from lethe.worlds.modal_shop import MODALITIES, PARTS, REQUESTS, withdrawal
from lethe.worlds.models import recommender
from lethe.worlds.shop import MULTIMODAL, RECIPE, RECIPES, Division, Records

METRICS = (
    "distance:set=forget",
    "distance:set=retain",
    "recall:set=forget",
    "ndcg:set=forget",
    "forget_rank",
    "content_leak:set=forget",
    "recall:set=retain",
    "recall:set=test",
    "ndcg:set=test",
)
ATTACKS = ("relearn:lr=0.01,batch_size=32,steps=20,40,80", "quantize:bits=8", "quantize:bits=4", "merge")

# Options under which each method does what it can with vbpr, found on the worlds of seed 1 and 2.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "finetune": {"lr": 1e-2, "epochs": 30, "batch_size": 256, "weight_decay": 2.0, "schedule": "cosine"},
    "mmrecun": {"lr": 3e-2, "epochs": 10, "batch_size": 256, "alpha": 1e-3, "weight_decay": 3.0, "schedule": "linear"},
}

# Sizes and rate of the published host; its data are larger than the embedded shop.
RECIPE_PUBLISHED = {"lr": 1e-3, "epochs": 100, "batch_size": 2048, "optimizer": "adamw", "weight_decay": 0.1}
FIRST_CONTROL = 100  # controls have seeds of their own, as those of `shop`

Features = Mapping[str, np.ndarray]


@benchmark(families={"recommender"}, paper="2405.15328")
def mmrec(
    *,
    source: str = "tiny",
    split: str = "interactions",
    base: Literal["vbpr", "mmgcn", "mgcn", "lightgcn"] = "vbpr",
    seed: int = 0,
    share: float = 0.05,
    modality: Literal["image", "text"] = "image",
    model: str = "",
    control: tuple[str, ...] = (),
) -> Task:
    """MMRec: a recommender that reads item content forgets interactions, users, items, both, or the content itself.

    With split=modality the interactions stay and content goes: the control was trained anew with those items' rows
    blank, and what matters is how the items stand without their ID embeddings.

    Args:
        source: tiny (embedded world), or a folder of MMRec: NAME.inter with image_feat.npy and text_feat.npy.
        split: What is forgotten: interactions (half of some users'), users, items, users_items, or modality.
        base: Recommender: vbpr, mmgcn or mgcn, which read content, or lightgcn, which does not.
        seed: Seed of the embedded world, or of the draw from published data, and of the request.
        share: Share of the users or items that the request concerns, 0 to 1 (published data).
        modality: Content that split=modality withdraws (published data; image in the embedded world).
        model: Folder of the target model; empty trains the base.
        control: Folders of models trained without the forget set; with neither model nor control they are trained.

    Raises:
        InputError: If the split does not exist, the data cannot be read, or a request is for content that the base does
            not read.
    """
    if split not in REQUESTS:
        raise InputError(f"mmrec has no split {split!r}{did_you_mean(split, REQUESTS)}; one of {', '.join(REQUESTS)}.")
    if split == "modality" and base not in MULTIMODAL:
        raise InputError(f"mmrec: {base} reads no content that could be withdrawn; use {', '.join(MULTIMODAL)}.")
    division, features = _tiny(split, seed) if source == "tiny" else _published(source, split, share, modality, seed)
    content = split == "modality"
    # What is looked at are interactions, also where their items' content is forgotten.
    forget = [{name: value for name, value in record.items() if name != "modality"} for record in division.forget]
    probes = {"forget": forget, **{name: getattr(division, name) for name in ("retain", "test", "holdout")}}
    recipe = RECIPE | RECIPES[base] if source == "tiny" else RECIPE_PUBLISHED
    trained = partial(_trained, base, recipe, [*division.train, *division.test])
    left = _blanked(features, division.forget) if content else features
    sides = sides_on_disk("mmrec", model, control, family="recommender") or (
        lambda number: trained(division.train, features, number),
        lambda number: trained(division.retain, left, FIRST_CONTROL + number),
    )
    return Task(
        name="mmrec",
        family="recommender",
        request=Request(division.forget, division.retain, division.holdout, seed=seed, scope="sample"),
        probes=probes,
        metrics=METRICS,
        knowledge="content_leak:set=forget" if content else "recall:set=forget",
        utility="recall:set=test",
        target=sides[0],
        control=sides[1],
        spec=Spec(interior=("forget",)),
        presets=_presets(base, content) if source == "tiny" else {},
        attacks=ATTACKS,
        floors=("noise",) if content else ("noise", "refusal"),
        note="Rankings hold all items but the user's retained ones; what content alone recommends is legitimate in the "
        "control as well, so the ideal is its value, not 0.",
    )


def _presets(base: str, content: bool) -> Mapping[str, Mapping[str, Any]]:
    """Where content goes no purchase sinks: MMRecUn then is fine-tuning. Without content it is the shop."""
    if base == "lightgcn":
        return SHOP
    own = PRESETS if base == "vbpr" else {name: SHOP[name] for name in ("finetune", "mmrecun")}  # with their decay
    found = {**own, "retrain": RECIPE | RECIPES[base]}
    return {**found, "mmrecun": own["finetune"]} if content else found


def _tiny(split: str, seed: int) -> tuple[Division, Features]:
    read = {part: load_records(f"tiny:modal_shop:{part}_{split}", family="recommender", seed=seed) for part in PARTS}
    return Division(**read), modal_shop.features(seed)


def _published(source: str, split: str, share: float, modality: str, seed: int) -> tuple[Division, Features]:
    if not Path(source).is_dir():
        raise InputError(f"mmrec: {source} is no folder; give tiny, or a folder with NAME.inter and NAME_feat.npy.")
    train, test = (load_records(source, family="recommender", split=part) for part in ("train", "test"))
    items = 1 + max(record["item"] for record in (*train, *test))
    files = {name: Path(source) / f"{name}_feat.npy" for name in MODALITIES}
    features = {name: load_features(file, items) for name, file in files.items() if file.exists()}
    if not features:
        raise InputError(f"mmrec: {source} holds neither image_feat.npy nor text_feat.npy; give one of them, or both.")
    if split == "modality" and modality not in features:
        raise InputError(f"mmrec: {source} holds no {modality} features; there are {', '.join(features)}.")
    return withdrawal(train, test, split, share, seed, modality), features


def _blanked(features: Features, forget: Records) -> Features:
    """Features without the rows that a request withdraws: zeros, which add nothing."""
    left = {name: rows.copy() for name, rows in features.items()}
    for record in forget:
        left[record["modality"]][record["item"]] = 0
    return left


def _trained(
    base: str, recipe: dict[str, Any], everything: Records, records: Records, features: Features, seed: int
) -> Model:
    """The base with a place for everybody and everything in the data, also for what is held out or forgotten."""
    users = 1 + max(record["user"] for record in everything)
    shown = dict(features) if base in MULTIMODAL else None
    items = len(next(iter(features.values())))
    return recommender(base, records, users, items, seed, f"mmrec-{base}-seed{seed}", recipe, shown)
