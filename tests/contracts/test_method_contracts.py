"""Every registered method keeps what DESIGN promises of methods: found by name, on every family that it takes.

A rule that does not apply to a method says so by a field of its card, never by its name.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from tests.attacks.tiny import WORLDS
from tests.contracts.cases import Rule, always, cards, families, matrix, model, one_class, requests
from torch import Tensor
from transformers import AutoModelForCausalLM

from lethe.auditing.recovery import Measure, knowledge
from lethe.descent.objective import objective
from lethe.errors import InputError
from lethe.evidence import Spec
from lethe.losses import ascent
from lethe.measure import compute
from lethe.models import FAMILIES, load
from lethe.models.base import Batch, Model
from lethe.registry import Card, bind, method
from lethe.request import Request
from lethe.runs.unlearn import apply_method
from lethe.train import Recipe, Term, train

QUICK: dict[str, Any] = {"lr": 1e-2, "epochs": 4, "batch_size": 2}
WRAPPERS = ("decoding", "input", "output")
STEPS = ("sam:rho=0.05", "rs:sigma=0.01", "gp:weight=1", "cr:weight=1", "wa:start=1,every=1")
# Learning rate and epochs, gentle to brutal: every method has a place between leaving all as it was and breaking all.
STRENGTHS = ((1e-3, 10), (3e-4, 10), (3e-3, 10), (5e-2, 5), (1e-2, 10), (2e-3, 15), (3e-2, 10), (3e-3, 40), (2e-2, 40))


def run(card: Card, on: Model, request: Request, **options: Any) -> Model:
    """The method with a quick recipe, as far as it takes one."""
    quick = {name: value for name, value in QUICK.items() if name in card.options()}
    return card.function(on, request, **bind(card.function, quick | options))


@cache
def usual(card: Card, family: str) -> tuple[Request, Model]:
    """The first of the family's requests that the method does not refuse, and what it makes of it; never changed."""
    refusals = []
    for request in requests(family):
        torch.manual_seed(0)
        try:
            return request, run(card, model(family), request)
        except InputError as refusal:
            refusals.append(str(refusal))
    raise AssertionError(f"{card.name} refuses every request: {refusals}")


def weights(of: Model) -> dict[str, Tensor]:
    """The model's own; what is wrapped around it comes on top."""
    return {name: parameter.detach().clone() for name, parameter in of.inner.named_parameters()}


def parts(of: Model) -> list[torch.nn.Module]:
    """The model's network, or of an ensemble those that it consists of."""
    return list(getattr(of.inner, "constituents", [of.inner]))


