"""The intake as a report tells it: what was stated, and how the rest is read."""

import pytest

from lethe.report.intake import intake_of


def test_a_run_that_is_no_audit_has_no_intake():
    assert intake_of({"intent": "removal"}) is None


def test_what_was_not_stated_is_told_with_how_it_is_read():
    found = intake_of({"audited": "x", "intake": {"scope": "topic", "intent": "unsure"}, "intent": "removal"})
    assert found
    assert {line.name: (line.told, line.is_stated) for line in found.lines} == {
        "Scope": ("topic", True),
        "Intent": ("unsure; read as removal", False),
        "Attacker": (
            "not stated; read as insider: holds the weights, the original's, and some of the forgotten records",
            False,
        ),
        "Basis": ("not stated", False),
        "Deadline": ("not stated", False),
    }
    assert (found.threat, found.is_stated) == ("insider", False)


def test_what_was_stated_is_told():
    found = intake_of({"audited": "x", "intake": {"threat": "api", "intent": "suppression", "deadline": "2026-12-01"}})
    assert found
    assert [line.told for line in found.lines] == [
        "not stated; read as entity", "suppression", "api: asks and reads answers", "not stated", "2026-12-01",
    ]  # fmt: skip
    assert found.told == "api: asks and reads answers"


@pytest.mark.parametrize("threat", ["ghost", "<script>"])
def test_results_of_another_version_are_told_as_they_are(threat: str):
    found = intake_of({"audited": "x", "intake": {"threat": threat}})
    assert found
    assert found.threat == threat
    assert threat in found.told
