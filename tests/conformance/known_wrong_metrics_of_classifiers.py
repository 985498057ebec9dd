"""Scores of unlearned classifiers that public code or tables are known to get wrong, written from their description.

Each stands here to be rejected by test_known_wrong_metrics_of_classifiers.py.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def epsilon_without_dropping(fpr: float, fnr: float, delta: float = 1e-5) -> float:
    """A rule that never errs on one side taken for a proof: a single lucky model makes epsilon infinite."""
    with np.errstate(divide="ignore"):
        return float(max(np.log((1 - delta - fpr) / np.float64(fnr)), np.log((1 - delta - fnr) / np.float64(fpr))))


def points_by_rounding(epsilon: float) -> float:
    """H by the nearest bin in the place of the one below."""
    return 2 / 2.0 ** min(13, round(epsilon / 0.5) + 1)


def forgetting_of_single_thresholds(unlearned: npt.ArrayLike, retrained: npt.ArrayLike) -> float:
    """Only rules of one threshold: a model whose confidence became erratic passes for a retrained one."""
    own, other = np.asarray(unlearned), np.asarray(retrained)
    best = 0.0
    for threshold in np.concatenate([own, other]):
        for says_own, says_other in ((own > threshold, other > threshold), (own <= threshold, other <= threshold)):
            fpr, fnr = says_other.mean(), (~says_own).mean()
            if 0 < fpr < 1 and 0 < fnr < 1:
                best = max(best, float(np.log((1 - 1e-5 - fpr) / fnr)), float(np.log((1 - 1e-5 - fnr) / fpr)))
    return best


def mean_loss_of_batch_means(losses: Sequence[float], size: int) -> float:
    """MUFAC's notebooks: batch means are summed and divided by the number of samples, 1 / size of the mean."""
    means = [np.mean(losses[start : start + size]) for start in range(0, len(losses), size)]
    return float(np.sum(means) / len(losses))


def attack_without_its_side(m: float) -> float:
    """The README's "MIA" row: |accuracy - .5|, printed where an accuracy is expected."""
    return abs(m - 0.5)


def efficacy_as_member_rate(retain: npt.ArrayLike, test: npt.ArrayLike, forget: npt.ArrayLike) -> float:
    """MIA-efficacy counts who passes for unseen; read as a member rate its sign is turned."""
    from sklearn.svm import SVC

    members = np.asarray(retain)[: len(np.asarray(test))]
    rows = np.concatenate([members, np.asarray(test)])[:, None]
    told = SVC(C=3, gamma="auto").fit(rows, np.repeat([1, 0], [len(members), len(np.asarray(test))]))
    return float(told.predict(np.asarray(forget)[:, None]).mean())


def zrf_against_1(p: npt.ArrayLike, p_untrained: npt.ArrayLike, p_retrained: npt.ArrayLike) -> float:
    """Distance of ZRF from 1: a retrained model, which predicts something, would have failed to forget."""
    a, b = np.asarray(p), np.asarray(p_untrained)
    m = (a + b) / 2
    return float(((a * np.log2(a / m) + b * np.log2(b / m)).sum(axis=1) / 2).mean())


def lira_of_probabilities(p: float, inside: npt.ArrayLike, outside: npt.ArrayLike) -> float:
    """LiRA's Gaussians fitted to the confidence itself, which is anything but normal near 1."""
    held, free = np.asarray(inside), np.asarray(outside)
    return float(
        -0.5 * ((p - np.median(held)) / held.std()) ** 2 - np.log(held.std())
        + 0.5 * ((p - np.median(free)) / free.std()) ** 2 + np.log(free.std())
    )  # fmt: skip