def has_the_tensors_of(made: Model, given: Model) -> bool:
    """Name by name; an ensemble, which only a method that retrains may make, has them once per constituent."""
    own = [name for name, _ in given.inner.named_parameters()]
    return all([name for name, _ in part.named_parameters()] == own for part in parts(made))


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of coordinates that differ, by tensor; only tensors that differ."""
    assert before.keys() == after.keys()
    counts = {name: int((before[name] != after[name]).sum()) for name in before}
    return {name: count for name, count in counts.items() if count}


def has_a_rate(card: Card) -> bool:
    return "lr" in card.options()


def descends(card: Card) -> bool:
    """Made by @objective, so that axes and terms can be asked for."""
    return "where" in card.options()


def goes_back(card: Card) -> bool:
    """To weights on the way, chosen by validation: these may stand before the first step that differs."""
    return "validation" in card.requires


def keeps_weights(card: Card) -> bool:
    """Not so where it draws weights anew: all, or those of the layers that it chooses."""
    return card.level != "retraining" and not (descends(card) and "fresh=true" in card.options()["where"].default)


# --- rules ------------------------------------------------------------------------------------------------------------


def leaves_model_and_request_alone(card: Card, family: str) -> None:
    """Not one bit of the input changes, and nothing of it is shared with the output."""
    given, request = model(family).copy(), usual(card, family)[0]
    flags = [p.requires_grad for p in given.module.parameters()], given.module.training, given.guard
    before = given.fingerprint(), request.fingerprint()
    made = run(card, given, request)
    assert made is not given
    assert all([p.requires_grad for p in part.parameters()] == flags[0] for part in parts(made))
    with torch.no_grad():
        for tensor in made.module.parameters():
            tensor.fill_(7.0)
    assert (given.fingerprint(), request.fingerprint()) == before
    assert ([p.requires_grad for p in given.module.parameters()], given.module.training, given.guard) == flags


def makes_the_same_bytes_from_the_same_seed(card: Card, family: str) -> None:
    """Whatever the global random state is, and whether the seed is the request's or the option's."""
    given, (request, made) = model(family), usual(card, family)
    torch.manual_seed(1)
    assert run(card, given, request).fingerprint() == made.fingerprint()
    if "seed" in card.options():
        own, others = run(card, given, replace(request, seed=3)), run(card, given, request, seed=3)
        assert own.fingerprint() == others.fingerprint()


def makes_a_model_that_works(card: Card, family: str) -> None:
    """Same family, same tensors (unchanged ones where it wraps the model), finite, ready to be looked at."""
    made = usual(card, family)[1]
    assert made.family == family
    assert has_the_tensors_of(made, model(family))
    assert len(parts(made)) == 1 or card.level == "retraining"
    if made.inner is not made.module:
        assert card.level in WRAPPERS
        assert not changed(weights(model(family)), weights(made))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in made.module.state_dict().values())
    assert not made.module.training


def comes_back_from_its_folder(card: Card, family: str) -> None:
    """What is saved is an ordinary folder: loaded again, by the ecosystem's own classes too, it answers the same."""
    made = usual(card, family)[1]
    unfolded = run(card, model(family), usual(card, family)[0], where="lora:rank=2") if adapts(card) else None
    for saved in filter(None, (made, unfolded)):
        assert has_the_tensors_of(saved, model(family))  # adapters are folded in
        with TemporaryDirectory() as place:
            folder = saved.save(Path(place) / "model")
            assert load(folder, family=family).fingerprint() == saved.fingerprint()
            if family == "language":
                with saved.evaluating(), torch.no_grad():
                    ids = torch.arange(6)[None]
                    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(input_ids=ids).logits
                    assert torch.equal(plain, saved.module(input_ids=ids).logits)
    if unfolded is not None:
        assert changed(weights(made), weights(unfolded))


def adapts(card: Card) -> bool:
    """Whether it may train low-rank adapters instead of the weights."""
    return descends(card) and keeps_weights(card)


def refuses_before_any_compute(card: Card, family: str) -> None:
    """An empty set that it requires, or an ability that the model lacks: refused by name, the model untouched."""
    bare = bare_model(family)
    request = usual(card, family)[0]
    assert "forget" in card.requires
    for part in sorted(card.requires - {"forget"}):
        with pytest.raises(InputError, match=f"{card.name} needs {part} records; the {part} set is empty"):
            apply_method(card.name, bare, replace(request, **{part: ()}), {}, None)
    for ability in sorted(card.needs):
        with pytest.raises(InputError, match=f"{card.name} needs {ability}, which a {family} model does not offer"):
            apply_method(card.name, bare_model(family, without=ability), request, {}, None)


def bare_model(family: str, without: str = "") -> Model:
    """A model without module or tokenizer: any compute on it is an AttributeError."""
    kind = type(model(family))
    return object.__new__(type(kind.__name__, (kind,), {"abilities": kind.abilities - {without}}))


def says_why_it_cannot_do_without_a_retain_set(card: Card, family: str) -> None:
    """Where none is required it works without one, or its options are what needs one, and it says so."""
    try:
        run(card, model(family), replace(usual(card, family)[0], retain=()))
    except InputError as refusal:
        assert "needs retain records" in str(refusal)


def moves_nothing_at_rate_0(card: Card, family: str) -> None:
    made = run(card, model(family), usual(card, family)[0], lr=0.0)
    assert not changed(weights(model(family)), weights(made))


