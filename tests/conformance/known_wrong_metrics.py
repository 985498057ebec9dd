"""Metrics that public code is known to get wrong, written from the descriptions of their defects.

Each stands here to be rejected by test_known_wrong_metrics.py: it must give the wrong number that its defect predicts,
and fail the check that the right implementation passes. Every function has the signature of the one it stands in for.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

Rows = npt.NDArray[np.float64]


def extraction_strength_of_open_unlearning(hits: Sequence[Sequence[bool]]) -> Rows:
    """The loop leaves k = n - 1 where no suffix is right, so a wrong last token still scores 1/n."""
    scores = []
    for item in hits:
        right_from = [k for k in range(len(item)) if all(item[k:])]
        scores.append(1 - min(right_from, default=len(item) - 1) / len(item))
    return np.array(scores)


def exact_memorization_but_last(hits: Sequence[Sequence[bool]]) -> Rows:
    """open-unlearning drops the last labelled token, meaning the end of sequence, where there is none."""
    return np.array([np.mean(item[:-1]) for item in hits], dtype=np.float64)


def truth_ratio_by_the_other_mean(nll_paraphrase: npt.ArrayLike, nll_wrong: npt.ArrayLike) -> Rows:
    """TOFU's utilities module averages probabilities where its logs and its leaderboard average losses."""
    wrong, right = (np.exp(-np.asarray(nll, dtype=np.float64)) for nll in (nll_wrong, nll_paraphrase))
    return wrong.sum(axis=1) / wrong.shape[1] / right


def rouge_recall_without_stemming(outputs: Sequence[str], truths: Sequence[str]) -> Rows:
    """The stemmer's flag left off (bags of words are enough for the case)."""
    pairs = [(Counter(o.lower().split()), Counter(t.lower().split())) for o, t in zip(outputs, truths, strict=True)]
    return np.array([(o & t).total() / t.total() for o, t in pairs])


def rwku_recall_with_folded_case(outputs: Sequence[str], truths: Sequence[str]) -> Rows:
    """RWKU's recall as any ROUGE user would expect it: case folded."""
    pairs = [(set(o.lower().split()), set(t.lower().split())) for o, t in zip(outputs, truths, strict=True)]
    return np.array([len(o & t) / len(t) for o, t in pairs])


def rwku_recall_with_repeats(outputs: Sequence[str], truths: Sequence[str]) -> Rows:
    """RWKU's recall by the ordinary LCS, where repeated words count again."""

    def lcs(a: list[str], b: list[str]) -> int:
        if not a or not b:
            return 0
        return lcs(a[:-1], b[:-1]) + 1 if a[-1] == b[-1] else max(lcs(a[:-1], b), lcs(a, b[:-1]))

    pairs = [(o.split(), t.split()) for o, t in zip(outputs, truths, strict=True)]
    return np.array([lcs(o, t) / len(t) for o, t in pairs])


def utility_by_the_arithmetic_mean(components: Sequence[float]) -> float:
    """A mean that forgives a collapsed component."""
    return float(np.mean(components))


