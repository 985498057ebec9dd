"""Drift from the model that was there, of ascent and of NPO, in the two toys of arXiv 2404.05868."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lethe.losses.ascent import ga
from lethe.losses.divergence import forward_kl
from lethe.losses.preference import npo
from lethe.losses.tokens import sequence_nll
from lethe.registry import headline

Loss = Callable[[Tensor], Tensor]
BETAS = (0.1, 1.0)
FIT = 6000  # steps of gradient descent for target and control


@headline(
    paper="2404.05868",
    expects={
        "drift of GA, step 2000 over step 500": (">=", 10.0),
        "drift of NPO, step 2000 over step 500": ("<=", 1.5),
        "retain KL after GA over that after NPO": (">=", 4.0),
        "retain KL after NPO-RT over its start": ("<=", 1.5),
        "forget KL after NPO-RT over its start": ("<=", 0.1),
        **{f"one logit, relative deviation from ln(10)/beta per decade, beta {beta:g}": ("<=", 0.05) for beta in BETAS},
        "one logit, drift of GA over drift of NPO (beta 0.1) after 100,000 steps": (">=", 10.0),
    },
)
def npo_drift(*, seed: int) -> dict[str, float]:
    """NPO drifts from the model by the logarithm of the steps, where gradient ascent runs on in proportion to them.

    A logistic model on 128 random features learns two groups with opposite labels and forgets one (2000 steps of
    full-batch descent; drift is the norm of the change of its weights, KL is read against a model that never saw the
    group, on fresh inputs, in nats). One logit under the same losses shows the law itself: per decade of steps NPO
    gains ln(10)/beta nats, GA ten times what it had.
    """
    toy = Synthetic(separation=1, seed=1000 + seed)
    ascent = descend(lambda w: ga(toy.forget_nll(w)).mean(), toy.target, 5e-4)
    damped = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 1).mean(), toy.target, 5e-3)
    held = descend(lambda w: npo(toy.forget_nll(w), toy.ref_nll, 1).mean() + toy.retain_nll(w), toy.target, 5e-3)
    figures = {
        "drift of GA, step 2000 over step 500": growth(ascent),
        "drift of NPO, step 2000 over step 500": growth(damped),
        "retain KL after GA": toy.retain_kl(ascent[-1]),
        "retain KL after NPO": toy.retain_kl(damped[-1]),
        "retain KL after GA over that after NPO": toy.retain_kl(ascent[-1]) / toy.retain_kl(damped[-1]),
        "retain KL after NPO-RT over its start": toy.retain_kl(held[-1]) / toy.retain_kl(toy.target),
        "forget KL after NPO-RT over its start": toy.forget_kl(held[-1]) / toy.forget_kl(toy.target),
    }
    runaway = trajectory(None)
    for beta in BETAS:
        path = trajectory(beta)
        gained = (path[10_000] - path[100_000]) * beta / math.log(10)
        figures[f"one logit, nats gained in the last decade over ln(10)/beta, beta {beta:g}"] = gained
        figures[f"one logit, relative deviation from ln(10)/beta per decade, beta {beta:g}"] = abs(gained - 1)
        drift = (runaway[0] - runaway[-1]) / (path[0] - path[-1])
        figures[f"one logit, drift of GA over drift of NPO (beta {beta:g}) after 100,000 steps"] = drift
    return figures


def trajectory(beta: float | None, steps: int = 100_000) -> list[float]:
    """Every value of one logit z, p = sigmoid(z), from z = 2 at rate 0.1, by the losses' slope -W (1 - p).

    W is 1 for ascent (no beta) and 2 sigmoid(-beta (nll - start)) for NPO.
    """
    start, path = math.log1p(math.exp(-2)), [2.0]
    for _ in range(steps):
        z = path[-1]
        nll = math.log1p(math.exp(-z)) if z > -30 else -z
        weight = 1.0 if beta is None else 2 / (1 + math.exp(beta * (nll - start)))
        path.append(z - 0.1 * weight / (1 + math.exp(min(z, 700))))
    return path


class Synthetic:
    """Retain and forget inputs around two means, with opposite labels; a target fitted on both, a control on retain.

    Args:
        separation: Distance of the means from the origin, per coordinate; at 0 both sets have the same inputs.
        seed: Seed of features, inputs and labels.
    """

    def __init__(self, separation: float, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.projection = self.normal(16, 128) / 4  # variance 1/d, d = 16
        retain, forget = self.inputs(1000, -separation, 0), self.inputs(200, separation, 1)
        self.fresh_retain, self.fresh_forget = (self.inputs(1000, side * separation, 0)[0] for side in (-1, 1))
        both = torch.cat([retain[0], forget[0]]), torch.cat([retain[1], forget[1]])
        zero = torch.zeros(128, dtype=torch.float64)
        self.control = descend(lambda w: self.nll(retain, w).mean(), zero, 0.05, FIT)[-1]
        self.target = descend(lambda w: self.nll(both, w).mean(), zero, 0.05, FIT)[-1]
        self.forget_nll: Loss = lambda w: self.nll(forget, w)
        self.retain_nll: Loss = lambda w: self.nll(retain, w).mean()
        self.ref_nll = self.forget_nll(self.target)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws."""
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def inputs(self, count: int, mean: float, favoured: int) -> tuple[Tensor, Tensor]:
        """Features (N, 128) and labels (N, 1), drawn from the softmax of a linear logit."""
        noise = self.normal(count, 16)
        odds = torch.sigmoid(noise.sum(1) / 4 + 1)
        hit = torch.rand(count, generator=self.generator, dtype=torch.float64) < odds
        return ((noise + mean) @ self.projection).relu(), torch.where(hit, favoured, 1 - favoured).unsqueeze(1)

    def nll(self, group: tuple[Tensor, Tensor], weights: Tensor) -> Tensor:
        """Of each label (N,), nats."""
        return sequence_nll(logits(group[0], weights), group[1])

    def forget_kl(self, weights: Tensor) -> float:
        """KL(control || weights) on fresh forget inputs, nats."""
        return forward_kl(logits(self.fresh_forget, self.control), logits(self.fresh_forget, weights)).mean().item()

    def retain_kl(self, weights: Tensor) -> float:
        """KL(control || weights) on fresh retain inputs, nats."""
        return forward_kl(logits(self.fresh_retain, self.control), logits(self.fresh_retain, weights)).mean().item()


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


def growth(path: list[Tensor]) -> float:
    """How many times the distance from the start grows between steps 500 and 2000."""
    return ((path[2000] - path[0]).norm() / (path[500] - path[0]).norm()).item()