def moves_only_what_may_move(card: Card, family: str) -> None:
    """Named tensors, or a share of the coordinates: all others stay bit-identical, under weight decay too."""
    given, request = model(family), usual(card, family)[0]
    before = weights(given)
    everywhere = changed(before, weights(usual(card, family)[1]))
    one = next(name for name in everywhere if before[name].dim() > 1)
    selected = weights(run(card, given, request, where=f"layers:match=^{one}$", weight_decay=0.1))
    assert list(changed(before, selected)) == [one]
    masked = weights(run(card, given, request, where="saliency:keep=0.25", weight_decay=0.1))
    assert 0 < sum(changed(before, masked).values()) <= sum(tensor.numel() for tensor in before.values()) // 4


def moves_by_every_term(card: Card, family: str) -> None:
    """Each term with a weight changes the update when it is left out; with none, nothing moves."""
    request = usual(card, family)[0]

    def trained(silent: Callable[[Term], bool]) -> tuple[list[str], dict[str, Tensor]]:
        learner = model(family).copy()
        given = inspect.unwrap(card.function)(learner, request)
        terms: list[Term] = [given] if isinstance(given, Term) else given
        start = weights(learner)
        named = [term.name for term in terms if term.weight]
        train(learner, [replace(term, weight=0.0) if silent(term) else term for term in terms], Recipe(**QUICK))
        if not any(not silent(term) for term in terms):
            assert not changed(start, weights(learner))
        return named, weights(learner)

    names, together = trained(lambda term: False)
    assert names
    for name in names:
        assert changed(together, trained(lambda term, name=name: term.name == name)[1]), name
    trained(lambda term: True)


def obeys_its_retain_term(card: Card, family: str) -> None:
    """Each kind of retain term changes the update, and at weight 0 it is as if there were none."""
    given, request = model(family), usual(card, family)[0]

    def trained(**options: Any) -> dict[str, Tensor]:
        """Every weight, an assistant's too."""
        made = run(card, given, request, **options).module
        return {name: parameter.detach().clone() for name, parameter in made.named_parameters()}

    alone = trained(retain="none")
    for kind in ("nll", "kl"):
        assert changed(alone, trained(retain=kind))
        assert not changed(alone, trained(retain=kind, retain_weight=0.0))


def obeys_its_step_rule(card: Card, family: str) -> None:
    """Each rule changes the update, unless there is nothing to forget; at strength 0 it is the plain step's.

    The rules' own tests ask each for its strength 0; here one of them stands for the way there.
    """
    given, request = model(family), usual(card, family)[0]

    def stepped(step: str) -> dict[str, Tensor]:
        return weights(run(card, given, request, steps=4, step=step))

    alone = stepped("plain")
    for step in STEPS:
        try:
            assert changed(alone, stepped(step)), step
        except InputError as refusal:
            assert f"acts on the forget term, and {card.name} has none" in str(refusal)
        else:
            assert step != STEPS[0] or not changed(alone, stepped("sam:rho=0"))


def owes_nothing_to_the_weights_it_replaces(card: Card, family: str) -> None:
    """Exact: whatever the model had learnt, the result is the same."""
    other, request = model(family).copy(), usual(card, family)[0]
    with torch.no_grad():
        for tensor in other.module.parameters():
            tensor.mul_(-2.0).add_(0.1)
    assert not changed(weights(usual(card, family)[1]), weights(run(card, other, request)))


def is_called_suppression_where_it_wraps(card: Card, family: str) -> None:
    """What leaves the knowledge in the weights may not be called its removal."""
    made = usual(card, family)[1]
    wraps = made.guard is not None or made.inner is not made.module or card.level in WRAPPERS
    assert not wraps or card.intent in ("suppression", "control")


def forgets_more_than_it_loses(card: Card, family: str) -> None:
    """At some strength it loses what it is to forget, and little of what it is to keep."""
    tried = []
    for request in world_requests(family):
        for strength in strengths(card):
            try:
                forgotten, lost = losses(card, family, request, *strength)
            except InputError as refusal:
                tried.append(str(refusal))
                break
            tried.append(f"at {strength} it loses {forgotten:.2f} of the forget and {lost:.2f} of the retain set")
            if forgotten > 0.15 and lost < 0.3 and forgotten - lost > 0.1:
                return
    raise AssertionError("\n".join([f"{card.name} does not forget:", *tried]))


