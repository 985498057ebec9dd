import math

import pytest
import torch

from lethe.errors import InputError
from lethe.losses.preference import dpo, npo, simnpo
from lethe.losses.tokens import sequence_nll

ZERO = torch.zeros(3)


@pytest.mark.parametrize("beta", [0.0, -0.1, math.nan])
def test_beta_must_be_positive(beta: float):
    for call in (
        lambda: npo(ZERO, ZERO, beta),
        lambda: simnpo(ZERO, ZERO, beta),
        lambda: dpo(ZERO, ZERO, ZERO, ZERO, beta),
    ):
        with pytest.raises(InputError, match="greater than 0"):
            call()


@pytest.mark.parametrize("constant", [0.0, 7.0, -300.0])
def test_npo_of_one_token_of_two_reads_probabilities_and_not_logits(constant: float):
    label, even = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, 2, dtype=torch.float64)
    assert npo(sequence_nll(even + constant, label), sequence_nll(even, label), 0.1).item() == pytest.approx(13.8629435)


def test_a_forgotten_answer_is_left_alone_and_a_likelier_one_pushed_twice_as_hard():
    nll = torch.tensor([1e5, 0.0, -1e5], dtype=torch.float64, requires_grad=True)
    values = npo(nll, torch.zeros(3), beta=0.1)
    (slope,) = torch.autograd.grad(values.sum(), nll)
    assert slope.tolist() == [0, -1, -2]
    assert values.tolist() == pytest.approx([0, 20 * math.log(2), 2e5])


def test_simnpo_pushes_a_token_of_a_short_answer_harder():
    nll = torch.tensor([0.0, 0.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(simnpo(nll, torch.tensor([5, 50])).sum(), nll)
    assert slope.tolist() == pytest.approx([-1 / 5, -1 / 50])


def test_simnpo_margin_is_a_shift_in_nats_per_token():
    nll, sizes = torch.tensor([3.0, 8.0]), torch.tensor([2, 4])
    assert torch.allclose(simnpo(nll, sizes, delta=0.5), simnpo(nll - 0.5 * sizes, sizes))


def test_dpo_is_npo_while_the_alternative_stands_still_and_falls_as_it_becomes_likelier():
    nll, ref = torch.tensor([2.0, 5.0]), torch.tensor([1.0, 1.0])
    still = dpo(nll, ref, ref, ref)
    assert torch.equal(still, npo(nll, ref))
    assert (dpo(nll, ref, ref - 0.5, ref) < still).all()
