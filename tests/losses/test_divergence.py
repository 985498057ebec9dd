import math

import pytest
import torch

from lethe.errors import InputError
from lethe.losses.divergence import forward_kl, kl


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_token_the_reference_rules_out_costs_nothing():
    reference = torch.tensor([0.0, 1.0, -math.inf], dtype=torch.float64)
    logits = torch.tensor([0.5, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    value = forward_kl(reference, logits)
    p = reference.softmax(-1)[:2]
    assert value.item() == pytest.approx((p * (p / logits.softmax(-1)[:2]).log()).sum().item())
    (slope,) = torch.autograd.grad(value, logits)
    assert torch.allclose(slope, logits.softmax(-1) - reference.softmax(-1))


def test_a_token_only_the_model_rules_out_costs_infinitely_much():
    assert forward_kl(torch.zeros(2), torch.tensor([0.0, -math.inf])).item() == math.inf


def test_hot_temperature_leaves_the_variance_of_the_difference():
    first, second = draw(4, 7, seed=0), draw(4, 7, seed=1)
    half_variance = (first - second).var(-1, correction=0) / 2
    assert torch.allclose(forward_kl(first, second, temperature=1e4), half_variance, rtol=1e-3)


def test_kl_passes_temperature_and_masks():
    ref, logits, labels = draw(2, 3, 5, seed=0), draw(2, 3, 5, seed=1), torch.tensor([[1, -100, 2], [-100, 0, 0]])
    values = kl(ref, logits, labels, temperature=2)
    scored = labels != -100
    assert torch.equal(values[scored], forward_kl(ref, logits, 2)[scored])
    assert (values[~scored] == 0).all()
    assert (kl(ref, logits, labels, compat="reference") > 0).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_must_be_positive(temperature: float):
    with pytest.raises(InputError, match="greater than 0"):
        forward_kl(torch.zeros(2), torch.zeros(2), temperature)


def test_bfloat16_logits_are_compared_in_float32():
    first, second = draw(20, 50, seed=0).bfloat16(), draw(20, 50, seed=1).bfloat16()
    assert (forward_kl(first, second) - forward_kl(first.double(), second.double())).abs().max() < 1e-5
