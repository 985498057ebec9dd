"""Step rules, held to closed forms (mostly on a quadratic bowl with curvatures 1 and 9) and to autograd."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch
from tests.models import tiny
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from lethe.descent.steps import RULES, cr, gp, plain, rs, sam, wa
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.gradients import Direction, Gradients, displaced, length
from lethe.losses import preference
from lethe.losses.tokens import sequence_nll
from lethe.models.base import Batch, Example, Model, per_example
from lethe.models.classifier import Classifier
from lethe.train import Recipe, StepRule, Term, train

from . import known_wrong_steps as wrong

CURVATURE = torch.tensor([1.0, 9.0], dtype=torch.float64)


class Point(nn.Module):
    """Two weights at (1, 1), in two tensors so that a norm per tensor would be found out; or many of each."""

    def __init__(self, size: int = 1) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(size, dtype=torch.float64))
        self.y = nn.Parameter(torch.ones(size, dtype=torch.float64))

    def theta(self) -> Tensor:
        return torch.cat([self.x, self.y])


class Bowl(Model):
    """A model that is a point; its losses are functions of the weights alone."""

    family: ClassVar[str] = "bowl"
    abilities: frozenset[str] = frozenset({"loss"})
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
    loss: Callable[[Tensor], Tensor],
    rule: StepRule,
    extra: Callable[[Tensor], Tensor] | None = None,
    size: int = 1,
    **options: Any,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The point after one SGD step, and the points where the forget and the retain loss were asked."""
    model = Bowl(Point(size))
    asked: dict[str, list[Tensor]] = {"forget": [], "retain": []}

    def term(role: Any, function: Callable[[Tensor], Tensor]) -> Term:
        def value(model: Any, batch: Batch) -> Tensor:
            theta = model.module.theta()
            asked[role].append(theta.detach().clone())
            return function(theta).expand(len(batch))

        return Term(role, model.encode([{}]), value, role=role)

    terms = [term("forget", loss)] + ([term("retain", extra)] if extra else [])
    recipe: dict[str, Any] = {"steps": 1, "lr": 1.0, "optimizer": "sgd", "momentum": 0, "clip": None}
    train(model, terms, Recipe(**recipe | options), step_rule=rule)
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


# --- penalties ------------------------------------------------------------------------------------------------------


def logistic(theta: Tensor) -> Tensor:
    """Not quadratic: its curvature changes from place to place."""
    return torch.nn.functional.softplus(torch.tensor([2.0, -3.0], dtype=torch.float64) * theta).sum()


def near(value: Tensor, *wanted: float) -> None:
    torch.testing.assert_close(value, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=5e-7)


def test_the_gradient_penalty_on_the_bowl():
    end, asked, _ = descend(bowl, gp(weight=0.1))
    near(1 - end, 1.011043, 9.894495)
    torch.testing.assert_close(end, descend(bowl, sam(rho=0.1))[0])  # on a quadratic the two are one
    assert all(torch.equal(point, asked[0]) for point in asked)  # nothing is displaced
    values: list[float] = []
    descend(bowl, lambda gradients: values.append(5 + 0.1 * length(gradients.of("forget"))))
    assert values == [pytest.approx(5.9055385, abs=5e-8)]


def bend(gradients: Gradients, mu: float) -> Direction:
    """How the forget gradient changes over a distance mu along itself."""
    slope = gradients.of("forget")
    with displaced(gradients.parameters, slope, mu / length(slope)):
        there = gradients.of("forget")
    pairs = zip(there, slope, strict=True)
    return [after - before for after, before in pairs if after is not None and before is not None]


def test_curvature_on_the_bowl():
    """The same everywhere, so that only a direction that follows the weights makes a difference."""
    values: list[float] = []
    descend(bowl, lambda gradients: values.append(length(bend(gradients, 0.01))))
    assert values == [pytest.approx(0.0894564, abs=5e-8)]
    near(1 - descend(bowl, cr(weight=1, mu=0.01))[0], 1, 9)
    near(1 - descend(bowl, cr(weight=1, mu=0.01, direction="following"))[0], 1 - 0.0010773, 9 + 0.0010773)


