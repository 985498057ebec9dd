"""What the claim about tampering computes from attacks, and the world that it attacks."""

import numpy as np
import pytest

from lethe.errors import InputError
from lethe.headlines.tampering import METHODS, PROMPTS, RELEARNING, TAMPERING, over_models
from lethe.registry import bind, find, parse_call, settle
from lethe.worlds import domains

COLUMNS = len(TAMPERING) + len(PROMPTS)


def test_every_method_and_attack_takes_the_options_that_it_is_given():
    for name, options in METHODS.values():
        settle(find("method", name), options)
    for call in (*TAMPERING, *PROMPTS):
        name, given = parse_call(call)
        bind(find("attack", name).function, given, what=call)
    assert len(METHODS) >= 8


def test_prompts_that_follow_tampering_are_foretold():
    strength = np.linspace(0.1, 0.9, 20)
    success = np.full((20, COLUMNS), 0.01)
    success[:, 0] = strength
    success[:, len(TAMPERING)] = strength / 2
    success[:, len(RELEARNING)] = -strength
    figures = over_models(success, [1.0] * 20, [f"m{row // 2}" for row in range(20)], 0)
    assert figures["rank correlation of the best tampering with prompts"] == pytest.approx(1)
    assert figures["R2 of the best tampering with prompts"] == pytest.approx(1)
    assert figures["share of models on which tampering gets back more than any prompt"] == 1
    assert figures["rank correlation of benign_finetune with prompts"] == pytest.approx(-1)
    assert np.isnan(figures["rank correlation of steer with prompts"])  # the same on all
    assert figures["variance in the first component"] == pytest.approx(1)


def test_prompts_that_go_their_own_way_are_not():
    rng = np.random.default_rng(0)
    success = rng.random((200, COLUMNS))
    figures = over_models(success, [1.0] * 200, [str(row) for row in range(200)], 0)
    assert abs(figures["rank correlation of the best tampering with prompts"]) < 0.2
    assert figures["variance in three components"] < 0.4


def test_the_domains_share_people_and_no_question():
    families, letters = domains.records("families"), domains.records("letters")
    assert {one["entity"] for one in families} < {one["entity"] for one in letters}
    asked = [{one["question"] for one in domains.asked(told)} for told in (families, letters)]
    assert not asked[0] & asked[1]
    assert len(asked[0]) == len(families) * (1 + len(domains.WAYS))  # a prefilled answer leaves the question as it is
    assert {one["id"] for one in domains.asked(families)} == {one["id"] for one in families}
    with pytest.raises(InputError, match="did you mean 'letters'"):
        domains.records("leters")
