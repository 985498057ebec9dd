"""What must hold of preference losses for any batch at all: numbered as in the review of the main code bases."""

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lethe.losses.catalogue import losses
from lethe.losses.divergence import kl, soft_cross_entropy
from lethe.losses.preference import ap, dpo, kto, npo, simnpo
from lethe.losses.tokens import sequence_nll, valid

BETAS = st.sampled_from([0.01, 0.1, 1.0, 5.0])
SEEDS = st.integers(0, 10**6)
ZERO = torch.zeros((), dtype=torch.float64)
# Every loss that compares the answer with the frozen model's, found by the quantities it names.
COMPARING = {name: f for name, f in losses().items() if {"nll", "ref_nll"} <= set(inspect.signature(f).parameters)}


def batch(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, reference logits (B, T, V) and labels (B, T) of answers of 1 to T tokens."""
    draw = torch.Generator().manual_seed(seed)
    rows, length, vocabulary = (
        int(torch.randint(low, high, (), generator=draw)) for low, high in ((1, 5), (1, 9), (2, 9))
    )
    logits, reference = 3 * torch.randn(2, rows, length, vocabulary, generator=draw, dtype=torch.float64)
    labels = torch.randint(vocabulary, (rows, length), generator=draw)
    sizes = torch.randint(1, length + 1, (rows, 1), generator=draw)
    return logits, reference, labels.masked_fill(torch.arange(length) >= sizes, -100)


def slope(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf)[0]


@pytest.mark.parametrize("name", COMPARING)
@settings(max_examples=30)
@given(seed=SEEDS, beta=BETAS)
def test_1_at_the_reference_it_is_ascent_on_whole_answers(name: str, seed: int, beta: float):
    _, reference, labels = batch(seed)
    fixed = sequence_nll(reference, labels)
    names = inspect.signature(COMPARING[name]).parameters
    rest = {"ref_nll": fixed, "alt_nll": fixed, "alt_ref_nll": fixed, "baseline": ZERO}
    rest = {key: value for key, value in rest.items() if key in names}

    def value(logits: Tensor) -> Tensor:
        return COMPARING[name](nll=sequence_nll(logits, labels), beta=beta, **rest)

    assert value(reference).tolist() == pytest.approx([2 / beta * math.log(2)] * len(labels))
    assert torch.allclose(slope(value, reference), slope(lambda z: -sequence_nll(z, labels), reference), atol=1e-12)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_2_npo_tends_to_the_log_ratio_as_beta_vanishes(seed: int):
    logits, reference, labels = batch(seed)
    nll, fixed = sequence_nll(logits, labels), sequence_nll(reference, labels)
    rest = npo(nll, fixed, 1e-6) - 2e6 * math.log(2)
    assert torch.allclose(rest, -(nll - fixed), rtol=0, atol=1e-3)


@settings(max_examples=30)
@given(seed=SEEDS, beta=BETAS)
def test_3_npo_weighs_each_example(seed: int, beta: float):
    logits, reference, labels = batch(seed)
    nll, fixed = sequence_nll(logits, labels), sequence_nll(reference, labels)
    weight = 2 * torch.sigmoid(-beta * (nll - fixed))
    assert ((weight >= 0) & (weight <= 2)).all()
    assert torch.allclose(slope(lambda n: npo(n, fixed, beta), nll), -weight, atol=1e-12)


@settings(max_examples=30)
@given(seed=SEEDS, beta=BETAS, times=st.integers(2, 5))
def test_4_repetition_changes_npo_and_not_simnpo(seed: int, beta: float, times: int):
    logits, reference, labels = batch(seed)
    long = [part.repeat_interleave(times, 1) for part in (logits, reference, labels)]
    short_nll, long_nll = sequence_nll(logits, labels), sequence_nll(long[0], long[2])
    sizes, long_sizes = valid(labels).sum(1), valid(long[2]).sum(1)
    assert torch.allclose(simnpo(short_nll, sizes, beta), simnpo(long_nll, long_sizes, beta))
    assert torch.allclose(simnpo(short_nll, sizes, beta), npo(short_nll / sizes, ZERO, beta))
    lost = short_nll - sequence_nll(reference, labels)
    assert torch.allclose(npo(long_nll, sequence_nll(long[1], long[2]), beta), npo(times * lost, ZERO, beta))


@settings(max_examples=30)
@given(seed=SEEDS, beta=BETAS)
def test_5_dpo_against_itself_is_constant(seed: int, beta: float):
    logits, reference, labels = batch(seed)
    fixed = sequence_nll(reference, labels)

    def value(z: Tensor) -> Tensor:
        nll = sequence_nll(z, labels)
        return dpo(nll, fixed, nll, fixed, beta)

    assert value(logits).tolist() == pytest.approx([2 / beta * math.log(2)] * len(labels))
    assert torch.allclose(slope(value, logits), torch.zeros_like(logits), atol=1e-12)


@settings(max_examples=30)
@given(seed=SEEDS)
def test_9_kl_is_zero_at_the_reference_and_cross_entropy_is_kl_and_a_constant(seed: int):
    logits, reference, labels = batch(seed)
    assert torch.allclose(kl(reference, reference, labels), torch.zeros_like(labels, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(slope(lambda z: kl(reference, z, labels), reference), torch.zeros_like(logits), atol=1e-12)
    assert (kl(reference, logits, labels) >= 0).all()
    entropy = soft_cross_entropy(reference, reference, labels)
    assert torch.allclose(soft_cross_entropy(reference, logits, labels), kl(reference, logits, labels) + entropy)


@settings(max_examples=30)
@given(seed=SEEDS, beta=BETAS)
def test_ap_pushes_half_as_hard_where_answer_and_refusal_are_equally_likely(seed: int, beta: float):
    nll = sequence_nll(*batch(seed)[::2])
    assert torch.allclose(slope(lambda n: ap(n, nll, beta), nll), torch.full_like(nll, 0.5))


@settings(max_examples=30)
@given(seed=SEEDS, beta=BETAS)
def test_kto_as_released_lies_between_its_bounds_and_leaves_the_baseline_outside_beta(seed: int, beta: float):
    logits, reference, labels = batch(seed)
    nll, fixed = sequence_nll(logits, labels), sequence_nll(reference, labels)
    bounded = kto(nll, fixed, ZERO, beta, "sigmoid")
    assert ((bounded >= 1 - 2 / beta) & (bounded <= 1)).all()
    for variant in ("sigmoid", "logsigmoid"):
        shifted = kto(nll, fixed, ZERO + 0.7, beta, variant)
        assert torch.allclose(shifted, kto(nll + 0.7 / beta, fixed, ZERO, beta, variant))
    assert torch.allclose(kto(nll, fixed, ZERO + 0.7, beta), npo(nll + 0.7, fixed, beta))