def test_curvature_on_a_logistic_loss_is_no_constant():
    start = descend(logistic, plain())[0]
    moved = [descend(logistic, cr(weight=1, direction=way))[0] - start for way in ("constant", "following")]
    assert all(float(change.norm()) > 1e-3 for change in moved)


def test_a_loss_without_curvature_has_no_penalty():
    def line(theta: Tensor) -> Tensor:
        return 2 * theta[0] - theta[1]

    for rule in (gp(weight=3), cr(weight=3), cr(weight=3, direction="following")):
        near(1 - descend(line, rule)[0], 2, -1)


def forgotten(model: Any, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """The forget loss of `language_step` as a function of the weights, without any of Lethe's loop."""
    logits = functional_call(model.module, dict(weights), kwargs=dict(batch.inputs)).logits[:, : batch.labels.shape[1]]
    return (-sequence_nll(logits, batch.labels) / 100).sigmoid().mean()


def penalty(name: str, model: Any, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """The penalties as the docstrings write them; autograd is left to differentiate them."""

    def slope(at: Mapping[str, Tensor]) -> dict[str, Tensor]:
        slopes = torch.autograd.grad(forgotten(model, at, batch), list(at.values()), create_graph=True)
        return dict(zip(at, slopes, strict=True))

    def norm(of: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([part.flatten() for part in of.values()]).norm()

    here = slope(weights)
    if name == "gp":
        return norm(here)
    unit = {key: part / norm(here) for key, part in here.items()}
    if name == "constant":
        unit = {key: part.detach() for key, part in unit.items()}
    there = slope({key: weight + 0.01 * unit[key] for key, weight in weights.items()})
    return norm({key: there[key] - here[key] for key in here})


PENALTIES = {"gp": gp(weight=0.3), "constant": cr(weight=0.3), "following": cr(weight=0.3, direction="following")}


def language_step(rule: StepRule, accumulate: int = 1, **options: Any) -> tuple[Any, dict[str, Tensor]]:
    """The model before one SGD step on a language model in float64, and the step."""
    model = tiny.language()
    model.module.double()
    term = Term("forget", model.encode(tiny.QUESTIONS), lambda m, b: (-m.loss(b) / 100).sigmoid(), role="forget")
    trained = model.copy()
    recipe = Recipe(steps=1, lr=1.0, optimizer="sgd", momentum=0, clip=None, batch_size=11, accumulate=accumulate)
    train(trained, [term], recipe, step_rule=rule, **options)
    after = dict(trained.module.named_parameters())
    return model, {name: (p - after[name]).detach() for name, p in model.module.named_parameters()}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_step_is_the_gradient_of_loss_plus_penalty(name: str):
    """On a transformer, from micro-batches of unequal size."""
    model, step = language_step(PENALTIES[name], accumulate=3)
    batch = model.collate(model.encode(tiny.QUESTIONS), range(11))
    weights = {key: p.detach().requires_grad_() for key, p in model.module.named_parameters()}
    with sdpa_kernel(SDPBackend.MATH):
        total = forgotten(model, weights, batch) + 0.3 * penalty(name, model, weights, batch)
    wanted = dict(zip(weights, torch.autograd.grad(total, list(weights.values())), strict=True))
    _, unpenalised = language_step(plain())
    assert max(float((step[key] - unpenalised[key]).abs().max()) for key in step) > 1e-5
    for key in step:
        torch.testing.assert_close(step[key], wanted[key], rtol=0, atol=2e-8)  # norms in float32


def test_an_operation_without_second_derivative_is_refused():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: Tensor) -> Tensor:
            ctx.save_for_backward(value)
            return value.square()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grad_outputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return 2 * ctx.saved_tensors[0] * grad_outputs[0]

    def steep(theta: Tensor) -> Tensor:
        return torch.as_tensor(Once.apply(theta)).sum().exp()

    assert (1 - descend(steep, sam(rho=0.1))[0]).norm() > 1
    with pytest.raises(InputError, match="second derivatives, which an operation of the model does not offer"):
        descend(steep, gp(weight=0.1))


# --- smoothing --------------------------------------------------------------------------------------------------------

MANY = 20_000  # weights, each with a noise of its own: as many draws


def test_smoothing_averages_over_noise_on_each_weight():
    def cube(theta: Tensor) -> Tensor:
        return theta.pow(3).sum()

    end, asked, _ = descend(cube, rs(sigma=0.1, draws=1), size=MANY // 2)
    slopes = 1 - end
    assert float(slopes.mean()) == pytest.approx(3.03, abs=3 * float(slopes.std()) / MANY**0.5)
    noise = asked[0] - 1
    assert float(noise.std()) == pytest.approx(0.1, rel=0.03)
    assert abs(float(noise[: MANY // 2] @ noise[MANY // 2 :])) / (MANY / 2) < 0.03 * 0.1  # unlike in the two tensors


def test_smoothing_on_the_bowl():
    def wide_bowl(theta: Tensor) -> Tensor:
        return 0.5 * (CURVATURE.repeat_interleave(MANY) * theta.square()).sum()

    end, asked, _ = descend(wide_bowl, rs(sigma=0.1, draws=1), size=MANY)
    for slopes, wanted in zip((1 - end).split(MANY), (1, 9), strict=True):
        assert float(slopes.mean()) == pytest.approx(wanted, abs=3 * float(slopes.std()) / MANY**0.5)
    values = 0.5 * (asked[0][:MANY].square() + 9 * asked[0][MANY:].square())
    assert float(values.mean()) == pytest.approx(5.05, abs=3 * float(values.std()) / MANY**0.5)


def test_smoothing_takes_the_mean_over_its_draws_and_leaves_the_retain_term_alone():
    end, asked, kept = descend(bowl, rs(sigma=0.1, draws=4), lambda theta: theta.sum())
    assert len(asked) == 4
    assert [point.tolist() for point in kept] == [[1, 1]]
    torch.testing.assert_close(1 - end, CURVATURE * torch.stack(asked).mean(0) + 1)


# --- averaging --------------------------------------------------------------------------------------------------------


def averaged(loss: Callable[[Tensor], Tensor], rule: StepRule, steps: int) -> float:
    return float(descend(loss, rule, steps=steps)[0][0])


def test_the_average_of_the_weights_on_the_way():
    """Weights that double, and weights that grow by 1 per step."""
    doubled = averaged(lambda theta: -0.5 * theta.square().sum(), wa(start=1, every=1), 6)
    assert doubled == pytest.approx(2 * 10.5)  # 2, 4, 8, 16, 32, 64
    assert averaged(lambda theta: -theta.sum(), wa(), 125) == 1 + 112.5  # steps 100, 105, ... 125
    assert averaged(lambda theta: -theta.sum(), wa(), 104) == 1 + 100


def test_the_average_holds_running_statistics_but_no_counters():
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))

    def state(steps: int, rule: StepRule) -> dict[str, Tensor]:
        model = Classifier(tiny.drawn(net))
        train(model, [Term("retain", model.encode(tiny.features()), own_loss)], Recipe(steps=steps), step_rule=rule)
        return model.module.state_dict()

    ends, mean = [state(steps, plain()) for steps in (2, 3)], state(3, wa(start=2, every=1))
    for name in mean:
        wanted = (ends[0][name] + ends[1][name]) / 2 if mean[name].is_floating_point() else ends[1][name]
        torch.testing.assert_close(mean[name], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (wa(start=7), {}, "first snapshot is due after step 7, but the run has 6"),
        (wa(start=2), {"keep": "best", "evaluate_every": 1}, "use keep=last"),
    ],
)
def test_averages_that_cannot_be_are_refused(rule: StepRule, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        descend_with_evaluation(rule, **options)


def descend_with_evaluation(rule: StepRule, **options: Any) -> None:
    model = tiny.classifier()
    term = Term("retain", model.encode(tiny.features()), own_loss)
    evaluate = (lambda _: 0.0) if options else None
    train(model, [term], Recipe(steps=6, **options), step_rule=rule, evaluate=evaluate)


# --- every rule -------------------------------------------------------------------------------------------------------

ACTIVE: dict[str, StepRule] = {
    "sam": sam(rho=0.05), "rs": rs(sigma=0.01), "gp": gp(weight=0.1), "cr": cr(weight=0.1),
    "following": cr(weight=0.1, direction="following"), "wa": wa(start=1, every=1),
}  # fmt: skip
IDLE: dict[str, StepRule] = {
    "sam": sam(rho=0), "rs": rs(sigma=0), "gp": gp(weight=0), "cr": cr(weight=0), "wa": wa(every=0),
}  # fmt: skip
every_rule = pytest.mark.parametrize("name", ACTIVE)


def test_every_registered_rule_is_among_those_tested():
    assert {"plain", *IDLE} == set(RULES) == {"plain", *ACTIVE} - {"following"}


def npo_run(rule: StepRule, steps: int = 6, pad: int = 0, **options: Any) -> Model:
    """NPO with a retain term on a language model; `pad` appends ignored positions to every batch."""
    model = tiny.language()
    request = tiny.request("language")
    examples = model.encode(request.forget)
    reference = per_example(model, examples)

    def leave(model: Model, batch: Batch) -> Tensor:
        return preference.npo(model.loss(padded(batch, pad)), reference[batch.index])

    def keep(model: Model, batch: Batch) -> Tensor:
        return model.loss(padded(batch, pad))

    terms = [
        Term("forget", examples, leave, role="forget"),
        Term("retain", model.encode(request.retain), keep, per="token"),
    ]
    recipe: dict[str, Any] = {"steps": steps, "batch_size": 3, "lr": 0.01}
    train(model, terms, Recipe(**recipe | options), step_rule=rule)
    return model


def padded(batch: Batch, positions: int) -> Batch:
    fills = {"input_ids": 257, "attention_mask": 0}
    inputs = {
        name: torch.nn.functional.pad(value, (0, positions), value=fills[name]) for name, value in batch.inputs.items()
    }
    return replace(batch, inputs=inputs, labels=torch.nn.functional.pad(batch.labels, (0, positions), value=-100))


@pytest.mark.parametrize("name", IDLE)
def test_a_strength_of_zero_is_the_plain_step_bit_for_bit(name: str):
    for steps in (1, 4):
        assert npo_run(plain(), steps).fingerprint() == npo_run(IDLE[name], steps).fingerprint()


@every_rule
def test_a_strength_above_zero_changes_the_update_and_the_same_seed_does_not(name: str):
    prints = [npo_run(ACTIVE[name], 2).fingerprint() for _ in range(2)]
    assert prints[0] == prints[1] != npo_run(plain(), 2).fingerprint()


def test_a_seed_draws_its_own_noise():
    ends = [npo_run(rs(sigma=0.01), 1, seed=seed, batch_size=11) for seed in (0, 1)]
    assert ends[0].fingerprint() != ends[1].fingerprint()


@every_rule
def test_padding_changes_no_update(name: str):
    short, long = (npo_run(ACTIVE[name], 2, pad, optimizer="sgd") for pad in (0, 5))
    moved = 0.0
    start = tiny.language().module.parameters()
    for before, one, other in zip(start, short.module.parameters(), long.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6)
        moved = max(moved, float((before - one).detach().abs().max()))
    assert moved > 1e-3


@pytest.mark.parametrize("name", ["sam", "rs", "cr", "following"])
def test_an_exception_in_a_displaced_pass_leaves_every_bit(name: str):
    """In whichever pass it comes, the weights are where they were."""
    raised = displacements = 0
    for last in range(1, 9):
        model, calls = tiny.language(), [0]
        before = model.fingerprint()

        def loss(
            model: Model, batch: Batch, last: int = last, calls: list[int] = calls, before: str = before
        ) -> Tensor:
            nonlocal displacements
            calls[0] += 1
            if calls[0] == last:
                displacements += model.fingerprint() != before
                raise KeyboardInterrupt
            return model.loss(batch)

        term = Term("forget", model.encode(tiny.QUESTIONS), loss, role="forget")
        try:
            train(model, [term], Recipe(steps=1), step_rule=ACTIVE[name])
        except KeyboardInterrupt:
            raised += 1
            assert model.fingerprint() == before
    assert 2 <= raised <= 5
    assert displacements >= 1


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(sam, rho=-0.1), "rho is -0.1"), (partial(sam, rho=float("nan")), "rho is nan"),
        (partial(sam, rho=float("inf")), "rho is inf"), (partial(rs, sigma=-1.0), "sigma is -1"),
        (partial(rs, draws=0), "draws is 0"), (partial(gp, weight=-1.0), "gp: weight is -1"),
        (partial(cr, weight=float("inf")), "cr: weight is inf"), (partial(cr, mu=0.0), "cr: mu is 0"),
        (partial(wa, start=0), "start is 0"), (partial(wa, every=-1), "every is -1"),
    ],
)  # fmt: skip
def test_strengths_that_are_none_are_refused(make: Callable[[], StepRule], message: str):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("beta", "d", "value"), [(0.1, 0, 13.8629436), (0.1, 1, 12.8879332), (0.1, -1, 14.8879332), (0.015, 0, 92.4196241)]
)
def test_the_loss_that_the_paper_smooths(beta: float, d: float, value: float):
    nll = torch.tensor([d], dtype=torch.float64)
    assert preference.npo(nll, torch.zeros_like(nll), beta).item() == pytest.approx(value, abs=5e-8)


