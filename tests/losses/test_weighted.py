import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.ascent import ga
from lethe.losses.tokens import cross_entropy, sequence_nll
from lethe.losses.weighted import satimp, tnpo, wga, wtnpo

LOGITS = 2 * torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([[0, 3, 6, -100], [1, 1, 2, 5], [4, -100, -100, -100]])
NLL = cross_entropy(LOGITS, LABELS)
REFERENCE = cross_entropy(LOGITS.flip(0), LABELS)


def slope(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0]


def test_at_exponent_0_each_is_the_one_before():
    """Identity 8: WGA without weight is ascent, SatImp without importance is WGA, WTNPO without alpha is TNPO."""
    assert torch.allclose(wga(LOGITS, LABELS, 0).sum(1), ga(sequence_nll(LOGITS, LABELS)))
    assert torch.equal(satimp(LOGITS, LABELS, 3.0, 0), wga(LOGITS, LABELS, 3.0))
    assert torch.equal(wtnpo(LOGITS, LABELS, REFERENCE, 2, alpha=0), tnpo(LOGITS, LABELS, REFERENCE, 2))


def test_tnpo_starts_as_ascent_on_what_is_likely():
    """Identity 8: at the reference the weight is 2 p^b / (2 p^b + epsilon), and 1 without epsilon."""
    power = (-4 * NLL).exp()
    expected = -(2 * power / (2 * power + 1e-5)) * NLL
    assert torch.allclose(tnpo(LOGITS, LABELS, NLL), expected, rtol=1e-12, atol=0)
    assert torch.allclose(tnpo(LOGITS, LABELS, NLL, epsilon=0), -NLL, rtol=1e-12, atol=0)
    rare = torch.tensor([[[math.log(0.01), math.log(0.99)]]], dtype=torch.float64)
    one = torch.zeros(1, 1, dtype=torch.long)
    weight = tnpo(rare, one, cross_entropy(rare, one)) / -cross_entropy(rare, one)
    assert weight.item() == pytest.approx(0.002, abs=5e-5)


@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_weights_are_the_papers_and_carry_no_gradient(beta: float):
    p, ref = (-NLL).exp(), (-REFERENCE).exp()
    ratio = 2 * p**beta / (p**beta + ref**beta + 1e-5)
    ascent = slope(lambda z: -cross_entropy(z, LABELS), LOGITS)
    for loss, weight in (
        (lambda z: wga(z, LABELS, beta), p**beta),
        (lambda z: satimp(z, LABELS, beta, 0.5), p**beta * (1 - p) ** 0.5),
        (lambda z: tnpo(z, LABELS, REFERENCE, beta), ratio),
        (lambda z: wtnpo(z, LABELS, REFERENCE, beta, 1.5), ratio * p**1.5),
    ):
        assert torch.allclose(slope(loss, LOGITS), ascent * weight.unsqueeze(-1), rtol=1e-10, atol=1e-14)


def test_what_is_forgotten_is_left_alone_where_ascent_pulls_hardest():
    z = torch.tensor([[[-60.0, 0.0]]], dtype=torch.float64)
    one = torch.zeros(1, 1, dtype=torch.long)
    ref = torch.full((1, 1), 0.1, dtype=torch.float64)
    assert slope(lambda z: -cross_entropy(z, one), z)[0, 0, 0].item() == pytest.approx(1)
    for loss in (wga, satimp):
        assert slope(lambda z, loss=loss: loss(z, one), z).abs().max() < 1e-20
    assert slope(lambda z: tnpo(z, one, ref), z).abs().max() < 1e-20
    assert slope(lambda z: wtnpo(z, one, ref, epsilon=0), z).abs().max() < 1e-20


def test_a_certain_token_is_not_moved_by_satimp():
    certain = torch.tensor([[[80.0, 0.0]]], dtype=torch.float64)
    assert satimp(certain, torch.zeros(1, 1, dtype=torch.long)).item() == 0


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_exponents_must_not_be_negative(bad: float):
    for call in (
        lambda: wga(LOGITS, LABELS, bad),
        lambda: satimp(LOGITS, LABELS, bad, 1),
        lambda: satimp(LOGITS, LABELS, 1, bad),
        lambda: tnpo(LOGITS, LABELS, REFERENCE, bad),
        lambda: wtnpo(LOGITS, LABELS, REFERENCE, 1, bad),
        lambda: tnpo(LOGITS, LABELS, REFERENCE, 1, bad),
    ):
        with pytest.raises(InputError, match="at least 0"):
            call()
