"""What stands in public code in the place of reverse BPR, rejected by what it does. arXiv 2405.15328."""

from collections.abc import Callable

import pytest
import torch
from tests.conformance.known_wrong_losses import reverse_bpr_with_two_signs
from torch import Tensor

from lethe.losses.ranking import bpr, reverse_bpr

Loss = Callable[[Tensor, Tensor], Tensor]


def ascent(pos: Tensor, neg: Tensor) -> Tensor:
    """Ascent on BPR: weakest while the item stands high, and without an end once it is low."""
    return -bpr(pos, neg)


def check(loss: Loss) -> None:
    """A loss that sinks an item: the higher it stands the harder, and at rest where it is low."""
    pos = torch.tensor([4.0, 2.0, -2.0, -12.0], dtype=torch.float64, requires_grad=True)
    values = loss(pos, torch.full_like(pos, 0.5, requires_grad=False))
    (slopes,) = torch.autograd.grad(values.sum(), pos)
    assert (slopes > 0).all()
    assert (slopes.diff() < 0).all()
    assert slopes[-1] < 1e-4
    assert (values >= 0).all()


def test_reverse_bpr_passes():
    check(reverse_bpr)


@pytest.mark.parametrize("wrong", [reverse_bpr_with_two_signs, ascent])
def test_known_wrong_losses_do_not(wrong: Loss):
    with pytest.raises(AssertionError):
        check(wrong)
