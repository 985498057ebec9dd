"""The forgetting score of the NeurIPS 2023 unlearning competition (arXiv 2406.09073).

Per forget example the values of N unlearned models are told from those of N retrained ones by the best of a family of
decision rules. The best of many rules on finitely many models looks better than any rule is: retraining itself scores
about 0.06 with 128 models a side, where 1 would be right. Read every number beside that of retraining, and beside its
Clopper-Pearson bound, which is 0.98 there.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix, vector

DELTA = 1e-5
STEP = 0.5  # width of a bin of epsilon
BINS = 13


class Forgetting(NamedTuple):
    """Forgetting quality F of a method: with measured error rates, and with those that few models cannot exclude.

    `bound` counts each rule by the least epsilon within the 95 % intervals of its two error rates; `epsilons` (X,) are
    those of the examples as measured.
    """

    quality: float
    bound: float
    epsilons: FloatArray


def epsilon(fpr: npt.ArrayLike, fnr: npt.ArrayLike, *, delta: float = DELTA) -> FloatArray:
    """Privacy loss that a rule's two error rates prove, of their shape; NaN where the rule is dropped.

    `max(log((1 - delta - FPR) / FNR), log((1 - delta - FNR) / FPR))`, at least 0; infinite where both rates are 0, and
    a rule with exactly one of them 0 is dropped.

    Args:
        fpr: False positive rates, in 0..1.
        fnr: False negative rates, in 0..1.
        delta: The delta of (epsilon, delta).

    Raises:
        InputError: A rate outside 0..1, or shapes that differ.
    """
    false, missed = np.asarray(fpr, dtype=np.float64), np.asarray(fnr, dtype=np.float64)
    if false.shape != missed.shape or not all(((rate >= 0) & (rate <= 1)).all() for rate in (false, missed)):
        raise InputError(f"error rates of shapes {false.shape} and {missed.shape}; give pairs of rates in 0..1.")
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = [np.log(np.maximum(1 - delta - one, 0) / other) for one, other in ((false, missed), (missed, false))]
        found = np.maximum(np.fmax(*sides), 0.0)
    found = np.where((false == 0) & (missed == 0), np.inf, found)
    return np.where((false == 0) != (missed == 0), np.nan, found)


def rules(unlearned: npt.ArrayLike, retrained: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """Errors of every single and double threshold: false positives and false negatives, two `(R,)` counts.

    A rule says "unlearned" within an interval of values, or outside of it; one that is open at an end is a single
    threshold.

    Args:
        unlearned: Value of N unlearned models on one example, `(N,)`.
        retrained: That of M retrained models, `(M,)`.
    """
    own, other = np.sort(vector(unlearned, "unlearned")), np.sort(vector(retrained, "retrained"))
    edges = np.append(np.unique(np.concatenate([own, other])), np.inf)
    below = [np.searchsorted(side, edges, side="left") for side in (own, other)]
    first, last = np.triu_indices(len(edges), k=1)
    caught, alarms = (counts[last] - counts[first] for counts in below)
    positives = np.concatenate([alarms, len(other) - alarms])
    return positives, np.concatenate([len(own) - caught, caught])


def example_epsilon(
    unlearned: npt.ArrayLike, retrained: npt.ArrayLike, *, delta: float = DELTA, level: float | None = None
) -> float:
    """Largest epsilon that a rule shows on one example, 0 or more; lower is better.

    Args:
        unlearned: Value (phi) of N unlearned models, `(N,)`.
        retrained: That of M retrained models, `(M,)`.
        delta: The delta of (epsilon, delta).
        level: Take each rule's rates at the upper ends of their Clopper-Pearson intervals of this coverage, which
            prove the least; None takes them as measured.
    """
    n, m = len(np.atleast_1d(unlearned)), len(np.atleast_1d(retrained))
    alarms, missed = rules(unlearned, retrained)
    if level is None:
        found = epsilon(alarms / m, missed / n, delta=delta)
    else:
        found = epsilon(_upper(m, level)[alarms], _upper(n, level)[missed], delta=delta)
    return float(np.nanmax(found, initial=0.0))


def points(epsilons: npt.ArrayLike) -> FloatArray:
    """`H(eps) = 2 / 2^n`, `n = min(13, floor(eps / .5) + 1)`: 1 below .5, half as much for each .5 more, `(X,)`."""
    values = vector(epsilons, "epsilons", finite=False)
    return 2 / 2.0 ** np.minimum(np.floor(np.minimum(values, STEP * BINS) / STEP) + 1, BINS)


def forgetting(
    unlearned: npt.ArrayLike, retrained: npt.ArrayLike, *, delta: float = DELTA, level: float = 0.95
) -> Forgetting:
    """Forgetting quality F, the mean of H over the forget examples, in 2^-12..1; higher is better.

    Args:
        unlearned: Rescaled logits of N unlearned models on X forget examples, `(N, X)`.
        retrained: Those of M retrained models, `(M, X)`.
        delta: The delta of (epsilon, delta).
        level: Coverage of the intervals of `bound`.

    Raises:
        InputError: Numbers of examples that differ, or a value that is not finite.
    """
    own, other = matrix(unlearned, "phi of unlearned models"), matrix(retrained, "phi of retrained models")
    if own.shape[1] != other.shape[1]:
        raise InputError(f"forgetting: {own.shape[1]} and {other.shape[1]} examples; ask both sides for the same.")
    pairs = list(zip(own.T, other.T, strict=True))
    told = np.array([example_epsilon(a, b, delta=delta) for a, b in pairs])
    sure = np.array([example_epsilon(a, b, delta=delta, level=level) for a, b in pairs])
    return Forgetting(float(points(told).mean()), float(points(sure).mean()), told)


def forgetting_score(
    quality: float, retain: float, retain_retrained: float, test: float, test_retrained: float
) -> float:
    """The competition's score `F (RA / RA_retrained) (TA / TA_retrained)`, 0 or more; higher is better.

    Args:
        quality: Forgetting quality F, in 0..1.
        retain: Accuracy of the unlearned models on the retain set, in 0..1.
        retain_retrained: That of the retrained models.
        test: Accuracy of the unlearned models on the test set, in 0..1.
        test_retrained: That of the retrained models.

    Raises:
        InputError: Retrained models that are never right.
    """
    if min(retain_retrained, test_retrained) <= 0:
        raise InputError("forgetting score: the retrained models are never right; check their training.")
    return quality * retain / retain_retrained * test / test_retrained


def _upper(trials: int, level: float) -> FloatArray:
    """Upper end of the Clopper-Pearson interval of 0 to `trials` hits, `(trials + 1,)`."""
    from scipy.stats import beta

    hits = np.arange(trials)
    return np.append(beta.ppf((1 + level) / 2, hits + 1, trials - hits), 1.0)
