"""Sharpness-aware minimisation, held to closed forms (quadratic bowl with curvatures 1 and 9)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch
from tests.models import tiny
from torch import Tensor, nn

from lethe.descent.steps import plain, sam
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses import preference
from lethe.models.base import Batch, Example, Model, per_example
from lethe.train import Recipe, StepRule, Term, train

CURVATURE = torch.tensor([1.0, 9.0], dtype=torch.float64)


class Point(nn.Module):
    """Two weights at (1, 1), in two tensors so that a norm per tensor would be found out."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.y = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def theta(self) -> Tensor:
        return torch.cat([self.x, self.y])


class Bowl(Model):
    """A model that is a point; its losses are functions of the weights alone."""

    family: ClassVar[str] = "bowl"
    abilities: ClassVar[frozenset[str]] = frozenset({"loss"})
    record_fields: ClassVar[tuple[str, ...]] = ()

    def encode(self, records: Sequence[Mapping[str, Any]]) -> list[Example]:
        return [Example({}, 1) for _ in records]

    def collate(self, examples: Sequence[Example], index: Sequence[int], rng: torch.Generator | None = None) -> Batch:
        return Batch(torch.tensor(index), {}, torch.zeros(len(index), 1, dtype=torch.long))

    def logits(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def save(self, folder: str | Path) -> Path:
        raise NotImplementedError

    def fresh(self, seed: int) -> Self:
        raise NotImplementedError


def descend(
    loss: Callable[[Tensor], Tensor], rule: StepRule, extra: Callable[[Tensor], Tensor] | None = None, lr: float = 1.0
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The point after one SGD step, and the points where the forget and the retain loss were asked."""
    model = Bowl(Point())
    asked: dict[str, list[Tensor]] = {"forget": [], "retain": []}

    def term(role: Any, function: Callable[[Tensor], Tensor]) -> Term:
        def value(model: Any, batch: Batch) -> Tensor:
            theta = model.module.theta()
            asked[role].append(theta.detach().clone())
            return function(theta).expand(len(batch))

        return Term(role, model.encode([{}]), value, role=role)

    terms = [term("forget", loss)] + ([term("retain", extra)] if extra else [])
    train(model, terms, Recipe(steps=1, lr=lr, optimizer="sgd", momentum=0, clip=None), step_rule=rule)
    module: Any = model.module
    return module.theta().detach(), asked["forget"], asked["retain"]


def bowl(theta: Tensor) -> Tensor:
    return 0.5 * (CURVATURE * theta.square()).sum()


def test_sam_on_the_bowl():
    end, (start, displaced), _ = descend(bowl, sam(rho=0.1))
    assert start.tolist() == [1, 1]
    eps = displaced - start
    torch.testing.assert_close(eps, torch.tensor([0.011043, 0.099388]).double(), rtol=0, atol=5e-7)
    assert float(eps.norm()) == pytest.approx(0.1, abs=1e-12)
    torch.testing.assert_close(1 - end, torch.tensor([1.011043, 9.894495]).double(), rtol=0, atol=5e-7)


def test_a_plain_step_on_the_bowl():
    end, asked, _ = descend(bowl, plain())
    assert (1 - end).tolist() == [1, 9]
    assert len(asked) == 1


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e6])
def test_the_displacement_has_length_rho_at_any_scale_of_the_gradient(scale: float):
    _, (start, displaced), _ = descend(lambda theta: scale * bowl(theta), sam(rho=0.3))
    assert float((displaced - start).norm()) == pytest.approx(0.3, rel=1e-9)


def test_a_gradient_of_zero_stays_zero():
    end, (start, displaced), _ = descend(lambda theta: 0 * theta.sum(), sam(rho=0.3))
    assert end.tolist() == start.tolist() == displaced.tolist() == [1, 1]


def test_the_weights_return_to_the_same_bits():
    awkward = 0.1 + torch.rand(2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    end, (start, displaced), _ = descend(lambda theta: (awkward * theta.square()).sum(), sam(rho=0.7), lr=0.0)
    assert not torch.equal(start, displaced)
    assert torch.equal(end, start)


def test_the_retain_term_is_never_displaced():
    def pull(theta: Tensor) -> Tensor:
        return theta[0] * 2 - theta[1]

    end, asked, kept = descend(bowl, sam(rho=0.1), pull)
    assert len(asked) == 2
    assert [point.tolist() for point in kept] == [[1, 1]]
    wanted = torch.tensor([1.011043 + 2, 9.894495 - 1]).double()
    torch.testing.assert_close(1 - end, wanted, rtol=0, atol=5e-7)


def npo_run(rule: StepRule, steps: int = 6, seed: int = 0) -> Model:
    model = tiny.language()
    request = tiny.request("language")
    examples = model.encode(request.forget)
    reference = per_example(model, examples)

    def leave(model: Model, batch: Batch) -> Tensor:
        return preference.npo(model.loss(batch), reference[batch.index])

    terms = [
        Term("forget", examples, leave, role="forget"),
        Term("retain", model.encode(request.retain), own_loss, per="token"),
    ]
    train(model, terms, Recipe(steps=steps, batch_size=3, lr=0.01, seed=seed), step_rule=rule)
    return model


def test_a_radius_of_zero_is_the_plain_step_for_step():
    for steps in (1, 2, 6):
        assert npo_run(plain(), steps).fingerprint() == npo_run(sam(rho=0), steps).fingerprint()


def test_a_radius_above_zero_changes_the_update():
    assert npo_run(sam(rho=0.01), 1).fingerprint() != npo_run(plain(), 1).fingerprint()


def test_without_a_forget_term_there_is_nothing_to_displace():
    prints = []
    for rule in (plain(), sam(rho=0.5)):
        model = tiny.classifier()
        train(model, [Term("retain", model.encode(tiny.features()), own_loss)], Recipe(epochs=2), step_rule=rule)
        prints.append(model.fingerprint())
    assert prints[0] == prints[1]


def test_the_logged_loss_is_that_of_the_undisplaced_weights():
    model, values = tiny.classifier(), []

    def loss(model: Model, batch: Batch) -> Tensor:
        value = model.loss(batch)
        values.append(float(value.detach().mean()))
        return value

    term = Term("forget", model.encode(tiny.features()), loss, role="forget")
    history = train(model, [term], Recipe(steps=1), step_rule=sam(rho=0.5))
    assert history.losses[0]["forget"] == pytest.approx(values[0]) != pytest.approx(values[1])


@pytest.mark.parametrize("rho", [-0.1, float("nan"), float("inf")])
def test_radii_that_are_none_are_refused(rho: float):
    with pytest.raises(InputError, match="rho is"):
        sam(rho=rho)
