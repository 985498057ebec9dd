"""Tables: forget random rows, or a whole class, in a network that was trained on rows of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from lethe.benchmarks import digits
from lethe.benchmarks.faces import METRICS, looked
from lethe.data.tables import NumericTable, read_table
from lethe.errors import InputError
from lethe.registry import benchmark
from lethe.request import Request
from lethe.task import Sides, Task, sides_on_disk
from lethe.worlds import tables as world
from lethe.worlds.models import mlp

# Those of the digits serve here as well, but for these: chosen on seeds 1 and 2, of breast_cancer for random rows, of
# wine for a class. Fisher forgetting hardly tells a class from the rest here, at any strength that leaves the rest.
RETRAINED = {
    "amnesiac": {**world.RECIPE, "repair_lr": 3e-3, "repair_epochs": 40},
    "sisa": {**world.RECIPE, "shards": 3, "slices": 2},
    "retrain": world.RECIPE,
}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    **digits.PRESETS,
    "boundary_expand": {"lr": 1e-3, "epochs": 5},
    "scar": {"lr": 3e-3, "epochs": 10},
    "unsir_instance": {"lr": 6e-3, "epochs": 20, "impair_epochs": 10},
    **RETRAINED,
}
CLASS_PRESETS: Mapping[str, Mapping[str, Any]] = {
    **digits.CLASS_PRESETS,
    "ga": {"lr": 1e-3, "steps": 10},
    "ssd": {"alpha": 1.5},
    "boundary_expand": {"lr": 2e-3, "epochs": 15},
    "pseudo_label": {"lr": 1e-3, "epochs": 15, "retain": "nll", "retain_weight": 3.0},
    "scar": {"lr": 2e-3, "epochs": 15},
    "influence": {"damping": 3e-2, "alpha": 1.5},
    **RETRAINED,
}


@benchmark(families={"classifier"}, paper="1912.03817")
def tabular(
    *,
    source: str = "tiny",
    table: str = "breast_cancer",
    label: str = "label",
    split: Literal["random", "class"] = "random",
    number: int = 0,
    noise: float | None = None,
    seed: int = 0,
    model: str = "",
    control: tuple[str, ...] = (),
    allow_overlap: bool = False,
) -> Task:
    """Tables: random rows or all rows of one class are forgotten by a network on scikit-learn's or a user's table.

    Args:
        source: tiny (a table that comes with scikit-learn), or a file of numbers: csv, tsv, jsonl or parquet.
        table: breast_cancer, wine or digits; tiny only.
        label: Column of a file that holds the class.
        split: random (a tenth of all rows, a quarter of those trained on), or class.
        number: Class that split=class forgets, counted from 0 in the order of the names.
        noise: Share of wrong labels in all rows but those of the test set; none is 0.3 of a bundled table, 0 of a
            file. Without any, what was learnt of single rows is hard to see: it can be guessed from the others.
        seed: Seed of the division, of the wrong labels and of the request.
        model: Folder of the target model; empty trains a network of two layers.
        control: Folders of models trained without the forget set; with neither model nor control they are trained.
        allow_overlap: Accept rows that stand in the forget set and, the same, in another set.

    Raises:
        InputError: If there is no such table or class, a file is no table of numbers, or too few rows or classes stay.
    """
    found = world.bundled(table) if source == "tiny" else read_table(source, label)
    share = (world.NOISE if source == "tiny" else 0.0) if noise is None else noise
    parts = world.divide(found, share, seed)
    if split == "class":
        if not 0 <= number < len(found.classes):
            raise InputError(
                f"tabular: number is {number}; {found.name} has the classes 0 to {len(found.classes) - 1}."
            )
        if len(found.classes) < 3:
            raise InputError(
                f"tabular: {found.name} has two classes, and without one there is nothing to tell apart; choose a "
                "table of more, or split=random."
            )
        parts = world.of_class(parts, number)
    forget, retain, unseen, test = (parts[name] for name in ("forget", "retain", "unseen", "test"))
    if not forget or not unseen:
        raise InputError(f"tabular: too few rows of {found.name} are of class {number}; choose another.")
    target, controls = _sides(model, control, forget, retain, found)
    holdout, validation = unseen[: len(forget)], unseen[len(forget) :]  # the loss attack wants sides of one size
    return Task(
        name="tabular",
        family="classifier",
        request=Request(
            forget, retain, holdout, seed=seed, scope="topic" if split == "class" else "sample",
            allow_overlap=allow_overlap, validation=validation,
        ),
        probes={"forget": forget, "retain": retain, "holdout": holdout, "test": test},
        metrics=METRICS,
        knowledge="accuracy:set=forget",
        utility="accuracy:set=test",
        target=target,
        control=controls,
        spec=looked(len(test)),
        presets=CLASS_PRESETS if split == "class" else PRESETS,
        attacks=("relearn", "relearn:lr=0.0003", "quantize:bits=8", "quantize:bits=4", "merge"),
        floors=("noise", "head_mask") if split == "class" else ("noise",),
        note=f"Table {found.name}; labels are wrong in {share:.0%} of all rows but those of the test set.",
    )  # fmt: skip


def _sides(
    model: str, control: tuple[str, ...], forget: world.Records, retain: world.Records, found: NumericTable
) -> Sides:
    if given := sides_on_disk("tabular", model, control):
        return given
    train = partial(mlp, classes=len(found.classes), name=f"tabular-{found.name}", recipe=world.RECIPE)
    return partial(train, [*forget, *retain]), partial(train, retain)
