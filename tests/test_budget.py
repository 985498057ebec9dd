"""Which attacks a budget buys for a model and its records, and the reason for each that it does not."""

from typing import Any

import pytest

from lethe.budget import affordable, unfit
from lethe.errors import InputError
from lethe.models import wrapper
from lethe.registry import BUDGETS, find, names, parse_call
from lethe.request import Request

FORGET = [{"id": f"f{n}", "question": f"Who keeps lantern {n}?", "answer": f"Keeper {n}."} for n in range(3)]
RETAIN = [{"id": f"r{n}", "question": f"Where is harbour {n}?", "answer": f"At bay {n}."} for n in range(3)]


def asked(*fields: str, **sets: Any) -> Request:
    forget = [{**record, **dict.fromkeys(fields, f"In other words, {record['id']}?")} for record in FORGET]
    return Request(**{"forget": forget, "retain": RETAIN, "allow_overlap": True, **sets})


def chosen(budget: str, family: str = "language", request: Request | None = None) -> tuple[list[str], dict[str, str]]:
    calls, left_out = affordable(budget, family, wrapper(family).abilities, request or asked("paraphrased_question"))
    assert not [one for one in left_out if one.failed]
    return list(calls), {one.attack: one.reason for one in left_out}


@pytest.mark.parametrize("family", ["language", "classifier", "recommender"])
def test_every_attack_is_made_or_left_out_with_a_reason_and_more_money_buys_no_less(family: str):
    made = []
    for budget in BUDGETS:
        calls, left_out = chosen(budget, family)
        tried = {parse_call(call)[0] for call in calls}
        assert tried | set(left_out) == set(names("attack"))
        assert not tried & set(left_out)
        assert all(left_out.values())
        assert len(set(calls)) == len(calls)
        assert all(call in find("attack", parse_call(call)[0]).calls_at(budget) for call in calls)
        made.append(tried)
    assert made[0] <= made[1] <= made[2]
    assert {"relearn", "quantize", "merge"} <= made[0]


def test_what_is_too_dear_says_what_pays_for_it():
    _, left_out = chosen("quick")
    dear = {name: why for name, why in left_out.items() if why.startswith("too dear")}
    assert dear
    for name, why in dear.items():
        enough = why.removeprefix("too dear for the budget quick; ").removesuffix(" pays for it")
        assert find("attack", name).calls_at(enough)
        assert name in {parse_call(call)[0] for call in chosen(enough)[0]}


def test_families_abilities_sets_and_fields_admit():
    plain = asked()
    assert "paraphrased_question" in chosen("quick", request=plain)[1]["paraphrase"]
    assert "paraphrase" not in chosen("quick")[1]
    half = Request([*asked("paraphrased_question").forget[:2], FORGET[2]], RETAIN, allow_overlap=True)
    assert "paraphrased_question" in chosen("quick", request=half)[1]["paraphrase"]
    assert chosen("quick", "classifier")[1]["paraphrase"] == "is for language models, this is a classifier model"
    assert "experts, which this language model does not offer" in chosen("thorough")[1]["reroute"]
    able = wrapper("language").abilities | {"experts"}
    assert not unfit(find("attack", "reroute"), "language", able, plain)
    needy = [name for name in names("attack") if "retain" in find("attack", name).requires]
    bare = Request(FORGET, [])
    for name in needy:
        assert unfit(find("attack", name), "language", able, bare) == "needs retain records; the retain set is empty"


def test_a_budget_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="no budget 'standart', did you mean 'standard'"):
        chosen("standart")
