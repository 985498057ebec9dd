import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.targets import ceu, jensun_forget, jensun_retain, me, repeated, undial, without_first
from lethe.losses.tokens import valid

LOGITS = 2 * torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([[0, 3, 6, -100], [1, 1, 2, 5], [-100, 4, -100, 2]])
SCORED = valid(LABELS).unsqueeze(-1)
ONE = torch.zeros(1, 1, dtype=torch.long)


def slope(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf).sum(), leaf)[0]


def test_ceu_pulls_from_the_label_to_all_others():
    """Identity 7: the gradient is p - q, so p(label) for the label and at most 0 elsewhere."""
    p = LOGITS.softmax(-1)
    is_label = torch.nn.functional.one_hot(LABELS.clamp(min=0), 7).bool() & SCORED
    q = p.masked_fill(is_label, 0)
    q = q / q.sum(-1, keepdim=True)
    found = slope(lambda z: ceu(z, LABELS), LOGITS)
    assert torch.allclose(found, (p - q) * SCORED, rtol=0, atol=1e-14)
    assert torch.allclose(found[is_label], p[is_label])
    assert (found[~is_label] <= 0).all()


def test_ceu_tends_to_the_entropy_as_the_label_vanishes():
    """Identity 7: not to 0."""
    z = torch.tensor([[[-60.0, 1.0, 0.0, 2.0]]], dtype=torch.float64)
    p = z.softmax(-1)
    assert ceu(z, ONE).item() == pytest.approx(-(p * p.log()).sum().item(), abs=1e-12)
    assert ceu(torch.tensor([[[-math.inf, 0.0, 0.0]]]), ONE).item() == pytest.approx(math.log(2))


def test_without_first_ignores_the_first_scored_tokens_wherever_they_stand():
    assert without_first(LABELS, 1).tolist() == [[-100, 3, 6, -100], [-100, 1, 2, 5], [-100, -100, -100, 2]]
    assert torch.equal(without_first(LABELS, 0), LABELS)
    assert (without_first(LABELS, 4) == -100).all()


def test_me_is_0_if_and_only_if_uniform():
    """Identity 8."""
    assert me(torch.full((1, 1, 5), 3.3, dtype=torch.float64), ONE).item() == pytest.approx(0, abs=1e-15)
    values = me(LOGITS, LABELS)[valid(LABELS)]
    uniform = torch.full((7,), 1 / 7, dtype=torch.float64)
    expected = (uniform * (uniform.log() - LOGITS.log_softmax(-1))).sum(-1)[valid(LABELS)]
    assert torch.allclose(values, expected)
    assert values.min() > 0.01


def test_undial_without_penalty_holds_the_model_where_it_is():
    """Identity 8: at beta 0 no gradient at the reference; above, the gradient is p minus the target."""
    assert slope(lambda z: undial(LOGITS, z, LABELS, beta=0), LOGITS).abs().max() < 1e-15
    is_label = torch.nn.functional.one_hot(LABELS.clamp(min=0), 7)
    target = (LOGITS.flip(1) - 3 * is_label).softmax(-1)
    found = slope(lambda z: undial(LOGITS.flip(1), z, LABELS, beta=3), LOGITS)
    assert torch.allclose(found, (LOGITS.softmax(-1) - target) * SCORED, rtol=0, atol=1e-14)


def test_undial_as_released_holds_ignored_positions_to_the_reference():
    found = slope(lambda z: undial(LOGITS.flip(1), z, LABELS, beta=3, compat="reference"), LOGITS)
    held = LOGITS.softmax(-1) - LOGITS.flip(1).softmax(-1)
    assert torch.allclose(found[~valid(LABELS)], held[~valid(LABELS)])


@pytest.mark.parametrize("beta", [-1.0, math.nan, math.inf])
def test_undial_lowers_by_a_finite_amount(beta: float):
    with pytest.raises(InputError, match="at least 0"):
        undial(LOGITS, LOGITS, LABELS, beta)


def test_jensun_is_bounded_by_log_2_and_0_where_it_wants_to_be():
    far = 1000 * LOGITS
    for values in (jensun_forget(far, LABELS), jensun_retain(far.flip(1), far, LABELS)):
        assert values.max() <= math.log(2) + 1e-12
        assert values.min() >= -1e-12
    there = 60 * torch.nn.functional.one_hot(LABELS.clamp(min=0), 7).double()
    assert jensun_forget(there, LABELS).abs().max() < 1e-7  # the floor of 1e-9 costs that much
    assert jensun_retain(LOGITS + 2, LOGITS, LABELS).abs().max() < 1e-15
    assert slope(lambda z: jensun_retain(LOGITS, z, LABELS), LOGITS).abs().max() < 1e-15


def test_the_pattern_counts_scored_tokens_only():
    assert repeated(LABELS, [5, 6]).tolist() == [[5, 6, 5, -100], [5, 6, 5, 6], [-100, 5, -100, 6]]
