"""Parametric knowledge traces: whether the concept that a value vector writes is still there (arXiv 2406.11614).

A value vector v (D,) is a column of an MLP's output projection; the output embedding E (V, D) reads it as V scores,
E v, and the best scored tokens are its trace. All functions want the float32 weights of both models in one basis:
folding a norm or quantising moves v without touching what is known.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lethe.errors import InputError
from lethe.scoring.arrays import FloatArray, IntArray, matrix, same_shape, vector

LARGEST_TRACE = 200
WEAKEST = 0.5  # share of a layer's vectors that is not read: those that write least into the vocabulary
STOP_WORDS = frozenset(  # English words that are nobody's own
    re.findall(
        r"\w+",
        """a about after all also an and any are as at be been but by can could did do does each for from had has have
        he her his how i if in into is it its many may more most my no nor not of on one only or other our out over she
        so some such than that the their them then there these they this those through to under up was we were what
        when where which while who whom why will with without would you your""",
    )
)


class Trace(NamedTuple):
    """How far a value vector moved. Low jaccard, cosine and retention speak for removal; distances alone do not.

    jaccard: shared part of the two lists of top tokens, 0 to 1; 0 by definition where `erased`.
    cosine: of the vectors, -1 to 1; 0 by definition where `erased`.
    distance: L2 of the change; `relative_distance` the same over the length of the original.
    retention: share of the concept's own tokens in the old trace that the new one still holds; None without any.
    erased: the new vector is all zeros, so that its trace would be an arbitrary list.
    """

    jaccard: float
    cosine: float
    distance: float
    relative_distance: float
    retention: float | None
    erased: bool


def trace_size(vocabulary: int) -> int:
    """Length of a trace: 200 tokens, or a twentieth of a small vocabulary, at least 1."""
    return max(1, min(LARGEST_TRACE, vocabulary // 20))


def top_tokens(embedding: npt.ArrayLike, value: npt.ArrayLike, k: int | None = None) -> IntArray:
    """The k tokens (k,) that a value vector raises most, best first; of equals the lower id.

    Args:
        embedding: output embedding E, `(V, D)`.
        value: value vector v, `(D,)`.
        k: length of the list; by default `trace_size(V)`.

    Raises:
        InputError: the widths differ, or k is not between 1 and V.
    """
    table, written = matrix(embedding, "output embedding"), vector(value, "value vector")
    if table.shape[1] != len(written):
        raise InputError(f"The value vector has {len(written)} entries but the embedding is {table.shape[1]} wide.")
    k = trace_size(len(table)) if k is None else k
    if not 1 <= k <= len(table):
        raise InputError(f"A trace of {k} tokens cannot be had from a vocabulary of {len(table)}; choose 1 to that.")
    return np.argsort(-(table @ written), kind="stable")[:k].astype(np.int64)


def jaccard(first: Collection[int] | IntArray, second: Collection[int] | IntArray) -> float:
    """|A n B| / |A u B| of two sets of tokens, 0 to 1; two random 200-sets of 32 000 share about .0031."""
    a, b = set(map(int, first)), set(map(int, second))
    return len(a & b) / len(a | b) if a | b else 0.0


def cosine(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Cosine of two vectors, -1 to 1; 0 where one of them is zero."""
    a, b = vector(first, "first vector"), vector(second, "second vector")
    same_shape(a, b, "two value vectors")
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / length, -1, 1)) if length else 0.0


def retention(
    before: Collection[int] | IntArray, after: Collection[int] | IntArray, own: Collection[int]
) -> float | None:
    """|T' n T| / |T|, where T are the concept's own tokens in the old trace and T' the new trace; lower is better.

    Args:
        before: old trace.
        after: new trace.
        own: tokens of the concept's text without those that any text has.

    Returns:
        None where the old trace holds none of them: then the vector never was about the concept.
    """
    concept = set(map(int, before)) & set(map(int, own))
    return len(concept & set(map(int, after))) / len(concept) if concept else None


def trace(
    embedding: npt.ArrayLike,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    *,
    embedding_after: npt.ArrayLike | None = None,
    own: Collection[int] = (),
    k: int | None = None,
) -> Trace:
    """All intrinsic measures of one value vector.

    Args:
        embedding: output embedding of the original model, `(V, D)`.
        before: the vector in the original model, `(D,)`.
        after: the vector in the unlearned model, `(D,)`.
        embedding_after: output embedding of the unlearned model; the original's where it is not given. With tied
            embeddings the trace can move without v: look at both.
        own: the concept's own tokens, for `retention`.
        k: length of the traces.
    """
    old, new = vector(before, "value vector"), vector(after, "value vector")
    same_shape(old, new, "two value vectors")
    distance, length = float(np.linalg.norm(old - new)), float(np.linalg.norm(old))
    erased = not new.any()
    was = top_tokens(embedding, old, k)
    now = [] if erased else top_tokens(embedding if embedding_after is None else embedding_after, new, k)
    return Trace(
        jaccard(was, now), cosine(old, new), distance, distance / length if length else float("inf"),
        retention(was, now, own), erased,
    )  # fmt: skip


def specificity(own: npt.ArrayLike, other: npt.ArrayLike) -> FloatArray:
    """How much each token belongs to one corpus rather than another: the positive part of the log ratio, nats, (V,).

    Args:
        own: counts of every token in the concept's texts, `(V,)`; both corpora are smoothed by one occurrence each.
        other: counts in the other texts, `(V,)`.
    """
    a, b = vector(own, "token counts"), vector(other, "token counts")
    same_shape(a, b, "two counts of tokens")
    ratio = np.log((a + 1) / (a.sum() + len(a))) - np.log((b + 1) / (b.sum() + len(b)))
    return np.where(a > 0, np.maximum(ratio, 0.0), 0.0)


def overlap(scores: npt.ArrayLike, weights: npt.ArrayLike, k: int | None = None) -> FloatArray:
    """How well the traces of n value vectors name a concept: mean weight of their top tokens, (n,); higher is more.

    Args:
        scores: vocabulary projections E V of the vectors, `(V, n)`.
        weights: how much each token belongs to the concept (`specificity`, or 1 for its tokens), `(V,)`.
        k: length of the traces.
    """
    table, worth = matrix(scores, "vocabulary projections"), vector(weights, "token weights")
    if len(table) != len(worth):
        raise InputError(f"There are weights for {len(worth)} tokens, but projections on {len(table)}.")
    k = trace_size(len(table)) if k is None else k
    top = np.argpartition(-table, k - 1, axis=0)[:k]
    return worth[top].mean(axis=0)


def legible(scores: npt.ArrayLike, weights: npt.ArrayLike, k: int | None = None) -> FloatArray:
    """`overlap` of a layer's n vectors, -1 for the half that writes least into the vocabulary, (n,).

    How much a vector writes is the mean of its 20 highest scores.

    Args:
        scores: vocabulary projections E V of the vectors, `(V, n)`.
        weights: how much each token belongs to the concept, `(V,)`.
        k: length of the traces.
    """
    table = matrix(scores, "vocabulary projections")
    highest = min(20, len(table))
    strength = np.partition(table, -highest, axis=0)[-highest:].mean(axis=0)
    return np.where(strength >= np.quantile(strength, WEAKEST), overlap(table, weights, k), -1.0)
