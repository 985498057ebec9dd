"""Published evaluation logs scored again: every aggregate from the per-item record, and no model in sight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lethe.data.logs import AnswerLog, Curve, find_answer_logs, read_answer_logs, read_detection_curves
from lethe.data.schema import nearest
from lethe.errors import InputError
from lethe.score import Score, score_of_items
from lethe.scoring import aggregate, memorization, roc, rouge
from lethe.scoring.arrays import FloatArray
from lethe.scoring.curves import published, unroll
from lethe.scoring.memorization import Mean

UTILITY_SETS = ("retain", "real_authors", "world_facts")
MEANS: tuple[Mean, ...] = ("geometric", "arithmetic")
STEMMED = "rougeL_recall.stem"


def rescore_tofu(
    source: str | Path, *, control: Sequence[str] = (), rows: int | None = None, seed: int = 0
) -> dict[str, list[Score]]:
    """Score every recorded evaluation below a folder (or one file): name of the model -> its scores.

    Per set the probability (`answer`, and `options` where wrong answers divide it), the logged ROUGE-L recall and the
    truth-ratio score by both means; model utility by both means; with controls also forget quality (`ks_d`, `ks_p.nN`).
    Variants bear the names of the metrics of the same names, so that a log can stand beside a measured model.

    Args:
        source: folder of logs in the form of TOFU or ULD, or one log.
        control: names of those logs whose models never saw the forget set; forget quality is read against them, that
            of a control against the others.
        rows: most rows of each set; TOFU's own evaluation reads 300. None takes what was logged.
        seed: seed of the bootstrap intervals.

    Raises:
        InputError: A log lacks a section, row or field, or a control is not among the logs.
    """
    logs = {
        model: {name: log.first(rows) for name, log in read_answer_logs(path).items()}
        for model, path in find_answer_logs(source).items()
    }
    for name in control:
        if name not in logs:
            raise InputError(f"{source}: there is no log of the control {name!r}; {nearest(name, logs)}")
    return {
        model: score_answers(sets, controls=[logs[name] for name in control if name != model], seed=seed)
        for model, sets in logs.items()
    }


def score_answers(
    sets: Mapping[str, AnswerLog], *, controls: Sequence[Mapping[str, AnswerLog]] = (), seed: int = 0
) -> list[Score]:
    """All of TOFU's aggregates of one evaluation log.

    Args:
        sets: the four question sets, as `read_answer_logs` gives them.
        controls: the same of models that never saw the forget set.
        seed: seed of the bootstrap intervals.
    """
    scores = [score for name, log in sets.items() for score in _of_set(name, log, seed)]
    scores += [_utility(sets, kind, seed) for kind in MEANS]
    if controls:
        scores += _forget_quality(sets["forget"], [control["forget"] for control in controls], seed)
    return scores


def truth_ratios(log: AnswerLog, kind: Mean = "geometric") -> FloatArray:
    """Truth ratio R of every question, `(N,)`, against the logged paraphrase.

    On the two real sets that is a second, low-precision pass over the right answer. Published aggregates use it; the
    first pass instead moves model utility by .0001.
    """
    return memorization.truth_ratio(log.paraphrase, log.wrong, kind=kind)


def utility_items(log: AnswerLog, name: str, kind: Mean) -> FloatArray:
    """Probability, ROUGE-L recall and truth-ratio score of every question of a utility set, `(3, N)` in 0..1."""
    known = (
        memorization.probability(log.gold) if name == "retain" else memorization.option_probability(log.gold, log.wrong)
    )
    return np.stack([known, log.rouge, memorization.truth_ratio_utility_score(truth_ratios(log, kind))])


def rescore_tddbench(source: str | Path, *, seed: int = 0) -> dict[str, list[Score]]:
    """TDDBench's recorded ROC curves, scored again: name of the algorithm -> its scores.

    AUC with a bootstrap interval, best balanced accuracy (threshold chosen on the same records, so optimistic), and TPR
    at 1 % and 10 % FPR (strictly below, as published) with their Clopper-Pearson intervals.

    Args:
        source: an .npz of curves, or a folder ALGORITHM/{fpr,tpr,label}.npy.
        seed: seed of the bootstrap intervals.

    Raises:
        InputError: A curve is missing, or its rates are not those of so many records.
    """
    return {name: _detection(curve, seed) for name, curve in read_detection_curves(source).items()}


def _of_set(name: str, log: AnswerLog, seed: int) -> list[Score]:
    forget = name == "forget"
    direction = "control" if forget else "higher"
    score_of_ratio = memorization.truth_ratio_forget_score if forget else memorization.truth_ratio_utility_score

    def score(metric: str, variant: str, items: FloatArray) -> Score:
        return score_of_items(metric, items, variant=variant, set=name, direction=direction, range=(0, 1), seed=seed)

    overlap = score("rouge", STEMMED, log.rouge)
    if log.texts:
        outputs, truths = zip(*log.texts, strict=True)
        off = np.abs(rouge.overlap(STEMMED, outputs, truths) - log.rouge).max()
        overlap = replace(overlap, detail={"difference_to_the_texts": float(off)})
    return [
        score("probability", "answer", memorization.probability(log.gold)),
        score("probability", "options", memorization.option_probability(log.gold, log.wrong)),
        overlap,
        *(score("truth_ratio", kind, score_of_ratio(truth_ratios(log, kind))) for kind in MEANS),
    ]


def _utility(sets: Mapping[str, AnswerLog], kind: Mean, seed: int) -> Score:
    items = [utility_items(sets[name], name, kind) for name in UTILITY_SETS]
    value = aggregate.harmonic_mean([float(row.mean()) for rows in items for row in rows])
    low, high = aggregate.harmonic_interval(items, seed=seed)
    return Score(
        "model_utility", kind, "utility", value, low, high, sum(len(sets[name].rows) for name in UTILITY_SETS),
        "higher", (0, 1), seed=seed,
    )  # fmt: skip


def _forget_quality(own: AnswerLog, others: Sequence[AnswerLog], seed: int) -> list[Score]:
    """D is the mean over the controls; p that against the first of them."""
    ratio, ratios = truth_ratios(own), [truth_ratios(other) for other in others]
    tests = [aggregate.ks(ratio, other) for other in ratios]
    paired = [other.rows == own.rows for other in others]
    ends = [
        aggregate.ks_interval(ratio, other, seed=seed, paired=same) for other, same in zip(ratios, paired, strict=True)
    ]
    low, high = np.mean(ends, axis=0).tolist()
    null = aggregate.ks_null(ratios).tolist() if len(ratios) > 1 else []
    detail = {
        "p": tests[0].p,
        "floor": aggregate.ks_floor(tests[0].n_a, tests[0].n_b),
        "n_control": tests[0].n_b,
        "null_d": null,
        "margin": aggregate.ks_margin(null),
        "interval": "resamples questions" if all(paired) else "resamples the two logs apart: other questions",
    }
    value, n, named = float(np.mean([test.d for test in tests])), len(ratio), aggregate.ks_variant(*tests[0][2:])
    low = min(low, value)  # where D is small most draws lie above it: a distance only grows by noise
    return [
        Score("forget_quality", "ks_d", "forget", value, low, high, n, "lower", (0, 1), seed=seed, detail=detail),
        Score("forget_quality", named, "forget", tests[0].p, np.nan, np.nan, n, "higher", (0, 1), detail=detail),
    ]


def _detection(curve: Curve, seed: int) -> list[Score]:
    members, others = unroll(curve.fpr, curve.tpr, curve.members, curve.nonmembers)
    columns = published(curve.fpr, curve.tpr, curve.members, curve.nonmembers)
    counts = {"n_against": curve.nonmembers}
    low, high = roc.auc_interval(members, others, seed=seed)
    scores = [
        Score(
            "membership", "auc", "audited", columns["AUROC"], low, high, curve.members, "control", (0, 1), seed=seed,
            detail=counts | columns,
        ),
        Score(
            "membership", "best_balanced_accuracy", "audited", columns["Accuracy"], np.nan, np.nan, curve.members,
            "control", (0.5, 1), detail=counts,
        ),
    ]  # fmt: skip
    for rate, column in ((0.01, "TPR@1%FPR"), (0.1, "TPR@10%FPR")):
        low, high = roc.tpr_at_fpr(members, others, rate, inclusive=False).tpr_interval
        variant = f"tpr_below_{rate:g}_fpr"
        scores.append(
            Score(
                "membership", variant, "audited", columns[column], low, high, curve.members, "control", (0, 1),
                detail=counts,
            )
        )  # fmt: skip
    return scores
