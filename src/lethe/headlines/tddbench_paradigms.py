"""Which kind of attack tells training records best, and how that grows with training."""

from __future__ import annotations

from typing import Any

import numpy as np

from lethe.detection.columns import columns
from lethe.detection.study import Setting, Study, observations
from lethe.registry import headline
from lethe.scoring.detection import detect
from lethe.scoring.roc import chance_deviation

EPOCHS = (4, 12, 40)
SETTING: dict[str, Any] = {"world": "records", "targets": 2, "references": 32, "size": 1200, "noise": 0.1}
PARADIGMS = {
    "Metric": ("Metric-loss", "Metric-conf", "Metric-corr", "Metric-ent", "Metric-ment"),
    "Learn": ("Learn-original", "Learn-top3", "Learn-sorted", "Learn-label", "Learn-merge"),
    "Model": ("Model-loss", "Model-calibration", "Model-lira", "Model-fpr", "Model-robust"),
}


@headline(
    paper="2411.03363",
    expects={
        "LiRA beyond chance over the loss's": (">=", 1.3),
        "rise of the loss's AUROC with epochs": (">=", 0.0),
        "rise of LiRA's AUROC with epochs": (">=", 0.0),
        "best Model AUROC less best Metric AUROC": (">=", 0.0),
        "best Model AUROC less best Learn AUROC": (">=", 0.0),
        "largest deviation under shuffled membership": ("<=", 1.0),
    },
)
def tddbench_paradigms(*, seed: int) -> dict[str, float]:
    """Attacks with reference models tell training records better than those without, and all rise with training.

    A table of 1,200 records of scikit-learn's `make_classification` (20 columns, 5 classes, 10 % wrong labels), half of
    it the pool; 2 target MLPs on random halves of the pool, and 32 reference models of which 16 hold each record. AUROC
    is the mean over the targets after 40 epochs; `rise` is the least step from 4 over 12 to 40 epochs, `beyond chance`
    the AUROC less one half. Shuffled membership: the greatest distance of any of the 15 AUROCs from one half after the
    membership was permuted, over 4 standard deviations of chance.
    """
    rng = np.random.default_rng(seed)
    areas: dict[str, list[float]] = {"Metric-loss": [], "Model-lira": []}
    figures: dict[str, float] = {}
    for epochs in EPOCHS:
        study = Study(Setting(**SETTING, seed=seed, epochs=epochs))
        wanted = [name for names in PARADIGMS.values() for name in names] if epochs == EPOCHS[-1] else list(areas)
        found = scores(study, wanted)
        for name, values in areas.items():
            values.append(mean_area(study, found[name]))
        if epochs == EPOCHS[-1]:
            means = {name: mean_area(study, found[name]) for name in wanted}
            best = {paradigm: max(means[name] for name in names) for paradigm, names in PARADIGMS.items()}
            figures |= {f"AUROC, {name}": value for name, value in means.items()}
            figures |= {f"best {kind} AUROC": value for kind, value in best.items()}
            figures |= {f"best Model AUROC less best {kind} AUROC": best["Model"] - best[kind] for kind in
                        ("Metric", "Learn")}  # fmt: skip
            figures["largest deviation under shuffled membership"] = shuffled(study, found, rng)
    loss, lira = areas.values()
    figures |= {f"AUROC, {name}, {epochs} epochs": value for name, values in areas.items() for epochs, value in
                zip(EPOCHS, values, strict=True)}  # fmt: skip
    figures["LiRA beyond chance over the loss's"] = (lira[-1] - 0.5) / (loss[-1] - 0.5)
    figures["rise of the loss's AUROC with epochs"] = float(np.diff(loss).min())
    figures["rise of LiRA's AUROC with epochs"] = float(np.diff(lira).min())
    return figures


def scores(study: Study, algorithms: list[str]) -> dict[str, list[np.ndarray]]:
    """Scores of the audited records by every algorithm, one array per target."""
    parts = {part for name in algorithms for part in observations(name)}
    makers, found = study.makers(), {name: [] for name in algorithms}
    shared = {part: makers[part](0) for part in parts - {"outputs"}}
    for place in range(study.setting.targets):
        seen = {"outputs": makers["outputs"](place), **shared}
        for name in algorithms:
            arrays = {key: value for part in observations(name) for key, value in seen[part].items()}
            found[name].append(detect(name, arrays, **({"seed": study.setting.seed} if "Learn" in name else {})))
    return found


def mean_area(study: Study, found: list[np.ndarray]) -> float:
    """Mean AUROC over the targets."""
    members = study.pools.members
    return float(np.mean([columns(one, member)[0].value for one, member in zip(found, members, strict=True)]))


def shuffled(study: Study, found: dict[str, list[np.ndarray]], rng: np.random.Generator) -> float:
    """Greatest distance of an AUROC from one half under permuted membership, over 4 standard deviations of chance."""
    member = rng.permutation(study.pools.members[0])
    band = 4 * chance_deviation(int(member.sum()), int((~member).sum()))
    return max(abs(columns(one[0], member)[0].value - 0.5) for one in found.values()) / band