@cache
def world_requests(family: str) -> list[Request]:
    request = WORLDS[family]().request
    return [request, *one_class(request)]


def strengths(card: Card) -> Sequence[tuple[float, int]]:
    if not has_a_rate(card):
        return STRENGTHS[:1]
    return STRENGTHS if keeps_weights(card) else STRENGTHS[-2:]  # from nothing, little training is none


def losses(card: Card, family: str, request: Request, lr: float, epochs: int) -> tuple[float, float]:
    """Shares of what the target knows that are gone: of the forget set and of the retain set."""
    options = {"lr": lr, "epochs": epochs, "batch_size": 16} if has_a_rate(card) else {}
    made = run(card, WORLDS[family]().target, request, **presets(family).get(card.name, {}), **options)
    now = knows(made, request, measure_for(card, family))
    before = knows_before(family, request, measure_for(card, family))
    return 1 - now[0] / before[0], 1 - now[1] / before[1]


def knows(who: Model, request: Request, measure: Measure) -> tuple[float, float]:
    return measure(who, request.forget).value, measure(who, request.retain).value


@cache
def knows_before(family: str, request: Request, measure: Measure) -> tuple[float, float]:
    return knows(WORLDS[family]().target, request, measure)


SAID = knowledge(partial(compute, "rouge:set=forget"), spec=Spec(max_new_tokens=12, distributions=()))


def measure_for(card: Card, family: str) -> Measure:
    """What is only withheld is looked for where it would be said; all else in the probabilities."""
    wrapped = card.level in WRAPPERS and "generate" in model(family).abilities
    return SAID if wrapped else WORLDS[family]().measure


@cache
def presets(family: str) -> dict[str, dict[str, Any]]:
    """What benchmarks of the family set for methods at this size, but for the recipe."""
    recipe = {field.name for field in fields(Recipe)}
    tasks = [card.function() for card in cards("benchmark") if "source" in card.options() and family in families(card)]
    return {
        name: {option: value for option, value in preset.items() if option not in recipe}
        for task in tasks
        for name, preset in task.presets.items()
    }


RULES: dict[Rule, Callable[[Card], bool]] = {
    leaves_model_and_request_alone: always,
    makes_the_same_bytes_from_the_same_seed: always,
    makes_a_model_that_works: always,
    comes_back_from_its_folder: always,
    refuses_before_any_compute: always,
    says_why_it_cannot_do_without_a_retain_set: lambda card: "retain" not in card.requires,
    moves_nothing_at_rate_0: lambda card: has_a_rate(card) and keeps_weights(card),
    moves_only_what_may_move: lambda card: descends(card) and keeps_weights(card),
    moves_by_every_term: descends,
    obeys_its_retain_term: lambda card: "retain" in card.options(),
    obeys_its_step_rule: lambda card: descends(card) and not goes_back(card),
    owes_nothing_to_the_weights_it_replaces: lambda card: card.level == "retraining",
    is_called_suppression_where_it_wraps: always,
    forgets_more_than_it_loses: lambda card: card.intent != "control",  # a floor does damage, and is there to show it
}


@pytest.mark.parametrize(("rule", "card", "family"), matrix("method", RULES))
def test_contract(rule: Rule, card: Card, family: str):
    rule(card, family)


@pytest.mark.parametrize("card", cards("method"), ids=lambda card: card.name)
def test_card(card: Card):
    """What the authors claim, where it acts, and the paper, unless it is a floor, a wrapper or exact."""
    assert card.intent in ("removal", "suppression", "hybrid", "control")
    assert card.level
    assert card.paper or card.intent == "control" or card.level in ("retraining", *WRAPPERS)


@pytest.mark.parametrize("card", cards("method"), ids=lambda card: card.name)
def test_another_family_is_refused_before_any_compute(card: Card):
    for family in sorted(set(FAMILIES) - set(card.families)) if card.families else ():
        with pytest.raises(InputError, match=f"The method {card.name} is for .* this is a {family} model"):
            apply_method(card.name, bare_model(family), requests(family)[0], {}, None)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_methods_of_each_kind(family: str):
    """The matrix is empty for nobody."""
    levels = {card.level for card in cards("method") if family in families(card)}
    assert {"parameter", "retraining", "output"} <= levels


