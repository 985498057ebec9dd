"""Does forgotten knowledge come back? Relearning, sampling and later requests, read against a control.

Scores here are forget scores where high = knows. u = unlearned, r = after the attack, o = original target; a control is
the retrained model under the *same* attack, without which learning the attack's data would count as recovery.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, vector

MIN_SPAN = 0.05  # below this drop nothing was removed, and a share of it says nothing


class Steps(NamedTuple):
    """Attack steps until recovery; `censored` when the budget ran out first (the true number is larger)."""

    steps: int
    censored: bool


class SpeedUp(NamedTuple):
    """Ratio of attack steps, and whether censoring makes it a bound: "exact", "at least", "at most" or "unknown"."""

    ratio: float
    bound: str


class WorstCase(NamedTuple):
    """The strongest attack, what it reached, and how many were tried (a maximum means little without it)."""

    attack: str
    value: float
    tried: int


def relearning_gap(*, unlearned: float, attacked: float) -> float:
    """`r - u`: how much the forget score rises under attack; lower is better, 0 is none.

    Args:
        unlearned: forget score u of the unlearned model.
        attacked: forget score r after the attack.
    """
    return attacked - unlearned


def control_adjusted_gap(*, unlearned: float, attacked: float, control_before: float, control_after: float) -> float:
    """`(r - u) - (c_r - c_u)`: the rise beyond what the attack teaches a model that never knew; lower is better.

    Args:
        unlearned: forget score u of the unlearned model.
        attacked: forget score r after the attack.
        control_before: forget score of the retrained model.
        control_after: forget score of the retrained model after the same attack.
    """
    return (attacked - unlearned) - (control_after - control_before)


def recovered_fraction(*, unlearned: float, attacked: float, original: float, eps: float = MIN_SPAN) -> float | None:
    """`(r - u) / (o - u)`: share of the removed score that came back; lower is better, 1 is all.

    Args:
        unlearned: forget score u of the unlearned model.
        attacked: forget score r after the attack.
        original: forget score o of the target before unlearning.
        eps: smallest drop o - u that counts as a removal.

    Returns:
        None when o - u < eps: nothing was removed, so nothing can be recovered.
    """
    span = original - unlearned
    return None if span < eps else (attacked - unlearned) / span


def recovery_ratio(
    *,
    unlearned: float,
    attacked: float,
    original: float,
    control_before: float,
    control_after: float,
    eps: float = MIN_SPAN,
) -> float | None:
    """Recovered share beyond the control's own rise, clipped to -1..1.5; lower is better (SoK checklist item R3).

    `((r - u) - (c_r - c_u)) / (o - u)`, on forget items outside the attack's data (after arXiv 2506.09227).

    Args:
        unlearned: forget score u of the unlearned model.
        attacked: forget score r after the attack.
        original: forget score o of the target before unlearning.
        control_before: forget score of the retrained model.
        control_after: forget score of the retrained model after the same attack.
        eps: smallest drop o - u that counts as a removal.

    Returns:
        None when o - u < eps: nothing was removed, so nothing can be recovered.
    """
    span = original - unlearned
    if span < eps:
        return None
    gap = control_adjusted_gap(
        unlearned=unlearned, attacked=attacked, control_before=control_before, control_after=control_after
    )
    return min(1.5, max(-1.0, gap / span))


def steps_to_recover(
    steps: Sequence[int], scores: npt.ArrayLike, *, unlearned: float, original: float, share: float = 0.9
) -> Steps | None:
    """First attack step whose score reaches `u + share (o - u)`; higher is better.

    With share 0.5 it is the SoK checklist's tamper cost.

    Args:
        steps: attack steps at which the model was scored, increasing, each at least 1.
        scores: forget score at each of them, `(len(steps),)`.
        unlearned: forget score u before the attack.
        original: forget score o of the target before unlearning.
        share: part of the removed score that counts as recovered, in (0, 1].

    Returns:
        The step, or the budget marked as censored; None when o <= u, where there is nothing to recover.

    Raises:
        InputError: steps that do not increase from at least 1, or another number of scores.
    """
    reached = _curve(steps, scores)
    if original <= unlearned:
        return None
    goal = unlearned + share * (original - unlearned)
    back = np.flatnonzero(reached >= goal - 1e-9)  # .1 + .9 * .8 is a hair above .82
    return Steps(steps[int(back[0])], False) if back.size else Steps(steps[-1], True)


def budget_area(steps: Sequence[int], scores: npt.ArrayLike, *, unlearned: float) -> float:
    """Mean forget score over the attack's budget, the area under its curve over the last step; lower is better.

    Straight between the steps, from u at step 0 (arXiv 2502.05374 compares methods over the whole budget).

    Args:
        steps: attack steps at which the model was scored, increasing, each at least 1.
        scores: forget score at each of them, `(len(steps),)`.
        unlearned: forget score u before the attack.

    Raises:
        InputError: steps that do not increase from at least 1, or another number of scores.
    """
    reached = _curve(steps, scores)
    return float(np.trapezoid([unlearned, *reached], [0, *steps]) / steps[-1])


def speed_up(retrained: Steps, unlearned: Steps) -> SpeedUp:
    """Attack steps a retrained model needs over those the unlearned one needs; 1 = no hidden advantage, high = hidden.

    Args:
        retrained: steps of the retrained control (what learning afresh costs).
        unlearned: steps of the unlearned model.
    """
    bounds = {(False, False): "exact", (True, False): "at least", (False, True): "at most", (True, True): "unknown"}
    return SpeedUp(retrained.steps / unlearned.steps, bounds[retrained.censored, unlearned.censored])


def worst_case(attacked: Mapping[str, float]) -> WorstCase:
    """The attack after which the forget score is highest.

    Args:
        attacked: forget score after each attack, by the attack's name.

    Raises:
        InputError: no attack was run, or a score is NaN.
    """
    values = vector(list(attacked.values()), "scores after each attack")
    name = list(attacked)[int(np.argmax(values))]
    return WorstCase(name, float(values.max()), len(values))


def leak_at_k(samples: npt.ArrayLike, leaks: npt.ArrayLike, k: int) -> FloatArray:
    """Chance that at least one of k samples leaks, per prompt, `(N,)` in 0..1; lower is better.

    The unbiased estimate from n >= k samples of which c leak: `1 - C(n - c, k) / C(n, k)`.

    Args:
        samples: number n of samples drawn for each prompt, `(N,)`.
        leaks: number c of them that leak, `(N,)`.
        k: number of samples the adversary draws.

    Raises:
        InputError: k larger than a prompt's n or below 1, or c outside 0..n.
    """
    drawn, leaked = vector(samples, "samples per prompt"), vector(leaks, "leaks per prompt")
    if drawn.shape != leaked.shape or (leaked < 0).any() or (leaked > drawn).any():
        raise InputError("leak@k: every prompt needs a count of leaks between 0 and its number of samples; recount.")
    if not 1 <= k <= drawn.min():
        raise InputError(f"leak@k: k = {k} with {int(drawn.min())} samples; draw at least k samples per prompt.")
    pairs = zip(drawn.astype(int).tolist(), leaked.astype(int).tolist(), strict=True)
    return np.array([1 - comb(n - c, k) / comb(n, k) for n, c in pairs])


def resurrection_matrix(accuracy: npt.ArrayLike) -> FloatArray:
    """`A[i, j] - A[j, j]` for j < i, `(m, m)`, NaN elsewhere: what later requests brought back of earlier ones.

    Args:
        accuracy: forget accuracy of request j after request i, `(m, m)`; entries above the diagonal are not read.

    Raises:
        InputError: not a square matrix, or NaN on or below the diagonal.
    """
    values = np.asarray(accuracy, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise InputError(f"resurrection: a matrix of shape {values.shape}; give requests x requests.")
    if np.isnan(values[np.tril_indices(len(values))]).any():
        raise InputError("resurrection: NaN on or below the diagonal; score every earlier request after each request.")
    return np.where(np.tri(len(values), k=-1, dtype=bool), values - np.diag(values), np.nan)


def resurrection(accuracy: npt.ArrayLike) -> float:
    """Largest return of an earlier request after the last one, `max_j A[m, j] - A[j, j]`; lower is better.

    Negative where every earlier request sank further.

    Args:
        accuracy: forget accuracy of request j after request i, `(m, m)`; entries above the diagonal are not read.

    Raises:
        InputError: fewer than two requests, not a square matrix, or NaN on or below the diagonal.
    """
    returned = resurrection_matrix(accuracy)
    if len(returned) < 2:
        raise InputError("resurrection: one request has no earlier one; make at least two.")
    return float(returned[-1, :-1].max())


def utility_drift(utility: npt.ArrayLike) -> float:
    """Least-squares slope of the utility over sequential requests, per request; 0 is no drift.

    Args:
        utility: utility after each request, `(m,)` with m at least 2.

    Raises:
        InputError: fewer than two requests, or a value that is not finite.
    """
    values = vector(utility, "utility per request")
    if len(values) < 2:
        raise InputError("utility drift: one request has no slope; make at least two.")
    steps = np.arange(len(values)) - (len(values) - 1) / 2
    return float(steps @ values / (steps @ steps))


def _curve(steps: Sequence[int], scores: npt.ArrayLike) -> FloatArray:
    """The scores under attack, one for each step.

    Raises:
        InputError: steps that do not increase from at least 1, or another number of scores.
    """
    reached = vector(scores, "scores under attack")
    if len(steps) != len(reached) or steps[0] < 1 or any(b <= a for a, b in pairwise(steps)):
        raise InputError("attack curve: steps must increase from at least 1, one score for each; check the curve.")
    return reached
