"""The generic logits of Who's Harry Potter, with the printed numbers."""

import pytest
import torch

from lethe.errors import InputError
from lethe.losses.relabelling import centred, generic_logits

BASE = torch.tensor([2.0, 1, 0, -1], dtype=torch.float64)
RAISED = torch.tensor([5.0, 0.5, 0.2, -1], dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "expected"), [(5.0, [-13, 1, -1, -1]), (1.0, [-1, 1, -0.2, -1])])
def test_printed_numbers(alpha: float, expected: list[float]):
    generic = generic_logits(BASE, RAISED, alpha)
    assert generic.tolist() == pytest.approx(expected, abs=1e-12)
    assert int(generic.argmax()) == 1


def test_what_did_not_rise_is_left_alone():
    assert torch.equal(generic_logits(BASE, BASE - torch.rand(4), 5.0), BASE)
    assert torch.equal(generic_logits(BASE, RAISED, 0.0), BASE)


def test_only_log_probabilities_forget_a_constant():
    shifted = RAISED + 0.7
    assert not torch.allclose(generic_logits(BASE, RAISED), generic_logits(BASE, shifted))
    assert torch.allclose(
        generic_logits(centred(BASE), centred(RAISED)), generic_logits(centred(BASE), centred(shifted)), atol=1e-12
    )


def test_the_offset_may_come_from_another_text():
    offset = torch.tensor([5.0, 0, 0, 0], dtype=torch.float64)
    assert generic_logits(BASE, RAISED, 1.0, offset).tolist() == pytest.approx([2, 0.5, -0.2, -1])


def test_alpha_is_a_strength():
    with pytest.raises(InputError, match="alpha is -1"):
        generic_logits(BASE, RAISED, -1)