# --- the contract can fail: one broken method per rule ----------------------------------------------------------------


@method(requires={"forget"}, intent="removal", level="parameter")
def ascends_in_place(model: Model, request: Request) -> Model:
    """Return the model that was given."""
    with torch.no_grad():
        next(model.module.parameters()).add_(1.0)
    return model


@method(requires={"forget"}, intent="removal", level="parameter")
def draws_from_anywhere(model: Model, request: Request) -> Model:
    """Add noise that no seed governs."""
    noisy = model.copy()
    with torch.no_grad():
        for weight in noisy.module.parameters():
            weight.add_(torch.randn_like(weight))
    return noisy


@method(requires={"forget"}, intent="removal", level="parameter")
def blows_up(model: Model, request: Request) -> Model:
    """Multiply until nothing is finite."""
    broken = model.copy()
    with torch.no_grad():
        next(broken.module.parameters()).mul_(float("inf"))
    return broken


@method(requires={"forget"}, intent="removal", level="parameter")
def divides_by_the_retain_set(model: Model, request: Request) -> Model:
    """Need retain records without saying so."""
    if not request.retain:
        raise InputError("Division by zero.")
    return model.copy()


@method(requires={"forget"}, intent="removal", level="parameter")
def moves_regardless(model: Model, request: Request, *, lr: float = 0.1) -> Model:
    """Take a rate and ignore it."""
    return draws_from_anywhere(model, request)


@method(requires={"forget"}, intent="removal", level="parameter")
def moves_everything(model: Model, request: Request, *, where: str = "all", weight_decay: float = 0.0) -> Model:
    """Take a place and ignore it."""
    return draws_from_anywhere(model, request)


@objective(intent="removal", retain="nll")
def adds_an_idle_term(model: Model, request: Request) -> list[Term]:
    """Hold a second term that is worth nothing."""

    def nothing(model: Model, batch: Batch) -> Tensor:
        return 0.0 * model.loss(batch)

    def forget(model: Model, batch: Batch) -> Tensor:
        return ascent.ga(model.loss(batch))

    examples = model.encode(request.forget)
    return [Term("forget", examples, forget, role="forget"), Term("idle", examples, nothing)]


@method(requires={"forget"}, intent="removal", level="parameter")
def keeps_regardless(model: Model, request: Request, *, retain: str = "nll", retain_weight: float = 1.0) -> Model:
    """Take a retain term and ignore it."""
    return model.copy()


@method(requires={"forget"}, intent="removal", level="parameter")
def steps_regardless(model: Model, request: Request, *, step: str = "plain", steps: int = 1) -> Model:
    """Take a step rule and ignore it."""
    return model.copy()


@method(requires={"forget"}, intent="removal", level="retraining")
def retrains_from_what_it_has(model: Model, request: Request) -> Model:
    """Call a copy a retrained model."""
    return model.copy()


@method(requires={"forget"}, intent="removal", level="output")
def removes_by_silence(model: Model, request: Request) -> Model:
    """Call a wrapper a removal."""
    return model.copy()


BROKEN: dict[Rule, Any] = {
    leaves_model_and_request_alone: ascends_in_place,
    makes_the_same_bytes_from_the_same_seed: draws_from_anywhere,
    makes_a_model_that_works: blows_up,
    says_why_it_cannot_do_without_a_retain_set: divides_by_the_retain_set,
    moves_nothing_at_rate_0: moves_regardless,
    moves_only_what_may_move: moves_everything,
    moves_by_every_term: adds_an_idle_term,
    obeys_its_retain_term: keeps_regardless,
    obeys_its_step_rule: steps_regardless,
    owes_nothing_to_the_weights_it_replaces: retrains_from_what_it_has,
    is_called_suppression_where_it_wraps: removes_by_silence,
    forgets_more_than_it_loses: draws_from_anywhere,
}


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_contract_rejects(rule: Rule):
    card: Card = BROKEN[rule].card
    with pytest.raises(AssertionError):
        rule(card, "classifier")
