"""Class unlearning at the output and in the features, over worlds: the table of docs/classifiers.md.

    python benchmarks_perf/representations.py [--splits top random] [--worlds 0 1 2] [--methods head_mask scrub ...]

Every method on the tiny world of `lethe bench truly_forgetting`, with its preset, against three retrained models.
Models and observations are kept in the cache (`LETHE_CACHE`). Prints a Markdown table of mean and standard deviation
over the worlds for each split, how often an edit was called superficial, and per world what sets retraining apart.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean, stdev

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from lethe.benchmarks.truly_forgetting import PRESETS, truly_forgetting
from lethe.errors import InputError
from lethe.evidence import Evidence, observe
from lethe.measure import compute
from lethe.models.base import Model
from lethe.runs.unlearn import apply_method
from lethe.worlds.cache import cache_folder

CONTROLS = 3
SHOWN = {
    "forget accuracy": "accuracy:set=forget",
    "k-NN, rotated digits": "knn:set=rotated",
    "H-LR": "closeness:downstream=rotated,inverted,transfer,variant=h_lr",
}
GAPS = ("closed at the output", "closed in the features")


def figures(evidence: Evidence, controls: Sequence[Evidence], original: Evidence) -> dict[str, float]:
    """One model's figures; those of the gaps are missing where retraining moves the features by less than its noise."""
    found = {name: compute(call, evidence, controls, original).value for name, call in SHOWN.items()}
    try:
        gap = compute("representation_gap", evidence, controls, original)
    except InputError:
        return found
    told = gap.detail
    found |= {GAPS[0]: float(told["accuracy_closed"]), GAPS[1]: gap.value}
    return found | {"superficial": float(bool(told["superficial"])), "gap": told["gap"], "error": told["error"]}


def world(split: str, seed: int, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Figures of the original and of every method on one world."""
    task = truly_forgetting(split=split, seed=seed)
    assert task.control is not None
    look = partial(observe, probes=task.probes, spec=task.spec, cache=cache_folder() / "evidence")
    original: Model = task.target(0)
    seen = look(original)
    controls = [look(task.control(number)) for number in range(1, CONTROLS + 1)]
    apart = compute("knn:set=rotated", seen, controls, seen).detail
    found = {"original": figures(seen, controls, seen) | {"k-NN gap": float(apart["gap"])}}
    for name in methods:
        made = apply_method(name, original, replace(task.request, seed=1), PRESETS.get(name, {}), None)
        found[name] = figures(look(made), controls, seen)
    return found


def spread(values: Sequence[float]) -> str:
    """`mean ± sd`, with the number of worlds where it is one."""
    if not values:
        return "–"
    return f"{fmean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f} (one)"


def main() -> None:
    known = sorted({"head_mask", *PRESETS} - {"sisa"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", nargs="+", choices=("top", "random"), default=["top", "random"])
    parser.add_argument("--worlds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=known, default=known)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for split in given.splits:
        rows = [world(split, seed, given.methods) for seed in given.worlds]
        columns = [*SHOWN, *GAPS]
        print(f"\n{split}\n\n| Model | {' | '.join(columns)} | superficial |\n|---|{'---:|' * (len(columns) + 1)}")
        for name in rows[0]:
            own = {column: [row[name][column] for row in rows if column in row[name]] for column in columns}
            flagged = [row[name]["superficial"] for row in rows if "superficial" in row[name]]
            shown = " | ".join(spread(own[column]) for column in columns)
            print(f"| {name} | {shown} | {sum(flagged):.0f} of {len(flagged)} |", flush=True)
        for seed, row in zip(given.worlds, rows, strict=True):
            gap = row["original"]
            moved = f"{gap['gap']:.3f} ± {gap['error']:.3f}" if "gap" in gap else "less than its noise"
            print(f"- world {seed}: retraining moves CKA by {moved}, k-NN on rotated digits by {gap['k-NN gap']:.2f}")


if __name__ == "__main__":
    main()
