"""Intrinsic measures of value vectors: closed forms, invariances, and what must not count as removal."""

import numpy as np
import pytest

from lethe.errors import InputError
from lethe.scoring.traces import cosine, jaccard, overlap, retention, specificity, top_tokens, trace, trace_size

RNG = np.random.default_rng(0)
EMBEDDING = RNG.normal(size=(1000, 64))
VALUE = RNG.normal(size=64)


def unit_rows(rng: np.random.Generator, tokens: int, width: int) -> np.ndarray:
    rows = rng.normal(size=(tokens, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_jaccard_of_lists():
    assert jaccard(range(200), range(100, 300)) == pytest.approx(1 / 3)
    assert jaccard(range(200), range(200)) == 1
    assert jaccard(range(200), range(200, 400)) == 0
    drawn = [jaccard(*(RNG.choice(32_000, 200, replace=False) for _ in range(2))) for _ in range(200)]
    assert np.mean(drawn) == pytest.approx(0.0031, abs=6e-4)


def test_scaling_moves_the_vector_and_nothing_that_it_says():
    doubled = trace(EMBEDDING, VALUE, 2 * VALUE)
    assert doubled.cosine == pytest.approx(1)
    assert doubled.jaccard == 1
    assert doubled.distance == pytest.approx(np.linalg.norm(VALUE))
    assert doubled.relative_distance == pytest.approx(1)


def test_an_edit_elsewhere_leaves_the_whole_trace():
    """What only touches a late bias or attention is suppression: the vector is bit for bit what it was."""
    same = trace(EMBEDDING, VALUE, VALUE, own=top_tokens(EMBEDDING, VALUE)[:7].tolist())
    assert (same.jaccard, same.cosine, same.distance, same.retention, same.erased) == (1, pytest.approx(1), 0, 1, False)


def test_a_zeroed_vector_has_no_trace():
    gone = trace(EMBEDDING, VALUE, np.zeros(64), own=top_tokens(EMBEDDING, VALUE)[:7].tolist())
    assert (gone.jaccard, gone.cosine, gone.retention, gone.erased) == (0, 0, 0, True)
    assert gone.relative_distance == pytest.approx(1)


@pytest.mark.parametrize(("width", "length", "expected"), [(4096, 6.3996, 0.1544), (64, 0.797, 0.7809)])
def test_fixed_noise_is_an_ablation_only_where_the_model_is_wide(width: int, length: float, expected: float):
    """v of length 1 plus N(0, .1^2): cosine ||v|| / sqrt(||v||^2 + .01 d), and E||n|| = .1 sqrt(d) to 1 / (4 d)."""
    assert 0.1 * np.sqrt(width) * (1 - 1 / (4 * width)) == pytest.approx(length, abs=2e-4)
    rng = np.random.default_rng(1)
    value = unit_rows(rng, 1, width)[0]
    noise = 0.1 * rng.normal(size=(2000, width))
    assert np.linalg.norm(noise, axis=1).mean() == pytest.approx(0.1 * np.sqrt(width) * (1 - 1 / (4 * width)), rel=5e-3)
    assert np.mean([cosine(value, value + n) for n in noise]) == pytest.approx(expected, abs=5e-3)


def test_a_tied_embedding_can_move_the_trace_without_the_vector():
    moved = trace(EMBEDDING, VALUE, VALUE, embedding_after=RNG.normal(size=EMBEDDING.shape))
    assert moved.distance == 0
    assert moved.jaccard < 0.3
    assert trace(EMBEDDING, VALUE, VALUE).jaccard == 1


def test_retention_counts_the_concepts_own_tokens():
    assert retention([1, 2, 3, 4], [3, 4, 5, 6], own=[2, 3, 9]) == 0.5
    assert retention([1, 2], [1, 2], own=[7]) is None  # nothing of the concept to lose; no division by zero


def test_a_planted_concept_is_read_back():
    """The sum of four tokens' embeddings holds them in its trace; thirty do not fit into 64 numbers."""
    found = {4: 0, 30: 0}
    for seed in range(50):
        rng = np.random.default_rng(seed)
        embedding = unit_rows(rng, 1000, 64)
        for size in found:
            planted = rng.choice(1000, size, replace=False)
            found[size] += set(planted) <= set(top_tokens(embedding, embedding[planted].sum(0)).tolist())
    assert found[4] >= 49
    assert found[30] == 0


def test_how_much_of_a_concept_a_vector_can_hold():
    """Shares of the planted tokens that are read back, at 64 numbers a vector."""

    def share(tokens: int, size: int, *, upright: bool = False) -> float:
        found = []
        for seed in range(50):
            rng = np.random.default_rng(seed)
            embedding = unit_rows(rng, tokens, 64)
            planted = rng.choice(tokens, size, replace=False)
            if upright:  # the planted ones alone are orthonormal
                embedding[planted] = np.linalg.qr(rng.normal(size=(64, 64)))[0][:size]
            read = top_tokens(embedding, embedding[planted].sum(0))
            found.append(len(set(planted) & set(read)) / size)
        return float(np.mean(found))

    assert share(256, 4) > 0.99  # a trace of 12
    assert share(1000, 30) == pytest.approx(0.4, abs=0.05)
    assert share(1000, 30, upright=True) < 0.05
    everything = np.eye(64)  # one token a direction
    assert set(top_tokens(everything, everything[:12].sum(0), 12)) == set(range(12))


def test_the_vector_that_names_the_concept_overlaps_most():
    rng = np.random.default_rng(3)
    embedding = unit_rows(rng, 1000, 64)
    own = np.zeros(1000)
    own[rng.choice(1000, 4, replace=False)] = 5
    values = rng.normal(size=(64, 40))
    values[:, 11] = embedding[own > 0].sum(0)
    weights = specificity(own, np.ones(1000))
    assert ((weights > 0) == (own > 0)).all()
    assert overlap(embedding @ values, weights).argmax() == 11


def test_permuting_hidden_units_moves_the_scores_with_them():
    scores, weights = RNG.normal(size=(300, 20)), RNG.random(300)
    order = RNG.permutation(20)
    assert np.allclose(overlap(scores[:, order], weights), overlap(scores, weights)[order])


def test_sizes_and_mistakes():
    assert (trace_size(32_000), trace_size(1000), trace_size(10)) == (200, 50, 1)
    with pytest.raises(InputError, match="64 wide"):
        top_tokens(EMBEDDING, np.ones(3))
    with pytest.raises(InputError, match="trace of 2000"):
        top_tokens(EMBEDDING, VALUE, 2000)
    with pytest.raises(InputError, match="weights for 3"):
        overlap(np.ones((4, 2)), np.ones(3))
