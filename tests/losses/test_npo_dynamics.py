"""Why NPO was proposed, measured: ascent runs away from the model at a steady pace, NPO slows down by itself.

Both toys are those of arXiv 2404.05868: one logit under gradient descent, and the logistic model on random features.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lethe.losses.ascent import ga
from lethe.losses.divergence import forward_kl
from lethe.losses.preference import npo
from lethe.losses.tokens import sequence_nll

# --- one token with probability sigmoid(z), from z = 2, rate 0.1 ------------------------------------------------------

CHECKPOINTS = (10, 100, 1000, 10_000, 100_000)
DISPLACEMENTS = {
    "ga": (0.1252, 2.9202, 92.5048, 992.5048, 9992.5048),
    0.1: (0.1251, 2.8354, 30.0210, 54.7961, 78.0934),
    1.0: (0.1247, 2.2926, 7.2417, 9.7076, 12.0281),
    5.0: (0.1230, 1.4203, 3.0096, 3.7140, 4.2821),
}


def nll_of_logit(z: Tensor) -> Tensor:
    """Two classes with logits z and 0, the first is the answer."""
    return sequence_nll(torch.stack([z, torch.zeros_like(z)], -1).unsqueeze(1), torch.zeros(len(z), 1).long())


def trajectory(beta: float | str) -> Tensor:
    """Every z of the descent, by the closed form of the slope: -W (1 - p), with W = 1 for ascent."""
    start, path = math.log1p(math.exp(-2)), [2.0]
    for _ in range(CHECKPOINTS[-1]):
        z = path[-1]
        nll = math.log1p(math.exp(-z)) if z > -30 else -z
        weight = 1.0 if isinstance(beta, str) else 2 / (1 + math.exp(beta * (nll - start)))
        path.append(z - 0.1 * weight / (1 + math.exp(min(z, 700))))
    return torch.tensor(path, dtype=torch.float64)


@pytest.mark.parametrize("beta", DISPLACEMENTS)
def test_one_logit(beta: float | str):
    path = trajectory(beta)
    # one backward pass over the whole path proves that descent on the losses takes exactly these steps
    leaf = path[:-1].clone().requires_grad_()
    nll = nll_of_logit(leaf)
    loss = ga(nll) if isinstance(beta, str) else npo(nll, nll_of_logit(torch.full_like(leaf, 2)), beta)
    (slope,) = torch.autograd.grad(loss.sum(), leaf)
    assert torch.allclose(path[:-1] - 0.1 * slope, path[1:], rtol=1e-13, atol=1e-13)
    assert [2 - path[step].item() for step in CHECKPOINTS] == pytest.approx(DISPLACEMENTS[beta], abs=5.1e-5)


@pytest.mark.parametrize(("beta", "low", "high"), [(0.1, 0.95, 1.05), (1.0, 0.95, 1.05), (5.0, 1.0, 1.3)])
def test_npo_gains_log_ten_over_beta_per_decade(beta: float, low: float, high: float):
    path = trajectory(beta)
    gained = (path[10_000] - path[100_000]).item()
    assert low < gained / (math.log(10) / beta) < high  # at beta 5 the last decade is not yet asymptotic


# --- logistic model on 128 random features, two classes ---------------------------------------------------------------

Loss = Callable[[Tensor], Tensor]


def logits(features: Tensor, weights: Tensor) -> Tensor:
    """(N, 1, 2): the second class has logit 0."""
    score = features @ weights
    return torch.stack([score, torch.zeros_like(score)], -1).unsqueeze(1)


def descend(loss: Loss, weights: Tensor, rate: float, steps: int = 2000) -> list[Tensor]:
    """Plain gradient descent; every iterate."""
    path = [weights]
    for _ in range(steps):
        leaf = path[-1].clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf), leaf)
        path.append(path[-1] - rate * slope)
    return path


class Synthetic:
    """Retain and forget inputs around two means, with opposite labels; a target fitted on both, a control on retain."""

    def __init__(self, separation: float, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.projection = self.normal(16, 128) / 4  # variance 1/d, d = 16
        retain, forget = self.inputs(1000, -separation, 0), self.inputs(200, separation, 1)
        self.fresh_retain, self.fresh_forget = (self.inputs(1000, side * separation, 0)[0] for side in (-1, 1))
        both = torch.cat([retain[0], forget[0]]), torch.cat([retain[1], forget[1]])
        zero = torch.zeros(128, dtype=torch.float64)
        self.control = descend(lambda w: self.nll(retain, w).mean(), zero, 0.05, 6000)[-1]
        self.target = descend(lambda w: self.nll(both, w).mean(), zero, 0.05, 6000)[-1]
        self.forget_nll: Loss = lambda w: self.nll(forget, w)
        self.retain_nll: Loss = lambda w: self.nll(retain, w).mean()
        self.ref_nll = self.forget_nll(self.target)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def inputs(self, count: int, mean: float, favoured: int) -> tuple[Tensor, Tensor]:
        """Features (N, 128) and labels (N, 1), drawn from the softmax of a linear logit."""
        noise = self.normal(count, 16)
        odds = torch.sigmoid(noise.sum(1) / 4 + 1)
        hit = torch.rand(count, generator=self.generator, dtype=torch.float64) < odds
        return ((noise + mean) @ self.projection).relu(), torch.where(hit, favoured, 1 - favoured).unsqueeze(1)

    def nll(self, group: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
        return sequence_nll(logits(group[0], weights), group[1])

    def forget_kl(self, weights: Tensor) -> float:
        return forward_kl(logits(self.fresh_forget, self.control), logits(self.fresh_forget, weights)).mean().item()

    def retain_kl(self, weights: Tensor) -> float:
        return forward_kl(logits(self.fresh_retain, self.control), logits(self.fresh_retain, weights)).mean().item()


def test_ascent_collapses_and_npo_does_not():
    toy = Synthetic(separation=1, seed=1000)
    ascent = descend(lambda w: ga(toy.forget_nll(w)).mean(), toy.target, 5e-4)
    damped = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 1).mean(), toy.target, 5e-3)
    held = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 1).mean() + toy.retain_nll(w), toy.target, 5e-3)

    assert toy.retain_kl(ascent[-1]) >= 4 * toy.retain_kl(damped[-1])
    assert toy.retain_kl(held[-1]) < 1.5 * toy.retain_kl(toy.target)
    assert toy.forget_kl(held[-1]) < 0.1 * toy.forget_kl(toy.target)

    def growth(path: list[Tensor]) -> float:
        return ((path[2000] - toy.target).norm() / (path[500] - toy.target).norm()).item()

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
