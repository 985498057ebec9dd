"""Does forgetting in one form of question carry over to the others? ORT, arXiv 2506.07795.

A form is how a fact is asked for: cloze, question, multiple choice, spelt out letter by letter, and so on.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, matrix, same_shape, vector
from lethe.scoring.intervals import Interval, percentile, resample
from lethe.scoring.memorization import mean_nll, probability


class FormGap(NamedTuple):
    """Relative drop of every form, 0 = nothing forgotten, 1 = all; `gap` is the largest minus the smallest.

    worst: the form that forgot least, and `worst_drop` how much. A claim of form independence needs a small gap beside
    a large worst drop; a model that forgets nothing has no gap either.
    """

    gap: float
    worst: str
    worst_drop: float
    drops: dict[str, float]


def form_probability(logp: Sequence[npt.ArrayLike]) -> FloatArray:
    """Geometric mean of the answer's token probabilities, `(N,)` in 0..1; lower is better on forget forms.

    Args:
        logp: log-probability of every answer token, N arrays `(T_i,)`, in nats.

    Raises:
        InputError: an item has no scored token.
    """
    return probability(mean_nll(logp))


def form_score(targets: Sequence[npt.ArrayLike]) -> float:
    """Mean over items, then over targets, in 0..1.

    Args:
        targets: per target the probabilities of its items in this form, `(n_i,)`.

    Raises:
        InputError: no target, or one without items.
    """
    if len(targets) == 0:
        raise InputError("form score: there are no targets; give the items of at least one.")
    return float(np.mean([vector(items, f"target {i}").mean() for i, items in enumerate(targets)]))


def stored_probability(values: npt.ArrayLike, stored: Literal["nll", "probability"]) -> FloatArray:
    """The released field "loss_prob" as a probability: it is an NLL in one file and a probability in another, `(N,)`.

    Args:
        values: the field of every item, `(N,)`.
        stored: what the file holds.

    Raises:
        InputError: values that cannot be what they are said to be.
    """
    numbers = vector(values, "loss_prob")
    if (numbers < 0).any() or (stored == "probability" and (numbers > 1).any()):
        raise InputError(f"loss_prob: {numbers.min():.6g} to {numbers.max():.6g} is no {stored}; say what is stored.")
    return np.exp(-numbers) if stored == "nll" else numbers


def form_gap(before: Mapping[str, float], after: Mapping[str, float]) -> FormGap:
    """How evenly a fact was forgotten over its forms.

    Args:
        before: form score of the original model by form.
        after: that of the unlearned model, for the same forms.

    Raises:
        InputError: other forms on one side, fewer than two, or a form that the original model never knew.
    """
    if sorted(before) != sorted(after) or len(before) < 2:
        raise InputError(
            f"form gap: {sorted(before)} before and {sorted(after)} after; score two or more forms in both."
        )
    if unknown := [form for form, score in before.items() if score <= 0]:
        raise InputError(f"form gap: the original model scores 0 in form {unknown[0]!r}; leave that form out.")
    drops = {form: (before[form] - after[form]) / before[form] for form in before}
    worst = min(drops, key=lambda form: drops[form])
    return FormGap(max(drops.values()) - drops[worst], worst, drops[worst], drops)


def form_gap_interval(
    before: npt.ArrayLike, after: npt.ArrayLike, *, seed: int, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the form gap, resampling targets.

    Args:
        before: form scores of the original model, `(targets, forms)`.
        after: those of the unlearned model, `(targets, forms)`.
        seed: seed of the draws.
        draws: number of bootstrap draws.
        level: coverage in 0..1.

    Raises:
        InputError: shapes that differ, or a score of the original model that is not positive.
    """
    own, other = matrix(before, "form scores before"), matrix(after, "form scores after")
    same_shape(own, other, "form scores")
    if (own <= 0).any():
        raise InputError("form gap: the original model scores 0 somewhere; leave that form or target out.")

    def gap(counts: FloatArray) -> FloatArray:
        drops = 1 - (counts @ other) / (counts @ own)
        return drops.max(axis=1) - drops.min(axis=1)

    return percentile(resample([len(own)], gap, seed=seed, draws=draws), level=level)
