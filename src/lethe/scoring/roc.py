"""How well a membership score separates members from non-members. High score = looks like a member.

AUC 1 means that the forget set is fully exposed; the ideal is the retrained model's AUC, which need not be one half.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, vector
from lethe.scoring.intervals import Interval, clopper_pearson, percentile, resample


class OperatingPoint(NamedTuple):
    """True and false positive rate at a threshold, each with its Clopper-Pearson interval.

    `resolved` is False when there are too few non-members to see the false positive rate that was asked for; the true
    positive rate is then a number without meaning, and the interval of the false positive rate says by how much.
    """

    tpr: float
    tpr_interval: Interval
    fpr: float
    fpr_interval: Interval
    threshold: float
    resolved: bool


class Threshold(NamedTuple):
    """A threshold (member if score >= value) and the balanced accuracy it reaches."""

    value: float
    balanced_accuracy: float

    @property
    def advantage(self) -> float:
        """Membership advantage TPR - FPR, in -1..1."""
        return 2 * self.balanced_accuracy - 1


def auc(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> float:
    """`P(member > non-member) + P(tie) / 2`, in 0..1; aim at the retrained model's value.

    An AUC of 0 gives the forget set away as much as an AUC of 1.

    Args:
        members: scores of the members (on a forget audit: the forget set), `(M,)`.
        nonmembers: scores of the non-members (the holdout), `(N,)`.

    Raises:
        InputError: an empty side or NaN.
    """
    from scipy.stats import rankdata

    own, other = _sides(members, nonmembers)
    ranks = rankdata(np.concatenate([own, other]))[: len(own)]
    return float((ranks.sum() - len(own) * (len(own) + 1) / 2) / (len(own) * len(other)))


def auc_interval(
    members: npt.ArrayLike, nonmembers: npt.ArrayLike, *, seed: int, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of the AUC, members and non-members resampled apart.

    Args:
        members: scores of the members, `(M,)`.
        nonmembers: scores of the non-members, `(N,)`.
        seed: seed of the draws.
        draws: number of bootstrap draws.
        level: coverage in 0..1.

    Raises:
        InputError: an empty side or NaN.
    """
    own, other = _sides(members, nonmembers)
    pooled = np.concatenate([own, other])
    order = np.argsort(pooled, kind="stable")
    ties = np.flatnonzero(np.append(True, pooled[order][1:] != pooled[order][:-1]))  # where each run of equals begins

    def area(drawn_own: IntArray, drawn_other: IntArray) -> FloatArray:
        counts = np.concatenate([drawn_own, np.zeros_like(drawn_other)], axis=1)[:, order]
        above = np.add.reduceat(counts, ties, axis=1)
        counts = np.concatenate([np.zeros_like(drawn_own), drawn_other], axis=1)[:, order]
        level_with = np.add.reduceat(counts, ties, axis=1)
        beaten = level_with.cumsum(axis=1) - level_with / 2
        return (above * beaten).sum(axis=1) / (len(own) * len(other))

    return percentile(resample([len(own), len(other)], area, seed=seed, draws=draws), level=level)


