import pytest
import torch

from lethe.losses.hinge import ihl

LOGITS = 3 * torch.randn(50, 6, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.randint(9, (50, 6), generator=torch.Generator().manual_seed(1))


def of(*scores: float) -> float:
    return ihl(torch.tensor([[scores]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.long)).item()


def test_two_if_certain_zero_if_another_is_certain_one_at_a_tie():
    """Identity 6."""
    assert of(800, 0, 0) == 2
    assert of(0, 800, 0) == 0
    assert of(0, 0, 0) == pytest.approx(1, abs=1e-15)
    assert of(5, 5, -3) == pytest.approx(1, abs=1e-15)
    values = ihl(LOGITS, LABELS)
    assert values.min() > 0
    assert values.max() < 2


def test_the_label_itself_is_no_runner_up():
    """Zeroed logits instead of an excluded label would find one: here every other token has a negative logit."""
    p = torch.tensor([2.0, -1.0, -3.0], dtype=torch.float64).softmax(-1)
    assert of(2, -1, -3) == pytest.approx((1 + p[0] - p[1]).item())


def test_probabilities_as_logits_get_their_softmax():
    """The released helper skips it where all logits happen to lie between 0 and 1."""
    p = torch.tensor([0.2, 0.8], dtype=torch.float64).softmax(-1)
    assert of(0.2, 0.8) == pytest.approx((1 + p[0] - p[1]).item())


def test_gradient_is_the_papers_bounded_by_half_and_sums_to_zero():
    leaf = LOGITS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ihl(leaf, LABELS).sum(), leaf)
    p = LOGITS.softmax(-1)
    is_label = torch.nn.functional.one_hot(LABELS, 9).double()
    is_second = torch.nn.functional.one_hot((p - 2 * is_label).argmax(-1), 9).double()
    p_label, p_second = ((p * which).sum(-1, keepdim=True) for which in (is_label, is_second))
    assert torch.allclose(slope, p_label * (is_label - p) - p_second * (is_second - p), rtol=0, atol=1e-14)
    assert slope.abs().max() <= 0.5
    assert slope.sum(-1).abs().max() < 1e-14
    tie = torch.tensor([[[0.0, 0.0, -50.0]]], dtype=torch.float64, requires_grad=True)
    (steepest,) = torch.autograd.grad(ihl(tie, torch.zeros(1, 1, dtype=torch.long)).sum(), tie)
    assert steepest[0, 0, :2].tolist() == pytest.approx([0.5, -0.5])
