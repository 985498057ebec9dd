"""What can still be done with a model's features, and how far they have gone from the original's to a retrained one's.

Logits of a forgotten class can be made right by a change to the last layer alone; the features behind it are what a
later task is built on (arXiv 2503.06991). Accuracies of features are read against a retrained model's, never against 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix, vector
from lethe.scoring.similarity import jackknife_error, jackknifed

SPLIT_SEED = 2  # of arXiv 2503.06991
FITTED = 0.8  # share of the records that a classifier of features is fitted on
LEAST = 50  # records: a fifth of fewer says nothing
RIDGE = 1e-6  # of the rotation: what the fitting half does not reach stays as it is
SURE = 2.0  # standard errors by which the original must be farther from the controls than they are from each other
OPEN = 0.05  # smallest gap between two accuracies that can be closed
MASKED, UNTOUCHED = 0.9, 0.1  # shares of the gaps in accuracy and representation between which an edit is superficial


class Gap(NamedTuple):
    """How much farther the original is from the controls than they are from each other, with its standard error."""

    value: float
    error: float

    @property
    def told_apart(self) -> bool:
        """Whether retraining has changed the representations by more than another seed does."""
        return self.value > SURE * self.error


def divided(count: int, seed: int = SPLIT_SEED) -> tuple[IntArray, IntArray]:
    """Four fifths of the records to fit on and the others to test on, drawn as torch draws them.

    Raises:
        InputError: fewer than 50 records.
    """
    import torch

    if count < LEAST:
        raise InputError(
            f"a classifier of features needs {LEAST} records or more, a fifth of them to test; here {count}."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).numpy()
    cut = int(FITTED * count)
    return order[:cut], order[cut:]


def knn_hits(features: npt.ArrayLike, labels: Sequence[object], *, k: int = 5, seed: int = SPLIT_SEED) -> FloatArray:
    """1 where the k nearest neighbours by cosine name a tested record's label, 0 elsewhere; ties to the smallest label.

    Both halves are of one set; as `KNeighborsClassifier(n_neighbors=5, metric="cosine")` in arXiv 2503.06991.

    Args:
        features: `(N, D)`.
        labels: N of them.
        k: neighbours.
        seed: seed of the division.

    Returns:
        One hit per tested record, `(N / 5,)`.

    Raises:
        InputError: fewer than 50 records, or fewer to fit on than k.
    """
    from sklearn.neighbors import KNeighborsClassifier

    rows, numbers = _labelled(features, labels)
    fitted, tested = divided(len(rows), seed)
    if not 1 <= k <= len(fitted):
        raise InputError(f"k is {k}; it must lie between 1 and the {len(fitted)} records that are fitted.")
    found = KNeighborsClassifier(n_neighbors=k, metric="cosine", weights="uniform", algorithm="brute")
    found.fit(rows[fitted], numbers[fitted])
    return np.asarray(found.predict(rows[tested]) == numbers[tested], dtype=np.float64)


def probe_hits(features: npt.ArrayLike, labels: Sequence[object], *, seed: int = SPLIT_SEED) -> FloatArray:
    """1 where a logistic regression on standardised features names a record's label, 0 elsewhere; NaN if not tested.

    Args:
        features: `(N, D)`.
        labels: N of them; at least two differ.
        seed: seed of the division.

    Returns:
        `(N,)`, one hit per tested record and NaN for those that were fitted on.

    Raises:
        InputError: fewer than 50 records, or a single label to fit on.
    """
    from sklearn.linear_model import LogisticRegression

    rows, numbers = _labelled(features, labels)
    fitted, tested = divided(len(rows), seed)
    if len(np.unique(numbers[fitted])) < 2:
        raise InputError("a linear classifier of features needs records of two labels; all have one.")
    spread = rows[fitted].std(0)
    scaled = (rows - rows[fitted].mean(0)) / np.where(spread > 1e-6 * (np.abs(rows).max(0) + 1e-12), spread, np.inf)
    model = LogisticRegression(max_iter=500).fit(scaled[fitted], numbers[fitted])
    hits = np.full(len(rows), np.nan)
    hits[tested] = model.predict(scaled[tested]) == numbers[tested]
    return hits


def aligned_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> FloatArray:
    """How far each record's features lie from another model's, once these are rotated onto them, `(N,)`.

    Half of the squared distance after the best orthogonal map, both sides centred and of mean squared length 1: the
    mean is 0 for equal geometry and 1 for unrelated features. The map is found on one half of the records and applied
    to the other, and the other way round: fitted to the very records that are scored it would bring anything together
    that is wider than the records are many.

    Args:
        a: features of one model, `(N, D)`.
        b: of the other, `(N, E)`; the narrower is filled up with zeros.

    Raises:
        InputError: other records in `b`, fewer than four, or features that do not differ between records.
    """
    own, other = matrix(a, "features"), matrix(b, "features")
    if len(own) != len(other) or len(own) < 4:
        raise InputError(f"features of {len(own)} and {len(other)} records; compare the same ones, at least four.")
    width = max(own.shape[1], other.shape[1])
    own, other = (_scaled(np.pad(rows, ((0, 0), (0, width - rows.shape[1])))) for rows in (own, other))
    items = np.empty(len(own))
    for fold in (0, 1):
        here = np.arange(len(own)) % 2 == fold
        cross = own[~here].T @ other[~here]
        left, _, right = np.linalg.svd(cross + RIDGE * np.linalg.norm(cross) * np.eye(width))
        items[here] = np.square(own[here] @ (left @ right) - other[here]).sum(1) / 2
    return items


def likeness_gap(original: Sequence[npt.ArrayLike] | npt.ArrayLike, controls: Sequence[npt.ArrayLike]) -> Gap:
    """Mean debiased CKA of controls with each other less that of the original with them; the distance to be closed.

    The standard error holds the spread over records (jackknife) and, of two controls or more, over them.

    Args:
        original: features of the model before unlearning, `(N, D)`.
        controls: the same of retrained models, at least two.
    """
    if len(controls) < 2:
        raise InputError("the distance of two retrained models is the unit; give two controls or more.")
    rows = [np.asarray(one, dtype=np.float64) for one in controls]
    first = np.asarray(original, dtype=np.float64)
    number = range(len(rows))
    pairs = [(rows[i], rows[j]) for i in number for j in number if i < j]
    parted = jackknifed([*pairs, *((first, one) for one in rows)])
    within, beyond = parted[: len(pairs)], parted[len(pairs) :]
    place = {pair: k for k, pair in enumerate((i, j) for i in number for j in number if i < j)}
    own = np.array([
        np.mean([within[place[min(i, j), max(i, j)]].mean() for j in number if j != i]) - beyond[i].mean()
        for i in number
    ])  # fmt: skip
    by_records = jackknife_error(within.mean(0) - beyond.mean(0))
    by_seeds = float(own.std(ddof=1)) / len(rows) ** 0.5
    return Gap(float(own.mean()), float(np.hypot(by_records, by_seeds)))


def accuracy_gap(original: npt.ArrayLike, controls: Sequence[npt.ArrayLike]) -> Gap:
    """Distance of two accuracies of features, the original's from the mean control's, with its standard error.

    Args:
        original: hits of the model before unlearning, `(n,)` of 0 and 1.
        controls: the same of retrained models on the same records, at least two.
    """
    if len(controls) < 2:
        raise InputError("the distance of two retrained models is the unit; give two controls or more.")
    hits, others = vector(original, "hits"), np.array([vector(one, "hits") for one in controls])
    items = hits - others.mean(0)
    by_seeds = float(others.mean(1).std(ddof=1)) * (1 + 1 / len(others)) ** 0.5
    return Gap(abs(float(items.mean())), float(np.hypot(by_seeds, items.std(ddof=1) / len(items) ** 0.5)))


def gap_closed(own: float, original: float, ideal: float = 1.0) -> float:
    """Share of the way from the original's value to the ideal that a model has gone; below 0 the other way.

    With likeness to a retrained model and an ideal of 1 this is G_rep; with the controls' own likeness, 1 is reached by
    a retrained model.

    Raises:
        InputError: the original's value is the ideal: there is no gap.
    """
    if original == ideal:
        raise InputError("the original is where it should go; there is no gap to close.")
    return (own - original) / (ideal - original)


def is_superficial(accuracy_closed: float, representation_closed: float, moved: float) -> bool:
    """Whether the answers went and the representations stayed where they were.

    The gap in forget accuracy is closed by more than 90 %, that in representations by less than 10 %. What has moved
    elsewhere than retraining goes is damaged, not superficial: so it has also moved by less than 10 %.

    Args:
        accuracy_closed: share of the original's forget accuracy beyond the controls' that is gone.
        representation_closed: share of the way to the controls that was gone.
        moved: dissimilarity to the original as a share of the controls'.
    """
    return accuracy_closed > MASKED and representation_closed < UNTOUCHED and moved < UNTOUCHED


def closeness(value: float, retrained: float) -> float:
    """1 less the distance of two accuracies in 0..1, from a model and a retrained one."""
    return 1.0 - abs(value - retrained)


def agl(accuracies: Sequence[float], retrained: Sequence[float]) -> float:
    """Mean closeness of the accuracies on forget and retain rows, seen and unseen; our reading of the paper's AGL."""
    return float(np.mean([closeness(a, r) for a, r in zip(accuracies, retrained, strict=True)]))