def auc_score_interval(value: float, n_members: int, n_nonmembers: int, *, level: float = 0.95) -> Interval:
    """Score interval of an AUC (Newcombe 2006, method 5), which no bootstrap gives where the AUC is 0 or 1.

    The ends are the values theta at which the observed AUC is z standard errors away, with the variance of Hanley and
    McNeil taken at theta; of 30 against 30 without a mistake the lower end is 0.93, not 1.

    Args:
        value: The AUC, in 0..1.
        n_members: Number of members.
        n_nonmembers: Number of non-members.
        level: coverage in 0..1.

    Raises:
        InputError: A value outside 0..1, or an empty side.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if not 0 <= value <= 1 or min(n_members, n_nonmembers) < 1:
        raise InputError(f"AUC interval: {value} of {n_members} against {n_nonmembers} is no AUC; give one in 0..1.")
    z, half = float(norm.ppf((1 + level) / 2)), (n_members + n_nonmembers) / 2 - 1

    def lower(area: float) -> float:
        def excess(theta: float) -> float:
            spread = 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
            return area - theta - z * (theta * (1 - theta) * spread / (n_members * n_nonmembers)) ** 0.5

        return float(brentq(excess, 0.0, area * (1 - 1e-12))) if area > 0 else 0.0  # pyright: ignore[reportArgumentType]

    return Interval(lower(value), 1 - lower(1 - value))  # the variance is the same at theta and 1 - theta


def tpr_at_fpr(
    members: npt.ArrayLike, nonmembers: npt.ArrayLike, fpr: float, *, inclusive: bool = True
) -> OperatingPoint:
    """True positive rate at the last ROC point whose false positive rate is at most `fpr`; a step, no interpolation.

    Args:
        members: scores of the members, `(M,)`.
        nonmembers: scores of the non-members, `(N,)`; fewer than 1/fpr of them leave the result unresolved.
        fpr: false positive rate to hold, in (0, 1).
        inclusive: allow the rate to equal `fpr` (Min-K%++); False demands less (TDDBench).

    Raises:
        InputError: an empty side, NaN, or a rate outside (0, 1).
    """
    _check_rate(fpr)
    own, other = _sides(members, nonmembers)
    thresholds, true, false = _curve(own, other)
    # Compare counts: a rate such as 3/100 is not exactly .03 * 100 / 100 in floating point.
    allowed = fpr * len(other)
    tolerance = 1e-9 * len(other)
    held = false <= allowed + tolerance if inclusive else false < allowed - tolerance
    at = int(np.flatnonzero(held)[-1])
    hits, alarms = int(true[at]), int(false[at])
    return OperatingPoint(
        tpr=hits / len(own),
        tpr_interval=clopper_pearson(hits, len(own)),
        fpr=alarms / len(other),
        fpr_interval=clopper_pearson(alarms, len(other)),
        threshold=float(thresholds[at]),
        resolved=allowed >= 1 - tolerance,
    )


def tpr_bounds(members: npt.ArrayLike, nonmembers: npt.ArrayLike, fpr: float, *, level: float = 0.95) -> Interval:
    """What the true positive rate may be where the *true* false positive rate is `fpr`; wide with few non-members.

    The threshold of a false positive rate is itself an estimate. The low end is that of the loosest threshold whose
    false positive rate is surely at most `fpr` (0 where there is none), the high end that of the loosest one where it
    may be; both by Clopper-Pearson.

    Args:
        members: scores of the members, `(M,)`.
        nonmembers: scores of the non-members, `(N,)`.
        fpr: false positive rate to hold, in (0, 1).
        level: coverage of each interval, in 0..1.

    Raises:
        InputError: an empty side, NaN, or a rate outside (0, 1).
    """
    from scipy.stats import binom

    _check_rate(fpr)
    own, other = _sides(members, nonmembers)
    _, true, false = _curve(own, other)
    tail = (1 - level) / 2  # an end of the interval lies below fpr if so few (or many) alarms at fpr are rare (or not)
    surely = true[binom.cdf(false, len(other), fpr) <= tail]
    maybe = true[binom.sf(false - 1, len(other), fpr) >= tail]
    low = clopper_pearson(int(surely[-1]), len(own), level=level).low if surely.size else 0.0
    return Interval(low, clopper_pearson(int(maybe[-1]), len(own), level=level).high)


def require_resolution(nonmembers: int, fpr: float) -> None:
    """Refuse to speak of a false positive rate that so few non-members cannot show.

    Args:
        nonmembers: number of non-members.
        fpr: false positive rate to hold, in (0, 1).

    Raises:
        InputError: fewer than 1/fpr non-members; says how many are needed.
    """
    _check_rate(fpr)
    needed = int(np.ceil(1 / fpr - 1e-9))
    if nonmembers < needed:
        raise InputError(
            f"TPR at {100 * fpr:g} % FPR: {nonmembers} non-members cannot show that rate; score at least {needed}, "
            "or print the interval of tpr_bounds."
        )


def chance_deviation(members: int, nonmembers: int) -> float:
    """Standard deviation of the AUC of a score without ties that knows nothing: `sqrt((M + N + 1) / (12 M N))`.

    Args:
        members: number M of members.
        nonmembers: number N of non-members.
    """
    if min(members, nonmembers) < 1:
        raise InputError(f"AUC by chance: {members} members and {nonmembers} non-members; give at least one of each.")
    return float(np.sqrt((members + nonmembers + 1) / (12 * members * nonmembers)))


def fpr_at_tpr(members: npt.ArrayLike, nonmembers: npt.ArrayLike, tpr: float = 0.95) -> float:
    """Smallest false positive rate at which at least `tpr` of the members are found, in 0..1.

    Args:
        members: scores of the members, `(M,)`.
        nonmembers: scores of the non-members, `(N,)`.
        tpr: true positive rate to reach, in (0, 1].

    Raises:
        InputError: an empty side, NaN, or a rate outside (0, 1].
    """
    if not 0 < tpr <= 1:
        raise InputError(f"FPR at TPR: {tpr} is not a true positive rate; choose it in (0, 1].")
    own, other = _sides(members, nonmembers)
    _, true, false = _curve(own, other)
    return float(false[np.argmax(true >= tpr * len(own) - 1e-9 * len(own))] / len(other))


def balanced_accuracy(members: npt.ArrayLike, nonmembers: npt.ArrayLike, threshold: float) -> float:
    """`1 - (FPR + FNR) / 2` of the rule "member if score >= threshold", in 0..1.

    Args:
        members: scores of the members, `(M,)`.
        nonmembers: scores of the non-members, `(N,)`.
        threshold: the rule's threshold, best chosen on a disjoint half.

    Raises:
        InputError: an empty side or NaN.
    """
    own, other = _sides(members, nonmembers)
    return float(((own >= threshold).mean() + (other < threshold).mean()) / 2)


def best_balanced_accuracy(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> Threshold:
    """The threshold of the highest balanced accuracy; optimistic unless it is then applied to other items.

    Args:
        members: scores of the members, `(M,)`.
        nonmembers: scores of the non-members, `(N,)`.

    Raises:
        InputError: an empty side or NaN.
    """
    own, other = _sides(members, nonmembers)
    thresholds, true, false = _curve(own, other)
    reached = (1 + true / len(own) - false / len(other)) / 2
    best = int(np.argmax(reached))
    return Threshold(float(thresholds[best]), float(reached[best]))


def privleak(auc_model: float, auc_control: float) -> float:
    """MUSE's PrivLeak in percent: -100 = fully exposed, 0 = like the retrained model, positive = over-unlearned.

    `(A - A_ret) / A_ret x 100` where A is MUSE's AUC, 1 minus ours (arXiv 2407.06460).

    Args:
        auc_model: AUC of the unlearned model, in this module's orientation (high = exposed).
        auc_control: AUC of the retrained model, likewise.

    Raises:
        InputError: an AUC outside 0..1, or a control's outside 0.2..0.8: then it is no control.
    """
    if not 0 <= auc_model <= 1:
        raise InputError(f"PrivLeak: {auc_model} is not an AUC; give it in 0..1.")
    if not 0.2 <= auc_control <= 0.8:
        raise InputError(
            f"PrivLeak: a control of AUC {auc_control:.6g} tells members from non-members; "
            "check that it is the retrained model and not the target."
        )
    reference = 1 - auc_control
    return (1 - auc_model - reference) / reference * 100


def _check_rate(fpr: float) -> None:
    if not 0 < fpr < 1:
        raise InputError(f"TPR at FPR: {fpr} is not a false positive rate; choose it in (0, 1).")


def _sides(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    return vector(members, "member scores", finite=False), vector(nonmembers, "non-member scores", finite=False)


def _curve(own: FloatArray, other: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Every ROC point, strictest first: thresholds from infinity down, true and false positives as counts."""
    thresholds = np.append(np.inf, np.unique(np.concatenate([own, other]))[::-1])
    true = len(own) - np.searchsorted(np.sort(own), thresholds[1:], side="left")
    false = len(other) - np.searchsorted(np.sort(other), thresholds[1:], side="left")
    return thresholds, np.append(0, true), np.append(0, false)
