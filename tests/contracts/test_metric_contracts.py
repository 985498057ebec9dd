"""Every registered metric keeps what tables and verdicts rely on: found by name, on every family that it takes.

The evidence is that of the attacks' trained worlds: a target that knows the forget set, and two controls that never saw
it. A metric may refuse evidence that lacks what it reads, in one sentence; it must accept some.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
from tests.attacks.tiny import WORLDS
from tests.contracts.cases import Rule, always, cards, families, matrix

from lethe.data.derived import with_derived
from lethe.errors import InputError
from lethe.evidence import Evidence, Spec, observe
from lethe.measure import compute
from lethe.models import FAMILIES
from lethe.models.language import LanguageModel
from lethe.registry import Card, bind, metric
from lethe.request import Record
from lethe.score import Score, score_of_items
from lethe.traces import Traces, remember
from lethe.worlds.cache import cache_folder

SPEC = Spec(
    max_new_tokens=12, distributions=("forget", "retain", "holdout", "test"), gradients=("forget", "holdout"),
    interior=("forget", "retain"), samples=(("forget", 128),), untrained=("forget",),
)  # fmt: skip


@cache
def seen(family: str) -> tuple[Evidence, tuple[Evidence, ...]]:
    """What was observed of the target and of the controls."""
    world = WORLDS[family]()
    spec = replace(SPEC, traces=traces(world.target)) if isinstance(world.target, LanguageModel) else SPEC
    target, *controls = (observe(one, probes(family), spec) for one in (world.target, *world.controls))
    return target, tuple(controls)


def traces(target: LanguageModel) -> Traces:
    """Two of the target's value vectors, with all tokens for their own: what was there can be read off."""
    rows = len(target.tokenizer)
    prompts = [target.prompt_of(record) for record in probes("language")["forget"]]
    file = remember(target, [(0, 1), (1, 2)], prompts, range(rows), np.ones(rows), cache_folder() / "traces")
    return Traces(str(file))


@cache
def probes(family: str) -> dict[str, list[Record]]:
    """The world's own sets, and what metrics of the family read beside them."""
    request = WORLDS[family]().request
    sets = {name: list(getattr(request, name)) for name in ("forget", "retain", "holdout")}
    if family == "language":
        every = [record for records in sets.values() for record in records]
        sets = {name: [with_wrong_answers(record, every) for record in records] for name, records in sets.items()}
        sets |= {"real_authors": sets["retain"][:10], "world_facts": sets["retain"][10:20]}
        sets["retain"] = [{**record, "paraphrased_answer": f"{record['answer']}."} for record in sets["retain"]]
        asked = [with_choices(record, number % 4) for number, record in enumerate(sets["forget"])]
        sets |= {"forget": asked, "forget_text": asked, "forget_rotated": [with_choices(one, 0) for one in asked]}
        read = ("lowercase", "neighbourhood", "recall")
        sets |= with_derived({name: sets[name] for name in ("forget", "holdout")}, read, neighbours=3)
    if family == "classifier":
        sets["test"] = sets["holdout"]
    if family == "recommender":
        known = {(record["user"], record["item"]) for record in (*request.forget, *request.retain)}
        sets["test"] = unseen(sets["retain"], known)
        sets["holdout"] = unseen(sets["forget"], known)
    return {name: records for name, records in sets.items() if records}


def with_wrong_answers(record: Record, every: Sequence[Record]) -> Record:
    field = record["id"].partition("-")[2]
    others = {other["answer"]: None for other in every if other["id"].endswith(f"-{field}")}
    wrong = [answer for answer in others if answer != record["answer"]][:3]
    return {**record, "perturbed_answer": wrong, "kind": field}


def with_choices(record: Record, place: int) -> Record:
    choices = list(record["perturbed_answer"])
    choices.insert(place, record["answer"])
    return {**record, "choices": choices, "key": place}


def unseen(records: Sequence[Record], known: set[tuple[int, int]]) -> list[Record]:
    """Per user an item that somebody else of these records took, and this user nowhere."""
    items = list(dict.fromkeys(record["item"] for record in records))
    users = dict.fromkeys(record["user"] for record in records)
    free = {user: next(item for item in items if (user, item) not in known) for user in users}
    return [{"id": f"u{user}i{item}", "user": user, "item": item} for user, item in free.items()]


def calls(card: Card) -> list[dict[str, Any]]:
    """The options of every variant."""
    option = card.options().get("variant")
    return [{"variant": variant} for variant in get_args(option.type)] if option else [{}]


@cache
def accepted(card: Card, family: str) -> list[tuple[dict[str, Any], Score]]:
    """Every variant that the family's evidence allows, with its score of the target."""
    found = []
    for options in calls(card):
        try:
            found.append((options, score(card, *seen(family), **options)))
        except InputError:
            continue
    return found


