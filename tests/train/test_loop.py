"""The training loop: exact sums, what moves and what does not, and what is refused."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models import tiny
from torch import Tensor, nn

from lethe.data.order import bucketed, mix
from lethe.descent.steps import cr, gp, rs, sam, wa
from lethe.descent.terms import ascend, own_loss
from lethe.errors import InputError
from lethe.losses.tokens import cross_entropy
from lethe.models.base import Batch, Model
from lethe.tracking import Log
from lethe.train import Recipe, Selection, StepRule, Term, plain, train

BIG = 11  # all questions in one batch
RULES = {
    "plain": plain, "sam": sam(rho=0.3), "rs": rs(sigma=0.1), "gp": gp(weight=0.1), "cr": cr(weight=0.1),
    "wa": wa(start=1, every=1),
}  # fmt: skip


class Rows(Log):
    """Keeps the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Mapping[str, float]] = []

    def row(self, row: Mapping[str, float]) -> None:
        self.rows.append(row)


def weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.module.named_parameters()}


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def double(architecture: str = "llama") -> Any:
    """A language model in float64, so that only mathematics can make two updates differ."""
    model = tiny.language(architecture)
    model.module.double()
    return model


def retain(model: Model, **options: Any) -> Term:
    return Term("retain", model.encode(tiny.QUESTIONS), own_loss, **options)


def both(model: Model, **options: Any) -> list[Term]:
    """A forget and a retain term with different numbers of tokens."""
    forget = Term("forget", model.encode(tiny.QUESTIONS[:4]), lambda m, b: -m.loss(b), role="forget", **options)
    return [forget, Term("retain", model.encode(tiny.QUESTIONS[4:]), own_loss, **options)]


def one_step(model: Model, terms: list[Term], step_rule: StepRule = plain, **options: Any) -> dict[str, Tensor]:
    """The update of one SGD step with learning rate 1: minus the gradient."""
    before = weights(model)
    recipe = Recipe(
        **{"steps": 1, "lr": 1.0, "optimizer": "sgd", "momentum": 0.0, "clip": None, "batch_size": BIG} | options
    )
    train(model, terms, recipe, step_rule=step_rule)
    return {name: value - before[name] for name, value in weights(model).items()}


# --- sums ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "accumulate"),
    [(rule, 3) for rule in RULES] + [(rule, n) for rule in ("plain", "sam") for n in (2, 11, 40)],
)
@pytest.mark.parametrize("reduction", ["token", "example", "pooled"])
def test_accumulation_is_exact_for_every_reduction(reduction: str, accumulate: int, rule: str):
    options = {"per": "token", "pool": "both"} if reduction == "pooled" else {"per": reduction}
    updates = []
    for count in (1, accumulate):
        model = double()
        updates.append(one_step(model, both(model, **options), RULES[rule], accumulate=count))
    assert distance(*updates) < 1e-12
    assert max(float(value.abs().max()) for value in updates[0].values()) > 1e-2


@pytest.mark.parametrize("reduction", ["token", "example", "pooled"])
def test_a_step_is_the_gradient_of_the_formula(reduction: str):
    model = double()
    options = {"per": "token", "pool": "both"} if reduction == "pooled" else {"per": reduction}
    update = one_step(model, both(model, **options), accumulate=3)
    fresh = double()
    forget, kept = (
        fresh.collate(fresh.encode(part), range(len(part))) for part in (tiny.QUESTIONS[:4], tiny.QUESTIONS[4:])
    )
    tokens = [float(fresh.sizes(batch).sum()) for batch in (forget, kept)]
    shares = {"token": tokens, "example": [4, 7], "pooled": [sum(tokens)] * 2}[reduction]
    (-fresh.loss(forget).sum() / shares[0] + fresh.loss(kept).sum() / shares[1]).backward()
    wanted = {name: -parameter.grad for name, parameter in fresh.module.named_parameters()}
    assert distance(update, wanted) < 1e-12


