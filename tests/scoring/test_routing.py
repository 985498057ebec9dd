"""Numbers about routing, against the paper's examples and against their definitions."""

import numpy as np
import pytest

from lethe.errors import InputError
from lethe.scoring.routing import activation_rate, affinity, affinity_ranks, selection_overlap, top_stability

SHORT = [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]]
LONG = [[0.1, 0.9, 0.0]] * 6


def test_affinity_takes_the_mean_of_each_sequence_first():
    assert affinity([SHORT, LONG]) == pytest.approx([0.475, 0.525, 0.0], abs=1e-12)
    pooled = affinity([[*SHORT, *LONG]])
    assert pooled == pytest.approx([0.2875, 0.7125, 0.0], abs=1e-12)  # what token pooling would give
    both = affinity(np.stack([sequence, sequence]) for sequence in (np.array(SHORT), np.array(LONG)))
    assert both.shape == (2, 3) and both[1] == pytest.approx([0.475, 0.525, 0.0])
    for empty in ([], [np.zeros((0, 3))]):
        with pytest.raises(InputError, match="could be counted"):
            affinity(empty)


def test_ranks_run_over_all_layers_and_the_first_of_equals_comes_first():
    assert affinity_ranks([[0.1, 0.5, 0.2], [0.5, 0.0, 0.9]]).tolist() == [[5, 2, 4], [3, 6, 1]]


def test_overlap_counts_the_experts_that_tokens_still_visit():
    before = np.array([[0.6, 0.4, 0, 0], [0.6, 0.4, 0, 0], [0, 0, 0.5, 0.5]])
    after = np.array([[0.1, 0.9, 0, 0], [0, 0.4, 0.6, 0], [0.5, 0.5, 0, 0]])
    assert selection_overlap(before, before) == 1
    assert selection_overlap(before, after) == pytest.approx((1 + 0.5 + 0) / 3)
    assert selection_overlap([before, before], [after, before]) == pytest.approx([0.5, 1])
    with pytest.raises(InputError, match="same tokens"):
        selection_overlap(before, after[:2])


def test_the_activation_rate_is_the_share_of_tokens():
    assert activation_rate([[0.6, 0.4, 0], [0.9, 0, 0.1], [0.5, 0.5, 0]]) == pytest.approx([1, 2 / 3, 1 / 3])


def test_stability_compares_sets_not_orders():
    first, second = [[9, 8, 7, 1, 0], [1, 2, 3, 4, 5]], [[7, 9, 8, 0, 1], [5, 4, 3, 2, 1]]
    assert top_stability(first, second, count=3) == pytest.approx([1, 1 / 3])
    assert top_stability(first, first, count=5) == pytest.approx([1, 1])
    for count in (0, 6):
        with pytest.raises(InputError, match=f"count is {count}; choose 1 to 5"):
            top_stability(first, second, count=count)
