"""Every registered attack keeps what the audit relies on: found by name, on every family that it takes."""

from functools import cache

import pytest
from tests.attacks.tiny import WORLDS, World, world_for

from lethe.auditing.recovery import Trace, attacked, recovery, takes_original
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.registry import BUDGETS, bind, find, names, parse_call

CASES = [
    pytest.param(name, family, id=f"{name}-{family}")
    for name in names("attack")
    for family in WORLDS
    if not find("attack", name).families or family in find("attack", name).families
]
REFUSED = [
    pytest.param(name, family, id=f"{name}-{family}")
    for name in names("attack")
    for family in WORLDS
    if find("attack", name).families and family not in find("attack", name).families
]


@cache
def trace(name: str, family: str, who: str) -> Trace:
    world = world_for(name, family)
    models = {"target": world.target, "control": world.controls[0], "other": world.controls[1]}
    return attacked(name, models[who], world.request, world.measure, original=world.target)


def points(name: str, world: World) -> list[tuple[float, str, list[str]]]:
    card = find("attack", name)
    extra = (world.target,) if takes_original(card) else ()
    yielded = card.function(world.controls[0], world.request, *extra)
    return [(t.strength, t.model.fingerprint(), [str(record["id"]) for record in t.forget]) for t in yielded]


@pytest.mark.parametrize("name", names("attack"))
def test_the_card_places_the_attack_in_the_checklist(name: str):
    card = find("attack", name)
    assert card.check
    assert card.unit
    assert card.evidence_class in ("E1", "E2", "E3", "E4")
    assert card.summary


@pytest.mark.parametrize(("name", "family"), CASES)
def test_neither_model_nor_records_change(name: str, family: str):
    world = world_for(name, family)
    models = (world.target, world.controls[0])
    before = [model.fingerprint() for model in models], digest(list(world.request.forget))
    points(name, world)
    assert ([model.fingerprint() for model in models], digest(list(world.request.forget))) == before
    assert all(parameter.requires_grad for model in models for parameter in model.module.parameters())


@pytest.mark.parametrize(("name", "family"), CASES)
def test_same_seed_same_attack(name: str, family: str):
    world = world_for(name, family)
    assert points(name, world) == points(name, world)


@pytest.mark.parametrize(("name", "family"), CASES)
def test_probes_are_forget_records_and_strengths_differ(name: str, family: str):
    world = world_for(name, family)
    known = {record["id"] for record in world.request.forget}
    found = points(name, world)
    strengths = [strength for strength, _, _ in found]
    assert len(set(strengths)) == len(strengths) > 0
    assert all(ids and set(ids) <= known for _, _, ids in found)


@pytest.mark.parametrize(("name", "family"), CASES)
def test_a_control_recovers_nothing(name: str, family: str):
    """Read as if it were an unlearned model, one retrained model recovers no more than another does."""
    found = recovery(trace(name, family, "other"), trace(name, family, "control"), trace(name, family, "target"))
    assert found.adjusted is not None
    assert abs(found.adjusted) < 0.15


@pytest.mark.parametrize(("name", "family"), CASES)
def test_an_untouched_target_goes_on_knowing(name: str, family: str):
    known = trace(name, family, "target")
    before = sum(known.before) / len(known.before)
    control = trace(name, family, "control").before
    assert before - sum(control) / len(control) > 0.3  # else there would be nothing to see here
    for items in known.after:
        assert sum(items) / len(items) > 0.7 * before


@pytest.mark.parametrize(("name", "family"), REFUSED)
def test_another_family_is_refused_before_any_compute(name: str, family: str):
    world = WORLDS[family]()
    with pytest.raises(InputError, match=f"The attack {name} is for .* models, this is a {family} model"):
        attacked(name, world.target, world.request, world.measure)


@pytest.mark.parametrize("name", names("attack"))
def test_every_budget_makes_calls_that_bind_and_a_larger_one_makes_no_fewer(name: str):
    card = find("attack", name)
    counts = []
    for budget in BUDGETS:
        calls = card.calls_at(budget)
        assert len(set(calls)) == len(calls)
        for call in calls:
            bind(card.function, parse_call(call)[1], what=call)
        counts.append(len(calls))
    assert counts == sorted(counts)
    assert counts[-1] > 0
    assert set(card.budgets) <= set(BUDGETS)