def test_a_mean_of_micro_batch_means_is_another_update():
    """The common mistake: each micro-batch divides by its own tokens."""

    def micro_mean(model: Model, batch: Batch) -> Tensor:
        tokens = cross_entropy(model.logits(batch), batch.labels)
        return (tokens.sum() / model.sizes(batch).sum()).expand(len(batch))

    exact, wrong = double(), double()
    right = one_step(exact, [retain(exact, per="token")], accumulate=3)
    mistaken = one_step(wrong, [Term("retain", wrong.encode(tiny.QUESTIONS), micro_mean)], accumulate=3)
    assert distance(right, mistaken) > 1e-3


def test_accumulation_draws_the_same_negatives():
    updates = []
    for accumulate in (1, 4):
        model = tiny.recommender()
        model.module.double()
        updates.append(
            one_step(model, [Term("retain", model.encode(tiny.interactions()), own_loss)], accumulate=accumulate)
        )
    assert distance(*updates) < 1e-12


def test_a_loss_over_the_whole_batch_refuses_to_be_cut():
    model = tiny.classifier()
    term = Term("whole", model.encode(tiny.features()), lambda m, b: m.loss(b).max(), per="batch")
    assert one_step(model, [term])
    with pytest.raises(InputError, match="neither accumulate > 1"):
        one_step(model, [term], accumulate=2)


def test_terms_of_one_pool_must_count_the_same_thing():
    model = tiny.classifier()
    terms = [Term(per, model.encode(tiny.features()), own_loss, per=per, pool="p") for per in ("token", "example")]
    with pytest.raises(InputError, match="count different things"):
        one_step(model, terms)


def test_a_term_of_weight_zero_is_logged_and_changes_nothing():
    updates, history = [], None
    for weight in (None, 0.0, 0.1):
        model = tiny.classifier()
        terms = [Term("retain", model.encode(tiny.features()), own_loss)]
        if weight is not None:
            terms.append(ascend(model, tiny.request("classifier"), weight))
        history = train(model, terms, Recipe(epochs=3, batch_size=4))
        updates.append(weights(model))
        assert all(("forget" in row) == (weight is not None) for row in history.losses)
    assert distance(updates[0], updates[1]) == 0
    assert distance(updates[0], updates[2]) > 1e-4


# --- how the steps go ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "shape"),
    [("constant", lambda x: 1.0), ("linear", lambda x: 1 - x), ("cosine", lambda x: (1 + math.cos(math.pi * x)) / 2)],
)
def test_schedules(schedule: Any, shape: Callable[[float], float]):
    model, log = tiny.classifier(), Rows()
    train(model, [Term("retain", model.encode(tiny.features()), own_loss)],
          Recipe(lr=0.5, steps=10, schedule=schedule, warmup=0.4), log=log)  # fmt: skip
    warm, rest = [0.125, 0.25, 0.375, 0.5], [0.5 * shape(step / 6) for step in range(6)]
    assert [row["lr"] for row in log.rows] == pytest.approx(warm + rest)


def test_clipping_bounds_the_joint_norm_and_logs_it_before():
    def norm(update: dict[str, Tensor]) -> float:
        return float(torch.stack([value.norm() for value in update.values()]).norm())

    free, clipped = double(), double()
    whole, bounded = one_step(free, [retain(free)]), one_step(clipped, [retain(clipped)], clip=0.25)
    assert norm(whole) > 1
    assert norm(bounded) == pytest.approx(0.25, rel=1e-4)
    scale = 0.25 / norm(whole)
    assert distance(bounded, {name: value * scale for name, value in whole.items()}) < 1e-6
    model, log = double(), Rows()
    train(model, [retain(model)], Recipe(steps=1, batch_size=BIG, clip=0.25), log=log)
    assert log.rows[0]["gradient_norm"] == pytest.approx(norm(whole), rel=1e-9)


