"""What is stated before an audit, what is assumed where nothing is, and which lines an attacker could try."""

from itertools import pairwise

import pytest

from lethe.auditing.case import TITLES, make
from lethe.auditing.intake import REACH, Intake
from lethe.errors import InputError


def outcomes(intake: Intake) -> dict[str, tuple[str, str]]:
    return {check.id: (check.outcome, check.reason) for check in intake.checks()}


def test_what_is_stated_passes_and_what_is_not_says_how_it_is_read():
    full = Intake("suppression", "topic", "api", "GDPR, article 17", "2026-12-01")
    assert outcomes(full) == {
        "I1": ("PASS", "topic"),
        "I2": ("PASS", "suppression"),
        "I3": ("PASS", "asks and reads answers"),
        "I4": ("PASS", "GDPR, article 17; by 2026-12-01"),
    }
    assert outcomes(Intake()) == {
        "I1": ("NOT TESTED", "not stated; read as entity"),
        "I2": ("NOT TESTED", "not stated; read as removal"),
        "I3": ("NOT TESTED", "not stated; read as insider"),
        "I4": ("NOT TESTED", "no basis and deadline stated"),
    }
    assert outcomes(Intake(intent="unsure"))["I2"][0] == "NOT TESTED"
    assert outcomes(Intake(basis="contract"))["I4"] == ("NOT TESTED", "no deadline stated")


def test_every_attacker_reaches_what_the_weaker_ones_reach_and_more():
    for weaker, stronger in pairwise(REACH):
        assert set(Intake(threat=weaker).reach()) < set(Intake(threat=stronger).reach())
    assert Intake().reach() == Intake(threat="insider").reach()
    assert set(Intake().reach()) <= set(TITLES)
    assert {line for line in TITLES if line.startswith("R")} <= set(Intake().reach())


def test_only_what_the_attacker_could_try_counts():
    checks = [make("R1", "FAIL"), make("R3", "FAIL"), make("R2", "NOT TESTED"), make("U1", "FAIL"), make("B1", "PASS")]
    assert Intake(threat="api").within_reach(checks, "FAIL") == ("R1",)
    assert Intake(threat="insider").within_reach(checks, "FAIL") == ("R1", "R3")
    assert Intake(threat="api").within_reach(checks, "NOT TESTED") == ("R2",)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"threat": "weigths"}, "no threat model 'weigths'; did you mean 'weights'"),
        ({"scope": "entitty"}, "no scope 'entitty'; did you mean 'entity'"),
        ({"intent": "erase"}, "no intent 'erase'; there is 'removal'"),
        ({"deadline": "tomorrow"}, "deadline 'tomorrow' is no date; write it as YYYY-MM-DD"),
        ({"deadline": "20261201"}, "write it as YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_meant_is_refused(stated: dict[str, str], said: str):
    with pytest.raises(InputError, match=said):
        Intake(**stated)