def score(card: Card, evidence: Evidence, controls: Sequence[Evidence] = (), **options: Any) -> Score:
    """What has changed since the original is said of the target, the original here."""
    beside = (controls, seen(evidence.family)[0]) if "original" in card.requires else (controls,)
    return card.function(evidence, *beside, **bind(card.function, options))


def on_forget(card: Card) -> list[dict[str, Any]]:
    """The same variants, asked of the forget set."""
    free = card.options()["set"].type is str
    return [{**options, "set": "forget"} for options in calls(card)] if free else []


# --- rules ------------------------------------------------------------------------------------------------------------


def is_pure(card: Card, family: str) -> None:
    """The evidence stays as it is, and the same evidence scores the same."""
    evidence, controls = seen(family)
    before = copy.deepcopy([asdict(evidence), *map(asdict, controls)])
    for options, first in accepted(card, family):
        again = score(card, evidence, controls, **options)
        np.testing.assert_equal(asdict(again), asdict(first))
    np.testing.assert_equal([asdict(evidence), *map(asdict, controls)], before)


def stays_in_its_range(card: Card, family: str) -> None:
    """Value and interval lie in the range, the value in the interval; an interval that cannot be had is NaN."""
    for _, found in accepted(card, family):
        least, most = found.range
        assert least <= found.value <= most
        if np.isnan(found.low) or np.isnan(found.high):
            assert np.isnan(found.low)
            assert np.isnan(found.high)
        else:
            assert least <= found.low <= found.value <= found.high <= most


def counts_its_items(card: Card, family: str) -> None:
    """n is the number of items; where the items are told, the value is their mean."""
    for _, found in accepted(card, family):
        assert found.n > 0
        assert len(found.items) in (0, found.n)
        if found.items:
            assert found.value == pytest.approx(np.mean(found.items), abs=1e-9)


def is_named_for_what_it_is(card: Card, family: str) -> None:
    """Metric, variant and set stand in the name; whatever changes the number in another way changes the name, too."""
    evidence, controls = seen(family)
    for options, found in accepted(card, family):
        assert (found.metric, found.set) == (card.name, card.options()["set"].default)
        assert found.direction in ("lower", "higher", "control")
        assert not card.variants or found.variant.startswith(card.variants)
        for name, option in card.options().items():
            for value in (2 * option.default, 1) if option.type in (int, float) else ():
                other = score(card, evidence, controls, **options, **{name: value})
                assert other.value == found.value or other.name != found.name, f"{name}={value}"
    names = [found.name for _, found in accepted(card, family)]
    assert len(set(names)) == len(names)


def refuses_what_was_not_observed(card: Card, family: str) -> None:
    """Evidence that lacks something is refused in one sentence, or is not what the metric reads."""
    evidence, controls = seen(family)
    forget_only = {"index": {"forget": {"answer": evidence.index["forget"]["answer"]}}}
    for missing in (forget_only, {"generations": {}}, {"distributions": {}}):
        for options in calls(card):
            try:
                score(card, replace(evidence, **missing), controls, **options)
            except InputError as refusal:
                assert str(refusal).endswith(".")
    for options in on_forget(card):
        with pytest.raises(InputError, match="nowhere"):
            compute(f"{card.name}:set=nowhere", evidence, controls)
        with pytest.raises(InputError):
            score(card, evidence, controls, **{**options, "set": "nowhere"})


def tells_target_from_controls(card: Card, family: str) -> None:
    """What claims to see forgetting sees that the target has not forgotten: further off than controls lie apart.

    Variants beside the default may be there for the sake of published numbers; they must see a difference.
    """
    target, controls = seen(family)
    for options in on_forget(card):
        found = attempt(card, target, controls, options)
        if found is None or found.direction == "higher" or not reads_answers(card, target, controls, options):
            continue
        one, other = (score(card, c, [o for o in controls if o is not c], **options).value for c in controls)
        assert found.value not in (one, other)
        if "variant" in options and options["variant"] != card.options()["variant"].default:
            continue
        if compares(card, target, options):
            assert found.direction != "higher"
            assert abs(found.value - best(found)) > 2 * max(abs(one - best(found)), abs(other - best(found)))
        else:
            assert abs(found.value - (one + other) / 2) > 2 * abs(one - other)


def attempt(card: Card, evidence: Evidence, controls: Sequence[Evidence], options: dict[str, Any]) -> Score | None:
    try:
        return score(card, evidence, controls, **options)
    except InputError:
        return None


def compares(card: Card, evidence: Evidence, options: dict[str, Any]) -> bool:
    """It has nothing to say without a control."""
    return attempt(card, evidence, (), options) is None


def best(found: Score) -> float:
    """What a comparison finds between equals; one whose ideal is the control's (an AUC) stands in the middle then."""
    low, high = found.range
    return {"lower": low, "higher": high, "control": (low + high) / 2}[found.direction]