def agr(accuracies: Sequence[float], retrained: Sequence[float], likeness: Sequence[float]) -> float:
    """Mean closeness of k-NN accuracies and CKA to a retrained model over downstream sets; our reading of AGR.

    Args:
        accuracies: of k-NN on the model's features, 0..1, one per downstream set.
        retrained: the same of the retrained model.
        likeness: CKA of the two on each set; below 0 it counts as 0.
    """
    near = [closeness(a, r) for a, r in zip(accuracies, retrained, strict=True)]
    return float(np.mean([*near, *(max(0.0, one) for one in likeness)]))


def h_lr(logits: float, representations: float) -> float:
    """Harmonic mean of AGL and AGR, 0..1; 0 where one of them is."""
    both = logits + representations
    return 2 * logits * representations / both if both > 0 else 0.0


def _labelled(features: npt.ArrayLike, labels: Sequence[object]) -> tuple[FloatArray, IntArray]:
    rows = matrix(features, "features")
    if len(labels) != len(rows) or any(label is None for label in labels):
        raise InputError(f"{len(labels)} labels for the features of {len(rows)} records; give each its label.")
    return rows, np.unique(np.asarray(labels), return_inverse=True)[1]


def _scaled(rows: FloatArray) -> FloatArray:
    """Centred, of mean squared length 1."""
    centred = rows - rows.mean(0)
    length = float(np.sqrt(np.square(centred).sum(1).mean()))
    if length <= 1e-6 * (np.abs(rows).max() + 1e-12):
        raise InputError("features do not differ between records; there is nothing to compare.")
    return centred / length
