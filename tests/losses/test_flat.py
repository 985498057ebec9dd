import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.flat import DIVERGENCES, Name, contrast, flat, mean_probability

LOGITS = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([[0, 4, -100], [2, 2, 3]])

# Generators f(t) with the range of u on which the grid below reaches the supremum of u t - f(t).
GENERATORS: dict[Name, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "tv": (lambda t: (t - 1).abs() / 2, -0.5, 0.5),
    "kl": (lambda t: t * t.log(), -0.6, 0.6),
    "js": (lambda t: t * t.log() - (t + 1) * ((1 + t) / 2).log(), -0.6, 0.6),
    "pearson": (lambda t: (t - 1).square(), -0.6, 0.6),
    "reverse_kl": (lambda t: -t.log(), -0.6, -0.1),
    "hellinger": (lambda t: (t.sqrt() - 1).square(), -0.6, 0.6),
    "neyman": (lambda t: (1 - t).square() / t, -0.6, 0.6),
}

BOUNDARY: dict[Name, tuple[float, float, float]] = {  # at (Pe, Pf) = (1, 0), (0, 1), (.5, .5)
    "tv": (-0.3807971, 0.3807971, 0),
    "kl": (-0.6321206, 1.0, 0.1065307),
    "js": (-0.3798855, 0.6201145, 0.0618596),
    "pearson": (-1, 1.25, 0.0625),
    "reverse_kl": (-0.6321206, 1.0, 0.1065307),
    "hellinger": (-0.6321206, 1.7182818, 0.2552519),
    "neyman": (-0.6321206, 0.7869387, 0.0489291),
    "jeffrey": (-1, 1.3125, 0.0703125),
}


def test_every_divergence_has_its_numbers():
    assert set(BOUNDARY) == set(DIVERGENCES) == {*GENERATORS, "jeffrey"}


@pytest.mark.parametrize("name", DIVERGENCES)
def test_boundary_values(name: Name):
    template, forget = torch.tensor([[1, 0, 0.5], [0, 1, 0.5]], dtype=torch.float64)
    assert contrast(template, forget, name).tolist() == pytest.approx(BOUNDARY[name], abs=5.1e-8)


def test_only_total_variation_treats_both_answers_alike():
    a, b = torch.rand(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alike = {name for name in DIVERGENCES if torch.allclose(contrast(a, b, name), -contrast(b, a, name))}
    assert alike == {"tv"}


@pytest.mark.parametrize("name", GENERATORS)
def test_conjugate_is_the_supremum(name: Name):
    generator, low, high = GENERATORS[name]
    t = torch.cat([torch.logspace(-9, 0, 20_000), torch.linspace(1, 60, 60_000)]).double()
    for u in torch.linspace(low, high, 7).double():
        found = DIVERGENCES[name].conjugate(u).item()
        assert found == pytest.approx((u * t - generator(t)).max().item(), abs=1e-5)


def test_the_cubic_is_not_jeffreys_conjugate():
    """Known and said: the released approximation is right to 0.02 up to u = 1, and not exact."""
    t = torch.linspace(1e-6, 60, 2_000_000).double()
    u = torch.tensor(1.0).double()
    gap = (u * t - (t - 1) * t.log()).max() - DIVERGENCES["jeffrey"].conjugate(u)
    assert 0.001 < abs(gap.item()) < 0.02


@pytest.mark.parametrize("name", GENERATORS)
def test_variational_bound(name: Name):
    """No critic exceeds the divergence, and g = f'(p / q) attains it (for total variation half the sign of p - q)."""
    draw = torch.Generator().manual_seed(0)
    p, q = torch.rand(2, 12, generator=draw, dtype=torch.float64).add(0.5)
    p, q = p / p.sum(), q / q.sum()
    generator, low, high = GENERATORS[name]
    divergence = (q * generator(p / q)).sum().item()

    def bound(critic: Tensor) -> float:
        return ((p * critic).sum() - (q * DIVERGENCES[name].conjugate(critic)).sum()).item()

    ratio = (p / q).requires_grad_()
    (best,) = torch.autograd.grad(generator(ratio).sum(), ratio)
    assert bound(best) == pytest.approx(divergence, abs=1e-12)
    for _ in range(20):
        critic = low + (high - low) * torch.rand(12, generator=draw, dtype=torch.float64)
        assert bound(critic) <= divergence + 1e-12


@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradient_of_one_example(name: Name):
    """dL/dz of a forget token is (dL/dPf) (1 / n) p_y (onehot - p)."""
    leaf = LOGITS[1:].clone().requires_grad_()
    (found,) = torch.autograd.grad(flat(leaf, LABELS[1:], LOGITS[:1], LABELS[:1], name).sum(), leaf)
    pe, pf = mean_probability(LOGITS[:1], LABELS[:1]), mean_probability(LOGITS[1:], LABELS[1:]).requires_grad_()
    (outer,) = torch.autograd.grad(contrast(pe, pf, name).sum(), pf)
    p = LOGITS[1].softmax(-1)
    is_label = torch.nn.functional.one_hot(LABELS[1], 5)
    expected = outer / 3 * (p * is_label).sum(-1, keepdim=True) * (is_label - p)
    assert torch.allclose(found[0], expected, rtol=0, atol=1e-15)


def test_mean_probability_is_arithmetic_and_feels_neither_length_nor_padding():
    p = LOGITS.softmax(-1)
    expected = torch.stack([(p[0, 0, 0] + p[0, 1, 4]) / 2, (p[1, 0, 2] + p[1, 1, 2] + p[1, 2, 3]) / 3])
    found = mean_probability(LOGITS, LABELS)
    assert torch.allclose(found, expected)
    assert (found > ((p[0, 0, 0] * p[0, 1, 4]) ** 0.5)).any()  # the geometric mean is another method
    assert torch.allclose(mean_probability(LOGITS.repeat(1, 4, 1), LABELS.repeat(1, 4)), expected)
    padded = torch.cat([LABELS, torch.full((2, 3), -100)], 1)
    assert torch.allclose(mean_probability(LOGITS.repeat(1, 2, 1), padded), expected)
    as_released = mean_probability(LOGITS.repeat(1, 2, 1), padded, "reference")
    assert torch.allclose(as_released, expected * torch.tensor([2, 3]) / 6)
    assert mean_probability(LOGITS, torch.full_like(LABELS, -100)).tolist() == [0, 0]


def test_the_order_of_mean_and_divergence_matters():
    """Paper: the divergence of each example; released code: of the batch means."""
    template, forget = torch.tensor([[0.1, 0.9], [0.2, 0.8]], dtype=torch.float64)
    each = contrast(template, forget, "kl").mean().item()
    assert each == pytest.approx(-0.5 + (math.exp(-0.8) + math.exp(-0.2)) / 2)
    assert contrast(template.mean(), forget.mean(), "kl").item() == pytest.approx(-0.5 + math.exp(-0.5))


def test_an_unknown_divergence_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'hellinger'"):
        contrast(torch.zeros(1), torch.zeros(1), "helinger")  # pyright: ignore[reportArgumentType]