# --- known wrong rules ------------------------------------------------------------------------------------------------


def penalises_the_gradient(rule: Callable[[float], StepRule]) -> None:
    near(1 - descend(bowl, rule(0.1))[0], 1.011043, 9.894495)


def adds_nothing_but_its_penalty(rule: Callable[[float], StepRule]) -> None:
    near(1 - descend(bowl, rule(0.1))[0], 1, 9)


def obeys_the_clip(rule: Callable[[float], StepRule]) -> None:
    end, _, _ = descend(bowl, rule(0.1), lambda theta: theta.sum(), clip=0.5)
    assert float((1 - end).norm()) == pytest.approx(0.5, rel=1e-3)


def displaces_what_has_a_gradient(rule: Callable[[float], StepRule]) -> None:
    """Only the second tensor takes part in the loss; displacing the first would change nothing."""
    model = Bowl(Point())
    asked: list[float] = []

    def loss(model: Any, batch: Batch) -> Tensor:
        asked.append(float(model.module.y.detach()))
        return model.module.y.square().expand(len(batch))

    recipe = Recipe(steps=1, optimizer="sgd", momentum=0)
    train(model, [Term("forget", model.encode([{}]), loss, role="forget")], recipe, step_rule=rule(0.1))
    assert asked == [1, pytest.approx(1.1)]


CHECKS: list[tuple[Callable[[Callable[[float], StepRule]], None], Callable[..., StepRule], Callable[..., StepRule]]] = [
    (penalises_the_gradient, lambda strength: gp(weight=strength), wrong.gp_detached),
    (adds_nothing_but_its_penalty, lambda strength: cr(weight=strength), wrong.cr_doubled),
    (obeys_the_clip, lambda strength: rs(sigma=strength), wrong.rs_stepping),
    (displaces_what_has_a_gradient, lambda strength: sam(rho=strength), wrong.sam_misaligned),
]


@pytest.mark.parametrize(("check", "right", "mistaken"), CHECKS, ids=[check.__name__ for check, _, _ in CHECKS])
def test_known_wrong_rules_are_rejected(check: Any, right: Any, mistaken: Any):
    check(right)
    with pytest.raises(AssertionError):
        check(mistaken)
