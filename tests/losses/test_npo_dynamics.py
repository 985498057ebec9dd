"""Why NPO was proposed, measured: ascent runs away from the model at a steady pace, NPO slows down by itself.

Both toys are those of arXiv 2404.05868 and of the headline `npo_drift`: one logit under gradient descent, and the
logistic model on random features.
"""

import math

import pytest
import torch
from torch import Tensor

from lethe.headlines.npo_drift import Synthetic, descend, growth, trajectory
from lethe.losses.ascent import ga
from lethe.losses.preference import npo
from lethe.losses.tokens import sequence_nll

# --- one token with probability sigmoid(z), from z = 2, rate 0.1 ------------------------------------------------------

CHECKPOINTS = (10, 100, 1000, 10_000, 100_000)
DISPLACEMENTS = {
    None: (0.1252, 2.9202, 92.5048, 992.5048, 9992.5048),
    0.1: (0.1251, 2.8354, 30.0210, 54.7961, 78.0934),
    1.0: (0.1247, 2.2926, 7.2417, 9.7076, 12.0281),
    5.0: (0.1230, 1.4203, 3.0096, 3.7140, 4.2821),
}


def nll_of_logit(z: Tensor) -> Tensor:
    """Two classes with logits z and 0, the first is the answer."""
    return sequence_nll(torch.stack([z, torch.zeros_like(z)], -1).unsqueeze(1), torch.zeros(len(z), 1).long())


@pytest.mark.parametrize("beta", DISPLACEMENTS)
def test_one_logit(beta: float | None):
    path = torch.tensor(trajectory(beta), dtype=torch.float64)
    # one backward pass over the whole path proves that descent on the losses takes exactly these steps
    leaf = path[:-1].clone().requires_grad_()
    nll = nll_of_logit(leaf)
    loss = ga(nll) if beta is None else npo(nll, nll_of_logit(torch.full_like(leaf, 2)), beta)
    (slope,) = torch.autograd.grad(loss.sum(), leaf)
    assert torch.allclose(path[:-1] - 0.1 * slope, path[1:], rtol=1e-13, atol=1e-13)
    assert [2 - path[step].item() for step in CHECKPOINTS] == pytest.approx(DISPLACEMENTS[beta], abs=5.1e-5)


@pytest.mark.parametrize(("beta", "low", "high"), [(0.1, 0.95, 1.05), (1.0, 0.95, 1.05), (5.0, 1.0, 1.3)])
def test_npo_gains_log_ten_over_beta_per_decade(beta: float, low: float, high: float):
    path = trajectory(beta)
    gained = path[10_000] - path[100_000]
    assert low < gained / (math.log(10) / beta) < high  # at beta 5 the last decade is not yet asymptotic


# --- logistic model on 128 random features, two classes ---------------------------------------------------------------


def test_ascent_collapses_and_npo_does_not():
    toy = Synthetic(separation=1, seed=1000)
    ascent = descend(lambda w: ga(toy.forget_nll(w)).mean(), toy.target, 5e-4)
    damped = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 1).mean(), toy.target, 5e-3)
    held = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 1).mean() + toy.retain_nll(w), toy.target, 5e-3)

    assert toy.retain_kl(ascent[-1]) >= 4 * toy.retain_kl(damped[-1])
    assert toy.retain_kl(held[-1]) < 1.5 * toy.retain_kl(toy.target)
    assert toy.forget_kl(held[-1]) < 0.1 * toy.forget_kl(toy.target)

    assert growth(ascent) >= 10
    assert growth(damped) <= 1.5


def test_nothing_can_be_forgotten_alone_where_the_inputs_are_the_same():
    """The negative control: with one input distribution, what is lost on forget inputs is lost on retain inputs."""
    toy = Synthetic(separation=0, seed=1000)
    ascent = descend(lambda w: ga(toy.forget_nll(w)).mean(), toy.target, 1e-4)[-1]
    damped = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 10).mean(), toy.target, 5e-2)[-1]
    held = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 10).mean() + toy.retain_nll(w), toy.target, 5e-2)[-1]
    for end in (ascent, damped, held):
        assert 0.8 < toy.forget_kl(end) / toy.retain_kl(end) < 1.25
    assert toy.forget_kl(ascent) > 2 * toy.forget_kl(toy.target)  # overshoots
    assert toy.forget_kl(held) < 0.5 * toy.forget_kl(toy.target)  # by its retain term