def test_bf16_computes_in_bf16_and_keeps_the_weights_in_float32():
    model, seen = tiny.language(), set()
    hook = model.module.lm_head.register_forward_hook(lambda _, __, output: seen.add(output.dtype))  # pyright: ignore
    exact = train(tiny.language(), [retain(model)], Recipe(steps=3))
    history = train(model, [retain(model)], Recipe(steps=3, precision="bf16"))
    hook.remove()
    assert seen == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    for row, reference in zip(history.losses, exact.losses, strict=True):
        assert row["retain"] == pytest.approx(reference["retain"], rel=0.02)
        assert row["retain"] != reference["retain"]


def test_training_learns():
    model = tiny.language()
    history = train(model, [retain(model, per="token")], Recipe(epochs=40, lr=1e-2, schedule="cosine"))
    assert history.steps == len(history.losses) == 40
    assert history.losses[-1]["retain"] < 0.3 * history.losses[0]["retain"]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    prints = []
    for seed in (0, 0, 1):
        model = tiny.recommender()
        train(model, [Term("retain", model.encode(tiny.interactions()), own_loss)], Recipe(batch_size=5, seed=seed))
        prints.append(model.fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_the_callers_random_state_mode_and_gradients_are_left_alone():
    model = tiny.classifier()
    fixed = next(model.module.parameters()).requires_grad_(False)
    state = torch.random.get_rng_state()
    train(model, [Term("retain", model.encode(tiny.features()), own_loss)], Recipe(epochs=1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not model.module.training
    assert not fixed.requires_grad
    assert all(parameter.requires_grad for parameter in list(model.module.parameters())[1:])
    assert all(parameter.grad is None for parameter in model.module.parameters())


# --- evaluation ---------------------------------------------------------------------------------------------------


def run_with_values(values: list[float], folder: Path | None = None, **options: Any):
    model, left = tiny.classifier(), list(values)
    terms = [Term("retain", model.encode(tiny.features()), own_loss)]
    recipe = Recipe(**{"steps": 7, "batch_size": 5, "evaluate_every": 2, "keep": "best"} | options)
    history = train(model, terms, recipe, folder=folder, evaluate=lambda _: left.pop(0))
    return model, history


def after(steps: int) -> str:
    model = tiny.classifier()
    train(model, [Term("retain", model.encode(tiny.features()), own_loss)], Recipe(steps=steps, batch_size=5))
    return model.fingerprint()


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize(
    ("values", "best"),
    [([3, 1, 2, 4], 4), ([3, 2, 2, 2], 4), ([9, 8, 7, 6], 7), ([float("nan"), 5, float("nan"), 6], 4)],
)
def test_keep_best_ends_with_the_weights_of_the_lowest_value(
    values: list[float], best: int, on_disk: bool, tmp_path: Path
):
    saved = {"folder": tmp_path, "checkpoint_every": 3} if on_disk else {}
    model, history = run_with_values(values, **saved)
    assert [step for step, _ in history.evaluations] == [2, 4, 6, 7]
    assert history.best_step == best
    assert model.fingerprint() == after(best)


def test_keep_last_evaluates_but_keeps_the_last_weights():
    model, history = run_with_values([3, 1, 2, 4], keep="last")
    assert history.evaluations == [(2, 3), (4, 1), (6, 2), (7, 4)]
    assert model.fingerprint() == after(7)


def test_a_model_is_evaluated_in_eval_mode_and_trained_in_train_mode():
    modes: list[bool] = []
    model = tiny.classifier()

    def loss(model: Model, batch: Batch) -> Tensor:
        modes.append(model.module.training)
        return model.loss(batch)

    def evaluate(model: Model) -> float:
        modes.append(model.module.training)
        return 0.0

    train(model, [Term("retain", model.encode(tiny.features()), loss)],
          Recipe(steps=2, evaluate_every=1), evaluate=evaluate)  # fmt: skip
    assert modes == [True, False, True, False]


# --- what may not move ----------------------------------------------------------------------------------------------


OPTIMIZERS = [{"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "adamw"}]


@pytest.mark.parametrize(
    ("family", "rule"),
    [
        (family, rule)
        for family in tiny.FAMILIES
        for rule in RULES
        if rule in ("plain", "sam") or family == "classifier"
    ],
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adamw"])
def test_masked_weights_stay_bit_identical(family: str, optimizer: dict[str, Any], rule: str):
    model, rng = tiny.model(family), torch.Generator().manual_seed(0)
    named = dict(model.module.named_parameters())
    mask = {name: torch.rand(p.shape, generator=rng) < 0.5 for name, p in named.items()}
    seen: list[bool] = []
    before = weights(model)

    def loss(model: Model, batch: Batch) -> Tensor:  # not even while SAM displaces the others
        seen.append(all(torch.equal(p[~mask[n]], before[n][~mask[n]]) for n, p in model.module.named_parameters()))
        return model.loss(batch)

    term = Term("forget", model.encode(tiny.FAMILIES[family][1]()), loss, role="forget")
    train(model, [term], Recipe(lr=0.1, weight_decay=0.3, batch_size=4, epochs=2, **optimizer),
          selection=Selection(named, mask), step_rule=RULES[rule])  # fmt: skip
    moved = weights(model)
    assert all(torch.equal(moved[name][~mask[name]], before[name][~mask[name]]) for name in moved)
    assert all((moved[name][mask[name]] != before[name][mask[name]]).float().mean() > 0.5 for name in moved)
    assert all(seen)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adamw"])
def test_frozen_weights_stay_bit_identical(optimizer: dict[str, Any]):
    model = tiny.language()
    named = dict(model.module.named_parameters())
    chosen = {name: parameter for name, parameter in named.items() if "layers.1.mlp" in name}
    before = weights(model)
    train(model, [retain(model)], Recipe(lr=0.1, weight_decay=0.3, epochs=2, **optimizer), selection=Selection(chosen))
    moved = [name for name, value in weights(model).items() if not torch.equal(value, before[name])]
    assert moved == list(chosen)
    assert len(moved) == 3


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adamw"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_learning_rate_of_zero_leaves_every_bit(rule: StepRule, optimizer: dict[str, Any]):
    model = tiny.language()
    before = model.fingerprint()
    train(model, both(model), Recipe(lr=0, epochs=2, weight_decay=0.1, **optimizer), step_rule=rule)
    assert model.fingerprint() == before


def test_an_exception_inside_the_displaced_pass_leaves_every_bit():
    model, calls = tiny.language(), [0]
    before = model.fingerprint()
    displaced: list[bool] = []

    def loss(model: Model, batch: Batch) -> Tensor:
        calls[0] += 1
        if calls[0] == 2:
            displaced.append(model.fingerprint() != before)
            raise KeyboardInterrupt
        return model.loss(batch)

    with pytest.raises(KeyboardInterrupt):
        train(
            model, [Term("forget", model.encode(tiny.QUESTIONS), loss, role="forget")], Recipe(), step_rule=sam(rho=0.5)
        )
    assert displaced == [True]
    assert model.fingerprint() == before


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_take_it_in(bad: float):
    model = tiny.classifier()

    def loss(model: Model, batch: Batch) -> Tensor:
        return model.loss(batch) * (bad if steps.rows else 1.0)

    steps = Rows()
    term = Term("retain", model.encode(tiny.features()), loss)
    with pytest.raises(InputError, match=r"'retain' became (nan|inf) at step 2; lower lr"):
        train(model, [term], Recipe(batch_size=5), log=steps)
    assert model.fingerprint() == after(1)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_take_it_in():
    model = tiny.classifier()
    before = model.fingerprint()
    term = Term("retain", model.encode(tiny.features()), lambda m, b: (m.loss(b) - m.loss(b)).sqrt())
    with pytest.raises(InputError, match="'gradient_norm' became nan at step 1"):
        train(model, [term], Recipe())
    assert model.fingerprint() == before


def test_a_loss_that_no_chosen_weight_takes_part_in_is_refused():
    model = tiny.language()
    last = {name: p for name, p in model.module.named_parameters() if "lm_head" in name}
    term = Term("forget", model.encode(tiny.QUESTIONS), lambda m, b: m.hidden(b, [0])[0].sum((1, 2)))
    with pytest.raises(InputError, match="'forget' depends on no weight that may move"):
        train(model, [term], Recipe(), selection=Selection(last))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs is 0"), ({"steps": 0}, "steps is 0"), ({"batch_size": 0}, "batch_size is 0"),
        ({"accumulate": 0}, "accumulate is 0"), ({"lr": -1.0}, "lr is -1"), ({"lr": float("inf")}, "lr is inf"),
        ({"lr": "quick"}, "'lr' must be float"), ({"warmup": 1.5}, "warmup is 1.5"), ({"clip": 0.0}, "clip is 0"),
        ({"optimizer": "adamw2"}, "did you mean 'adamw'"), ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"keep": "best"}, "keep=best needs evaluate_every"), ({"epochs": 2.5}, "'epochs' must be int"),
    ],
)  # fmt: skip
def test_recipes_that_make_no_sense_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Recipe(**options)


def test_a_recipe_takes_the_words_of_a_command_line():
    given: dict[str, Any] = {"lr": "1e-3", "clip": "none", "steps": "12"}
    assert Recipe(**given) == Recipe(lr=1e-3, clip=None, steps=12)


def test_runs_that_make_no_sense_are_refused(tmp_path: Path):
    model = tiny.classifier()
    term = Term("retain", model.encode(tiny.features()), own_loss)
    for terms, options, message in [
        ([], {}, "Nothing to train on"),
        ([Term("retain", [], own_loss)], {}, "Nothing to train on"),
        ([term, term], {}, "share a name"),
        ([term], {"recipe": Recipe(evaluate_every=2)}, "no function to evaluate"),
        ([term], {"recipe": Recipe(checkpoint_every=2)}, "no folder"),
        ([term], {"selection": Selection({})}, "No weight is selected"),
    ]:
        with pytest.raises(InputError, match=message):
            train(model, terms, **{"recipe": Recipe(), **options})


def test_a_model_without_dropout_trains_as_a_bare_loop_does():
    """The whole loop against ten lines of PyTorch, to the bit."""
    model, bare = tiny.classifier(), tiny.classifier()
    records = tiny.features(8)
    train(
        model,
        [Term("retain", model.encode(records), own_loss)],
        Recipe(epochs=6, batch_size=8, clip=0.5, weight_decay=0.1),
    )
    optimizer = torch.optim.AdamW(bare.module.parameters(), lr=1e-3, weight_decay=0.1)
    examples = bare.encode(records)
    for epoch in range(6):
        (rows,) = bucketed([1] * 8, 8, mix(0, 7, epoch))
        batch = bare.collate([examples[row] for row in rows], rows)
        optimizer.zero_grad()
        (bare.loss(batch).sum() / 8).backward()
        nn.utils.clip_grad_norm_(bare.module.parameters(), 0.5)
        optimizer.step()
    assert model.fingerprint() == bare.fingerprint()


@pytest.mark.parametrize("weight", [-1.0, -1e-9, float("nan"), float("inf")])
def test_a_weight_that_would_undo_its_term_is_refused(weight: float):
    model = tiny.classifier()
    terms = [Term(name, model.encode(tiny.features()), own_loss, weight=w) for name, w in (("a", 1.0), ("b", weight))]
    with pytest.raises(InputError, match=f"^The weight of the b term is {weight:g}; it must be a finite number, 0 or"):
        train(model, terms, Recipe())