def reads_answers(card: Card, evidence: Evidence, controls: Sequence[Evidence], options: dict[str, Any]) -> bool:
    """It looks at right answers or their probabilities; else (is what is written fluent?) it says nothing of them."""
    mute = {name: [dict.fromkeys(record, "") for record in rows] for name, rows in evidence.records.items()}
    blank = replace(evidence, tokens={}, distributions={}, records=mute)
    try:
        return score(card, blank, controls, **options).value != score(card, evidence, controls, **options).value
    except (InputError, KeyError):
        return True


def is_best_between_equals(card: Card, family: str) -> None:
    """A comparison of a model with itself finds no difference."""
    target, _ = seen(family)
    for options in calls(card):
        found = attempt(card, target, [target], options)
        if found is not None and compares(card, target, options):
            assert found.value == pytest.approx(best(found), abs=1e-6)


RULES: dict[Rule, Callable[[Card], bool]] = {
    is_pure: always,
    stays_in_its_range: always,
    counts_its_items: always,
    is_named_for_what_it_is: always,
    refuses_what_was_not_observed: always,
    tells_target_from_controls: always,
    is_best_between_equals: always,
}


@pytest.mark.parametrize(("rule", "card", "family"), matrix("metric", RULES))
def test_contract(rule: Rule, card: Card, family: str):
    rule(card, family)


@pytest.mark.parametrize("card", cards("metric"), ids=lambda card: card.name)
def test_every_variant_is_accepted_somewhere(card: Card):
    assert families(card)
    scored = [options for family in families(card) for options, _ in accepted(card, family)]
    assert all(options in scored for options in calls(card))


@pytest.mark.parametrize("card", cards("metric"), ids=lambda card: card.name)
def test_another_family_is_refused(card: Card):
    for family in sorted(set(FAMILIES) - set(card.families)) if card.families else ():
        with pytest.raises(InputError, match=f"The metric {card.name} is for .*, not for a {family} model"):
            compute(card.name, *seen(family))


# --- the contract can fail: one broken metric per rule ----------------------------------------------------------------

Controls = Sequence[Evidence]


def share(name: str, items: Any, set: str) -> Score:
    return score_of_items(name, items, set=set, direction="control", range=(0, 1))


@metric()
def rounds_the_evidence(evidence: Evidence, controls: Controls = (), *, set: str = "forget") -> Score:
    """Round the evidence in place."""
    evidence.tokens["logp"].round(1, out=evidence.tokens["logp"])
    return share("rounds_the_evidence", [0.5], set)


@metric()
def gives_nats_as_a_share(evidence: Evidence, controls: Controls = (), *, set: str = "forget") -> Score:
    """Give a loss in nats as a share."""
    return share("gives_nats_as_a_share", evidence.nll(set) + 2, set)


@metric()
def hides_an_item(evidence: Evidence, controls: Controls = (), *, set: str = "forget") -> Score:
    """Count one record more than is told."""
    score = share("hides_an_item", np.exp(-evidence.nll(set)), set)
    return replace(score, items=score.items[1:])


@metric()
def has_a_nameless_option(
    evidence: Evidence, controls: Controls = (), *, set: str = "forget", power: float = 3.0
) -> Score:
    """Let an option change the number and not the name."""
    return share("has_a_nameless_option", np.exp(-power * evidence.nll(set)), set)


@metric()
def trips_over_a_missing_set(evidence: Evidence, controls: Controls = (), *, set: str = "forget") -> Score:
    """Take for granted that a set is there."""
    return share("trips_over_a_missing_set", 0.0 * evidence.index[set]["answer"], set)


@metric()
def counts_labels(evidence: Evidence, controls: Controls = (), *, set: str = "forget") -> Score:
    """Look at the right answers and not at the model's."""
    return share("counts_labels", [float(label == 1) for label in evidence.column(set, "label")], set)


@metric()
def is_far_from_itself(evidence: Evidence, controls: Controls = (), *, set: str = "forget") -> Score:
    """Call the sum of two losses a distance."""
    if not controls:
        raise InputError("is_far_from_itself needs a control.")
    items = evidence.nll(set) + controls[0].nll(set)
    return score_of_items("is_far_from_itself", items, set=set, direction="lower", range=(0, np.inf))


BROKEN: dict[Rule, Any] = {
    is_pure: rounds_the_evidence,
    stays_in_its_range: gives_nats_as_a_share,
    counts_its_items: hides_an_item,
    is_named_for_what_it_is: has_a_nameless_option,
    refuses_what_was_not_observed: trips_over_a_missing_set,
    tells_target_from_controls: counts_labels,
    is_best_between_equals: is_far_from_itself,
}


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_contract_rejects(rule: Rule, monkeypatch: pytest.MonkeyPatch):
    card: Card = BROKEN[rule].card
    own = copy.deepcopy(seen("classifier"))  # that one of them changes
    monkeypatch.setattr(f"{__name__}.seen", lambda family: own)
    monkeypatch.setattr("lethe.measure.find", lambda kind, name: card)
    with pytest.raises((AssertionError, KeyError)):
        rule(card, "classifier")
