import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.losses.tokens import cross_entropy, sequence_nll, token_mean, valid, wide


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 6), st.integers(2, 9))
def test_cross_entropy_is_minus_log_probability_of_the_label(seed: int, rows: int, length: int, vocabulary: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, length, vocabulary, generator=generator, dtype=torch.float64)
    labels = torch.randint(vocabulary, (rows, length), generator=generator)
    labels[torch.rand(rows, length, generator=generator) < 0.3] = -100
    values = cross_entropy(logits, labels)
    for row in range(rows):
        for position, label in enumerate(labels[row].tolist()):
            scores = logits[row, position].tolist()
            expected = 0 if label == -100 else math.log(sum(map(math.exp, scores))) - scores[label]
            assert values[row, position].item() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(sequence_nll(logits, labels), values.sum(1))


def test_sums_of_bfloat16_are_taken_in_float32():
    logits = torch.randn(2, 200, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.zeros(2, 200, dtype=torch.long)
    exact = sequence_nll(logits.double(), labels)
    assert wide(logits).dtype == torch.float32
    assert wide(exact).dtype == torch.float64
    assert (sequence_nll(logits, labels) - exact).abs().max() < 1e-3
    naive = -logits.log_softmax(-1)[..., 0].sum(1)
    assert (naive - exact).abs().max() > 1e-2  # what the widening is for


def test_token_mean_counts_tokens_and_not_sequences():
    labels = torch.tensor([[1, -100, -100], [1, 1, 1]])
    values = torch.tensor([[4.0, math.nan, 7.0], [0.0, 1.0, 3.0]])  # what stands at ignored positions is not read
    assert token_mean(values, labels).item() == 2
    assert token_mean(values, torch.full((2, 3), -100)).item() == 0
    assert valid(labels).sum(1).tolist() == [1, 3]
