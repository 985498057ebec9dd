"""Hubble's statistics of memorisation (arXiv 2510.19811): duplicates, dilution, order of insertion."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, ragged, same_shape, vector
from lethe.scoring.roc import auc

LEVELS = (0, 1, 4, 16, 64, 256)
PROPORTIONS = (10, 10, 5, 2, 1)  # texts at 1, 4, 16, 64 and 256 copies
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


class Dose(NamedTuple):
    """`score(d) = floor + (ceiling - floor) / (1 + (half / d)^slope)` of d copies, as fitted; `error` is the RMS.

    half: copies at which half of what can be memorised is. slope: steepness over the logarithm of the copies.
    """

    half: float
    slope: float
    floor: float
    ceiling: float
    error: float

    def at(self, copies: npt.ArrayLike) -> FloatArray:
        """Fitted score of each number of copies, `(N,)`."""
        return _dose(vector(copies, "copies"), np.log(self.half), self.slope, self.floor, self.ceiling)


class Dilution(NamedTuple):
    """A corpus against a larger one with the same insertions.

    ratio: score in the small over that in the large corpus at the level where they differ most. level: that level.
    more_copies: how many times as many copies the large corpus needs for half of the memorisation.
    """

    ratio: float
    level: int
    more_copies: float


class Ordering(NamedTuple):
    """What is left of texts inserted early, as a share of those inserted last; `above` without the floor."""

    share: float
    above: float


class Distances(NamedTuple):
    """Of an unlearned model: to the standard model on the target texts, to the perturbed one on those to be kept."""

    target: float
    keep: float


def allocate(texts: int, proportions: Sequence[int] = PROPORTIONS) -> list[int]:
    """Number of texts at each level above 0, each share rounded to the nearest.

    Args:
        texts: texts to be inserted at least once.
        proportions: relative sizes of the levels.

    Raises:
        InputError: no text, or a proportion that is not positive.
    """
    if texts < 1 or not proportions or min(proportions) <= 0:
        raise InputError(f"insertion levels: {texts} texts in proportions {proportions}; both must be positive.")
    return [int(np.floor(texts * share / sum(proportions) + 0.5)) for share in proportions]


def fit_dose(copies: npt.ArrayLike, scores: npt.ArrayLike, *, ceiling: float = 1.0) -> Dose:
    """Memorisation against the number of copies; the floor is the mean score of level 0.

    Args:
        copies: copies of each text or level, `(N,)`, with some at 0.
        scores: memorisation of each, `(N,)`, such as accuracy or recall in 0..1.
        ceiling: score of a text that is fully memorised.

    Raises:
        InputError: no level 0, fewer than two levels above it, or scores that do not rise above the floor.
    """
    from scipy.optimize import least_squares

    at, found = vector(copies, "copies"), vector(scores, "memorisation scores")
    same_shape(at, found, "copies and scores")
    if not (at == 0).any() or len(np.unique(at[at > 0])) < 2 or (at < 0).any():
        raise InputError(f"dose: copies {np.unique(at).tolist()}; insert at level 0 and at two levels above it.")
    floor = float(found[at == 0].mean())
    if found[at > 0].max() <= floor or ceiling <= floor:
        raise InputError(f"dose: no score rises above that of level 0, {floor:.6g}; nothing was memorised.")
    used, largest = at > 0, float(np.log(at.max()))

    def residuals(parameters: FloatArray) -> FloatArray:
        return _dose(at[used], parameters[0], parameters[1], floor, ceiling) - found[used]

    fit = least_squares(residuals, [largest / 2, 1.0], bounds=([-5.0, 0.05], [largest + 7.0, 20.0]))
    error = float(np.sqrt(np.mean(fit.fun**2)))
    return Dose(float(np.exp(fit.x[0])), float(fit.x[1]), floor, ceiling, error)


def dilution(levels: npt.ArrayLike, small: npt.ArrayLike, large: npt.ArrayLike) -> Dilution:
    """What a larger corpus does to memorisation at the same number of copies; a ratio above 1 dilutes.

    Args:
        levels: copies of each level, `(L,)`, with 0 among them.
        small: score of each level in the small corpus, `(L,)`.
        large: that in the large corpus, `(L,)`.

    Raises:
        InputError: shapes that differ, or curves that cannot be fitted.
    """
    at, few, many = vector(levels, "levels"), vector(small, "small corpus"), vector(large, "large corpus")
    same_shape(at, few, "levels and scores of the small corpus")
    same_shape(at, many, "levels and scores of the large corpus")
    steepest = int(np.argmax(np.where(at > 0, few - many, -np.inf)))
    ratio = float(few[steepest] / many[steepest]) if many[steepest] > 0 else float("inf")
    return Dilution(ratio, int(at[steepest]), fit_dose(at, many).half / fit_dose(at, few).half)


def ordering(early: float, late: float, *, floor: float = 0.0) -> Ordering:
    """Score at the end of training of texts inserted early, relative to texts inserted last.

    Args:
        early: score of texts inserted in an early part of training alone.
        late: score of texts inserted in the last part.
        floor: score of texts that were never inserted.

    Raises:
        InputError: late insertion shows no memorisation either.
    """
    if late <= max(floor, 0.0):
        raise InputError(
            f"ordering: late texts score {late:.6g}, no more than the floor {floor:.6g}; insert them more."
        )
    return Ordering(early / late, (early - floor) / (late - floor))


def largest_fall(scores: npt.ArrayLike) -> float:
    """Largest drop from one level to the next, 0 where scores never fall as copies grow."""
    return float(max(0.0, -np.diff(vector(scores, "scores by level"), prepend=-np.inf).min()))


def level_auc(scores: Mapping[int, npt.ArrayLike]) -> dict[int, float]:
    """AUC of telling the texts of each level from those of level 0, which are the same kind of text by construction.

    Args:
        scores: membership scores by number of copies, high = member, `{copies: (n,)}`.

    Raises:
        InputError: no level 0.
    """
    if 0 not in scores:
        raise InputError("membership by level: there is no level 0; keep some texts of the set out of training.")
    return {level: auc(values, scores[0]) for level, values in sorted(scores.items()) if level}


def per_byte(logp: Sequence[npt.ArrayLike], texts: Sequence[str]) -> FloatArray:
    """Log-likelihood over the bytes of the text, `(N,)` nats per byte ("Norm LL").

    Args:
        logp: log-probability of every scored token, N arrays `(T_i,)`, in nats.
        texts: the texts, none empty.
    """
    totals = np.array([item.sum() for item in ragged(logp, "token log-probabilities")])
    sizes = np.array([len(text.encode()) for text in texts], dtype=np.float64)
    same_shape(totals, sizes, "scores and texts")
    if (sizes == 0).any():
        raise InputError(f"nats per byte: text {int(np.argmax(sizes == 0))} is empty; leave it out.")
    return totals / sizes


def word_recall(output: str, references: Sequence[str]) -> float:
    """Share of the truth's words in the output, as multisets, best of the references, in 0..1.

    Words are lower-cased, without punctuation and articles.

    Raises:
        InputError: no reference, or one without a word.
    """
    said, truths = _words(output), [_words(reference) for reference in references]
    if isinstance(references, str) or not truths or not all(truths):
        raise InputError("word recall: a reference is missing or holds no word; give a list of true answers.")
    return max((said & truth).total() / truth.total() for truth in truths)


def preference(first: npt.ArrayLike, second: npt.ArrayLike, inserted_second: npt.ArrayLike) -> FloatArray:
    """1 where the inserted sentence of a pair is the likelier one, `(N,)`; a tie counts one half, chance is .5.

    Args:
        first: summed log-probability of the first sentence, `(N,)` nats.
        second: that of the second, `(N,)` nats.
        inserted_second: the stored random bit: whether the second one was inserted, `(N,)`.
    """
    a, b = vector(first, "first sentences"), vector(second, "second sentences")
    bit = vector(inserted_second, "inserted sentence") > 0
    same_shape(a, b, "pairs")
    if bit.shape != a.shape:
        raise InputError(f"preference: {len(a)} pairs but {len(bit)} bits; store one bit per pair.")
    return np.where(a == b, 0.5, (b > a) == bit)


def unlearning_distances(
    *,
    target: npt.ArrayLike,
    target_standard: npt.ArrayLike,
    keep: npt.ArrayLike,
    keep_perturbed: npt.ArrayLike,
) -> Distances:
    """Mean distance from the ideal: the standard model on the target texts, the perturbed one on the rest; 0 is best.

    Args:
        target: scores of the unlearned model on texts to be forgotten, `(N,)`.
        target_standard: those of the model that never saw insertions, `(N,)`.
        keep: scores of the unlearned model on other inserted texts of the same set, `(M,)`.
        keep_perturbed: those of the model that saw the insertions, `(M,)`.
    """
    pairs = []
    for own, other, what in ((target, target_standard, "target texts"), (keep, keep_perturbed, "kept texts")):
        a, b = vector(own, what), vector(other, what)
        same_shape(a, b, what)
        pairs.append(float(np.abs(a - b).mean()))
    return Distances(*pairs)


def _dose(copies: FloatArray, log_half: float, slope: float, floor: float, ceiling: float) -> FloatArray:
    with np.errstate(divide="ignore"):
        return floor + (ceiling - floor) / (1 + np.exp(slope * (log_half - np.log(copies))))


def _words(text: str) -> Counter[str]:
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return Counter(_ARTICLES.sub(" ", bare).split())
