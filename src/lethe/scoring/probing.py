"""What can be read from hidden states: linear probes against random labels, and candidates of a logit lens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray

RIDGE = 0.1  # share of a feature's variance added to it
FOLDS = 10  # most parts into which the tested groups are cut
PERMUTATIONS = 200  # random labellings
FLAT = 1e-4  # spread of a feature over its size below which it is constant up to rounding


class Probed(NamedTuple):
    """The best of several linear probes.

    hits: share of wrong options that score below the right one, per tested record, `(n,)` in 0..1.
    best: number of the probe, among those given.
    profile: mean hits of every probe.
    null: mean hits of the best probe under random labels, 0..1.
    p: share of random labellings whose best probe does as well, above 0.
    """

    hits: FloatArray
    best: int
    profile: FloatArray
    null: float
    p: float


def answer_vectors(options: Sequence[Sequence[str]]) -> FloatArray:
    """Unit vectors `(N, C, V)` of which trigrams of characters occur in each option; an empty text is 0.

    A linear probe for them is one probe per trigram; what options share takes no part in a comparison.
    """
    bags = [[_trigrams(text) for text in row] for row in options]
    columns = {gram: i for i, gram in enumerate(sorted({gram for row in bags for bag in row for gram in bag}))}
    vectors = np.zeros((len(bags), len(bags[0]), len(columns)))
    for i, row in enumerate(bags):
        for j, bag in enumerate(row):
            vectors[i, j, [columns[gram] for gram in bag]] = len(bag) ** -0.5 if bag else 0.0
    return vectors


def label_vectors(labels: Sequence[int]) -> FloatArray:
    """Unit vectors `(N, C, C)` of the own label and then of every other.

    Raises:
        InputError: all labels are equal: then there is nothing to tell apart.
    """
    known, numbers = np.unique(np.asarray(labels), return_inverse=True)
    if len(known) < 2:
        raise InputError("linear probe: all records have one label; give records of at least two.")
    order = (numbers[:, None] + np.arange(len(known))) % len(known)
    return np.eye(len(known))[order]


def read_out(
    states: FloatArray, groups: Sequence[object], tested: npt.ArrayLike, trained: npt.ArrayLike | None = None
) -> list[FloatArray]:
    """Weights `(N, N)` of one probe per layer: column j says how the labels of the records predict record j's.

    Ridge regression in its dual form on standardised states; no record of j's group is trained on. Columns of records
    that are not tested are 0.

    Args:
        states: hidden states, `(N, L, D)`.
        groups: entity of every record, N of them.
        tested: which records are tested, `(N,)` of bool.
        trained: which may be trained on; all where it is not given.

    Raises:
        InputError: fewer than three groups are tested, or nothing is left to train on.
    """
    chosen, allowed = np.asarray(tested, dtype=bool), np.ones(len(states), dtype=bool)
    allowed = allowed if trained is None else np.asarray(trained, dtype=bool)
    folds = _folds(groups, chosen)
    weights = []
    for layer in np.swapaxes(np.asarray(states, dtype=np.float64), 0, 1):
        spread = layer.std(0)
        told = spread > FLAT * (np.abs(layer).mean(0) + 1e-12)
        scaled = (layer[:, told] - layer[:, told].mean(0)) / spread[told]
        kernel = scaled @ scaled.T / max(scaled.shape[1], 1)
        matrix = np.zeros((len(layer), len(layer)))
        for fold in range(max(folds) + 1):
            away, here = allowed & (folds != fold), chosen & (folds == fold)
            if not away.any():
                raise InputError("linear probe: no record is left to train on; give more records.")
            system = kernel[np.ix_(away, away)] + RIDGE * np.eye(away.sum())
            shares = np.linalg.solve(system, kernel[np.ix_(away, here)])
            matrix[np.ix_(away, here)] = shares - shares.mean(0)  # labels are centred by what is trained on
        weights.append(matrix)
    return weights


def best_probe(weights: Sequence[FloatArray], vectors: FloatArray, tested: npt.ArrayLike, *, seed: int = 0) -> Probed:
    """The probe that tells right from wrong options best, beside the best under random labels (arXiv 1909.03368).

    Random labels exchange the options of whole records, so that they keep their distribution. The best of several
    probes is compared with the best of as many.

    Args:
        weights: `read_out` of every layer, and of every choice of training records.
        vectors: the options of every record, the right one first, `(N, C, V)`.
        tested: which records are tested, `(N,)` of bool.
        seed: seed of the random labels.
    """
    chosen = np.flatnonzero(tested)
    shares = np.stack([matrix[:, chosen].T for matrix in weights], axis=1)  # (n, probes, N)
    count, options, size = vectors.shape
    alike = vectors.reshape(-1, size) @ vectors[:, 0].T
    alike = np.ascontiguousarray(alike.reshape(count, options, count).swapaxes(1, 2))  # j's options, i's answer

    def hits(order: IntArray) -> FloatArray:
        scores = shares @ alike[order[chosen]][:, order]  # (n, probes, C)
        ahead = scores[..., :1] - scores[..., 1:]
        return np.asarray(np.where(np.abs(ahead) < 1e-9, 0.5, ahead > 0).mean(-1)).T  # (probes, n)

    own = hits(np.arange(len(vectors)))
    profile = own.mean(1)
    best = int(profile.argmax())
    rng = np.random.default_rng(seed)
    drawn = np.array([hits(rng.permutation(len(vectors))).mean(1).max() for _ in range(PERMUTATIONS)])
    p = (1 + int((drawn >= profile[best] - 1e-9).sum())) / (1 + PERMUTATIONS)
    return Probed(own[best], best, profile, float(drawn.mean()), p)


def candidates_hit(ranks: npt.ArrayLike, k: int, budget: int) -> FloatArray:
    """1 where the answer's token is among the k first of any list, 0 elsewhere, `(N,)` (arXiv 2505.01456, section 3.4).

    Args:
        ranks: place of the token in every list, 0 is the first, `(N, lists)`.
        k: candidates taken from each list, at least 1.
        budget: most candidates in all.

    Raises:
        InputError: the lists together hold more candidates than the budget, or none.
    """
    places = np.asarray(ranks)
    lists = places.shape[1]
    if k < 1 or lists < 1 or lists * k > budget:
        raise InputError(
            f"lens candidates: {lists} lists of {k} are not 1 to {budget} candidates; choose fewer layers or a "
            "smaller k."
        )
    return np.asarray((places < k).any(axis=1), dtype=np.float64)


def _folds(groups: Sequence[object], tested: npt.NDArray[np.bool_]) -> IntArray:
    """Fold of every record, -1 for groups that are not tested; a group lies in one fold."""
    names = list(dict.fromkeys(group for group, test in zip(groups, tested, strict=True) if test))
    if len(names) < 3:
        raise InputError(
            f"linear probe: the records are of {len(names)} entities; a probe that is trained on some and tested on "
            "others needs at least three."
        )
    place = {name: number % FOLDS for number, name in enumerate(names)}
    return np.array([place.get(group, -1) for group in groups])


def _trigrams(text: str) -> set[str]:
    padded = f" {' '.join(text.lower().split()).strip('.')} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)} if padded.strip() else set()