def ks_p_asymptotic(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """The textbook formula; other digits than the exact method, and 0 for disjoint samples."""
    return float(ks_2samp(a, b, method="asymp").pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def auc_with_the_holdout_as_members(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> float:
    """muse_bench's orientation: near 0 where the forget set is memorised."""
    own, other = np.asarray(members)[:, None], np.asarray(nonmembers)[None]
    return float(((own < other) + (own == other) / 2).mean())


def auc_without_ties(members: npt.ArrayLike, nonmembers: npt.ArrayLike) -> float:
    """Ties counted as lost: a constant score looks like a perfect defence."""
    return float((np.asarray(members)[:, None] > np.asarray(nonmembers)[None]).mean())


def privleak_not_turned(auc_model: float, auc_control: float) -> float:
    """Exposure-oriented AUCs put into MUSE's formula as they are: the sign of the verdict turns over."""
    return (auc_model - auc_control) / auc_control * 100


def privleak_unguarded(auc_model: float, auc_control: float) -> float:
    """No look at the reference: the target's own log may stand in for the retrained model's."""
    return ((1 - auc_model) - (1 - auc_control)) / (1 - auc_control) * 100


def min_k_of_nothing(logp: Sequence[Sequence[float]], *, k: float) -> Rows:
    """muse_bench and RWKU: the mean of no token where floor(k n) is 0."""
    worst = [np.sort(item)[: int(len(item) * k)] for item in logp]
    return np.array([item.sum() / len(item) if len(item) else np.nan for item in worst])


def min_k_pp_unclamped(
    logp: Sequence[Sequence[float]], mean: Sequence[Sequence[float]], std: Sequence[Sequence[float]], *, k: float
) -> Rows:
    """0/0 on a uniform distribution."""
    with np.errstate(invalid="ignore"):
        z = [(np.array(x) - m) / s for x, m, s in zip(logp, mean, std, strict=True)]
    return np.array([np.sort(item)[: max(1, int(len(item) * k))].mean() for item in z])


def tpr_interpolated(members: npt.ArrayLike, nonmembers: npt.ArrayLike, fpr: float) -> float:
    """A straight line between the steps of the ROC curve: rates that no threshold reaches."""
    own, other = np.asarray(members), np.asarray(nonmembers)
    thresholds = np.append(np.inf, np.unique(np.concatenate([own, other]))[::-1])
    points = [((other >= t).mean(), (own >= t).mean()) for t in thresholds]
    return float(np.interp(fpr, *np.transpose(points)))


def recovery_without_control(
    *, unlearned: float, attacked: float, original: float, control_before: float, control_after: float
) -> float:
    """Learning the attack's data passes for recovery."""
    return (attacked - unlearned) / (original - unlearned)


def leak_at_k_plugged_in(samples: Sequence[int], leaks: Sequence[int], k: int) -> Rows:
    """`1 - (1 - c/n)^k`: samples drawn with replacement, biased low."""
    return 1 - (1 - np.array(leaks) / np.array(samples)) ** k


def flat_threshold(n_controls: int, n_metrics: int) -> float:
    """Two standard deviations, however few the controls and many the metrics."""
    return 2.0


def ndcg_untruncated(ranking: Sequence[Sequence[int]], relevant: Sequence[Sequence[int]], k: int) -> Rows:
    """CURE4Rec's ideal list holds all relevant items, so a perfect top k scores below 1."""
    discount = 1 / np.log2(np.arange(2, 1002))
    pairs = zip(ranking, relevant, strict=True)
    return np.array([discount[:k] @ np.isin(row[:k], own) / discount[: len(own)].sum() for row, own in pairs])


def recall_as_any_hit(ranking: Sequence[Sequence[int]], relevant: Sequence[Sequence[int]], k: int) -> Rows:
    """The textbook hit rate in the column that CURE4Rec calls HR."""
    return np.array([float(np.isin(row[:k], own).any()) for row, own in zip(ranking, relevant, strict=True)])


def modified_entropy_twice_wrong(p: npt.ArrayLike, labels: Sequence[int]) -> Rows:
    """SVC-MIA: log p stands for log(1 - p), and `[:, labels]` overwrites the columns of every label in the batch."""
    rows = np.asarray(p)
    weights, logs = rows.copy(), np.log(rows)
    weights[:, labels] = 1 - rows[:, labels]
    return -(weights * logs).sum(axis=1)


def zrf_of_ssd(p: npt.ArrayLike, p_untrained: npt.ArrayLike) -> float:
    """KL from the middle instead of to it, natural logs, and a mean over classes as well as items."""
    a, b = np.asarray(p), np.asarray(p_untrained)
    m = (a + b) / 2
    return float(1 - np.mean(m * np.log(m / a) + m * np.log(m / b)) / 2)


def zrf_in_nats(p: npt.ArrayLike, p_untrained: npt.ArrayLike) -> float:
    """The right divergence in the wrong unit: 1 - ln 2 is the least it can be."""
    a, b = np.asarray(p), np.asarray(p_untrained)
    m = (a + b) / 2
    return float(1 - ((a * np.log(a / m) + b * np.log(b / m)).sum(axis=1) / 2).mean())


def all_as_mean_of_levels(target: Mapping[str, Sequence[float]]) -> float:
    """RWKU's "All" taken as the mean of its printed columns."""
    return float(np.mean([np.mean(scores) for scores in target.values()]))


def form_probability_arithmetic(logp: Sequence[npt.ArrayLike]) -> Rows:
    """Token probabilities averaged as they are: one sure token hides an impossible one."""
    return np.array([np.exp(item).mean() for item in logp])


def word_recall_as_sets(output: str, references: Sequence[str]) -> float:
    """Repeated words counted once."""
    said = set(output.lower().split())
    return max(len(said & set(truth.lower().split())) / len(set(truth.lower().split())) for truth in references)


def rescaled_logit_of_rounded_p(loss: npt.ArrayLike) -> Rows:
    """1 - p from p itself: nothing is left of it where a model is sure."""
    p = np.exp(-np.asarray(loss, dtype=np.float64))
    return np.log(p + 1e-45) - np.log(1 - p + 1e-45)


def ratio_share_of_stored_signals(ratio: npt.ArrayLike, population: npt.ArrayLike) -> Rows:
    """TDDBench's stored RMIA score, whose members are low, read as if they were high."""
    return -np.array([(r / np.asarray(population) > 2).mean() for r in np.asarray(ratio)])


def kl_of_raw_logits(control: npt.ArrayLike, model: npt.ArrayLike) -> Rows:
    """muse_bench's retain term: the formula of a divergence on rows that were never normalised."""
    own, other = np.asarray(control), np.asarray(model)
    return (np.exp(own) * (own - other)).sum(axis=1)
