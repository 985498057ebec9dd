"""Your own pictures: forget some of them, or a whole class, in a classifier that you bring or that is trained here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lethe.benchmarks import digits
from lethe.benchmarks.faces import ATTACKS, METRICS, looked
from lethe.data.labels import aligned
from lethe.data.load import load_records
from lethe.data.parse import SUFFIXES
from lethe.errors import InputError
from lethe.models import classes_of_model
from lethe.models.base import Model
from lethe.registry import benchmark, did_you_mean
from lethe.request import Record, Request
from lethe.task import Sides, Task, sides_on_disk
from lethe.worlds import pictures as world
from lethe.worlds.models import WORLD_SEEDS, classifier

SETS = ("train", "test", "unseen")
SIDE = 64  # pixels
FOLDS = ("mia_loss", "nomus")  # they fit an attack in ten folds and ask for eleven pictures, two of a kind
TEST, UNSEEN = 0.2, 0.1  # shares of a source that does not say what each picture is for

# Options of the digits that work on pictures of them as well; looked at on the divisions of seeds 1 and 2, reported on
# seed 0.
WORKS = ("finetune", "neggrad_plus", "scrub", "salun", "random_labels", "ga", "grad_diff", "npo", "cf_k", "eu_k",
         "l1_sparse", "bad_teacher", "ssd", "boundary_shrink")  # fmt: skip
PRESETS = {name: digits.PRESETS[name] for name in WORKS} | {
    "boundary_shrink": {"lr": 5e-4, "epochs": 10, "retain": "nll", "retain_weight": 5.0},
    "retrain": world.RECIPE,
}
CLASS_PRESETS = {name: digits.CLASS_PRESETS[name] for name in (*WORKS, "unsir")} | {"retrain": world.RECIPE}


@benchmark(families={"classifier"}, paper="2310.12508")
def images(
    *,
    source: str = "tiny",
    split: Literal["random", "class"] = "random",
    class_name: str = "",
    share: float = 0.1,
    seed: int = 0,
    rows: int = 2000,
    model: str = "",
    control: tuple[str, ...] = (),
    network: Literal["cnn", "resnet"] = "cnn",
    size: int = 0,
    epochs: int = 60,
    lr: float = 3e-3,
    allow_overlap: bool = False,
) -> Task:
    """Your own pictures, in one subfolder per class or in a table of paths and labels: forget some, or a whole class.

    The source may say what each picture is for: subfolders or tables train, test and unseen (pictures like the training
    ones that no model saw), or a column "split" of a table. A model of your own needs that; without it, and without a
    model, 20 % are for testing and 10 % stay unseen. Where nothing is unseen, half of the test set stands in.

    Args:
        source: tiny (digits as a folder of pictures), a folder, or a table (csv, jsonl...) with image and label.
        split: random (some training records) or class (all of one).
        class_name: Class that split=class forgets; its number where labels are numbers. By default the last one.
        share: Share of the training records that split=random forgets, above 0 and below 1.
        seed: Seed of the embedded source, of the division and of the request.
        rows: Most records of each evaluation set.
        model: Folder of the target model; empty trains one here, cached.
        control: Folders of models trained without the forget set; with none and no model they are trained here.
        network: What is trained here: cnn (small, for small pictures) or resnet (ResNet-18 from random weights).
        size: Side of the images, pixels; 0 takes 16 of tiny and 64 of a source of your own.
        epochs: Passes over the training records.
        lr: Peak learning rate (AdamW, cosine).
        allow_overlap: Accept pictures that stand in the forget set and in another set.

    Raises:
        InputError: If the source cannot be read or does not say what a model was trained on, there is no such class,
            the share is out of range, or split=random would take a whole class.
    """
    if not 0 < share < 1:
        raise InputError(f"images: share is {share:g}; give a share of the training records, above 0 and below 1.")
    size = size or (world.SIDE if source == "tiny" else SIDE)
    sets = _sets(str(world.folder(seed)) if source == "tiny" else source, size, seed, bool(model))
    if model:
        sets = {name: [*records] for name, records in aligned(sets, *classes_of_model(model)).items()}
    train = sets.pop("train")
    forget, retain = _by_class(train, class_name) if split == "class" else _at_random(train, share, seed)
    test, holdout = sets["test"], sets["unseen"]
    if split == "class":  # a class that is to be forgotten is no utility
        gone = forget[0]["label"]
        test = [record for record in test if record["label"] != gone]
        holdout = [record for record in holdout if record["label"] == gone]
    holdout = holdout[: len(forget)]  # the loss attack wants sides of one size
    if not (test and holdout):
        raise InputError(f"images: no {'test' if not test else 'unseen'} picture is left; give more of them.")
    attacked = min(len(forget), len(holdout)) > 1 and len(forget) + len(holdout) > 10
    recipe = {**world.RECIPE, "epochs": epochs, "lr": lr}
    target, controls = _models(train, retain, network, size, recipe, model, control)
    presets = CLASS_PRESETS if split == "class" else PRESETS
    scope = "topic" if split == "class" else "sample"
    return Task(
        name="images",
        family="classifier",
        request=Request(forget, retain, holdout, seed=seed, scope=scope, allow_overlap=allow_overlap),
        probes={"forget": forget[:rows], "retain": retain[:rows], "holdout": holdout[:rows], "test": test[:rows]},
        metrics=METRICS if attacked else tuple(call for call in METRICS if call not in FOLDS),
        knowledge="accuracy:set=forget",
        utility="accuracy:set=test",
        target=target,
        control=controls,
        spec=looked(rows),
        presets=presets if source == "tiny" else {},
        attacks=ATTACKS,
        floors=("noise", "untrained", "head_mask") if split == "class" else ("noise", "untrained"),
        note=f"At most {rows} records per evaluation set; holdout are pictures that no model saw."
        + ("" if attacked else f" Too few pictures for {' and '.join(FOLDS)}."),
    )


def _sets(source: str, size: int, seed: int, trained: bool) -> dict[str, list[Record]]:
    """Training, test and unseen records, as the source says or as the seed divides them."""
    path, read = Path(source).expanduser(), partial(load_records, family="classifier", size=size)
    if not path.exists():
        raise InputError(f"images: there is no folder or table {source}; check the path, or give tiny.")
    there = {one.name if one.is_dir() else _stem(one) for one in path.iterdir()} if path.is_dir() else set()
    if {"train", "test"} <= there:
        train: Sequence[Record] = read(path, config="train")
        names = sorted({record["class"] for record in train if "class" in record}) or None
        rest = {name: read(path, config=name, classes=names) for name in SETS[1:] if name in there}
        return _with_unseen({"train": [*train], **{name: [*records] for name, records in rest.items()}}, source)
    records = read(path)
    if any("split" in record for record in records):
        parted: dict[str, list[Record]] = {name: [r for r in records if r.get("split") == name] for name in SETS}
        return _with_unseen({name: rows for name, rows in parted.items() if rows}, source)
    if trained:
        raise InputError(
            f"images: {source} does not say what the model was trained on; make subfolders or tables train and test, "
            "or write a column split with these values."
        )
    order = np.random.default_rng([seed, 9]).permutation(len(records)).tolist()
    test, unseen = round(TEST * len(order)), round(UNSEEN * len(order))
    cuts = {"test": order[:test], "unseen": order[test : test + unseen], "train": order[test + unseen :]}
    return {name: [records[row] for row in sorted(rows)] for name, rows in cuts.items()}


def _with_unseen(sets: dict[str, list[Record]], source: str) -> dict[str, list[Record]]:
    for name in SETS[:2]:
        if not sets.get(name):
            raise InputError(f"images: {source} holds no {name} pictures; add that set, or leave all sets out.")
    if "unseen" not in sets:  # every other one, so that each class is in both halves
        rows = sorted(sets["test"], key=lambda record: record["label"])
        sets = {**sets, "test": rows[::2], "unseen": rows[1::2]}
    return sets


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in SUFFIXES else ""


def _names(records: Sequence[Record]) -> dict[str, int]:
    """Class name, or its number as text -> number."""
    return {str(record.get("class", record["label"])): record["label"] for record in records}


def _by_class(train: Sequence[Record], class_name: str) -> tuple[list[Record], list[Record]]:
    names = _names(train)
    chosen = class_name or max(names, key=lambda name: names[name])
    if chosen not in names or len(names) < 2:
        raise InputError(f"images has no class {chosen!r}{did_you_mean(chosen, names)}; one of {', '.join(names)}.")
    gone = names[chosen]
    return [r for r in train if r["label"] == gone], [r for r in train if r["label"] != gone]


def _at_random(train: Sequence[Record], share: float, seed: int) -> tuple[list[Record], list[Record]]:
    drawn = np.random.default_rng([seed, 10]).permutation(len(train))[: max(1, round(share * len(train)))]
    chosen = set(drawn.tolist())
    forget = [record for row, record in enumerate(train) if row in chosen]
    retain = [record for row, record in enumerate(train) if row not in chosen]
    whole = {record["label"] for record in forget} - {record["label"] for record in retain}
    if whole:
        name = next(name for name, label in _names(train).items() if label in whole)
        count = Counter(record["label"] for record in forget)[_names(train)[name]]
        raise InputError(
            f"images: share={share:g} takes every one of the {count} training records of class {name!r}, and none is "
            f"left to keep; give split=class class_name={name}, another seed or a smaller share."
        )
    return forget, retain


def _models(
    train: list[Record], retain: list[Record], network: str, size: int, recipe: Mapping[str, Any], model: str,
    control: Sequence[str],
) -> Sides:  # fmt: skip
    if given := sides_on_disk("images", model, control):
        return given
    names, channels = _names(train), int(np.shape(train[0]["image"])[0])

    def fit(what: str, records: list[Record], seed: int) -> Model:
        seed += WORLD_SEEDS
        net = _network(network, channels, size, names, seed)
        return classifier([dict(record) for record in records], net, dict(recipe), seed, f"images-{what}-seed{seed}")

    return partial(fit, "train", train), partial(fit, "retain", retain)


def _network(kind: str, channels: int, size: int, names: Mapping[str, int], seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    if kind == "cnn":
        from lethe.models.nets import SmallCNN

        return SmallCNN(channels=channels, classes=max(names.values()) + 1, size=size)
    from transformers import ResNetConfig, ResNetForImageClassification

    shape = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
    labels = {number: name for name, number in names.items()}
    return ResNetForImageClassification(ResNetConfig(num_channels=channels, id2label=labels, **shape))
