"""What an attacker gets back: the worst of what is in reach, never a number that nobody measured."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lethe.auditing.intake import REACH
from lethe.findings import Check, Outcome, Point, Recovery, Verdict
from lethe.report import attackers_table, intake_of
from lethe.report.attacks import curves
from lethe.report.reach import Access, reached
from lethe.report.tables import Group
from lethe.report.verdicts import finding
from lethe.runs.results import BenchmarkResult, Results, Row


def recovery(
    attack: str, check: str, adjusted: float | None, *, control: float | None = 0.1, **options: float
) -> Recovery:
    points = (Point(1, 0.4, 0.3, 0.5, control, 0.9), Point(2, 0.5, 0.4, 0.6, control, 0.9))
    low, high = (None, None) if adjusted is None else (adjusted - 0.1, adjusted + 0.1)
    return Recovery(
        attack, options, check, "E3", "probability", "steps", 0.1, 0.9, control, points, adjusted, low, high, n=20
    )


def check(name: str, outcome: Outcome) -> Check:
    return Check(name, name, "E3", outcome)


def accesses(*recoveries: Recovery, checks: tuple[Check, ...] = ()) -> dict[str, Access]:
    verdict = Verdict("removal", "suppression", "", "", checks)
    group = Group("npo", "method", (Row("npo", "method", "npo", 1, {}, "", 0, (), recoveries, verdict),))
    (one,) = reached([finding(group)], curves([group]))
    return {access.threat: access for access in one.accesses}


def test_each_attacker_has_the_worst_of_what_is_in_reach():
    found = accesses(
        recovery("hint", "R2", 0.3), recovery("quantize", "R5", 0.5), recovery("relearn", "R3", 0.2, lr=0.1),
        recovery("relearn", "R3", 0.8, lr=0.2),
    )  # fmt: skip
    assert {name: access.back for name, access in found.items()} == {
        "api": "0.30 [0.20, 0.40]", "logits": "0.30 [0.20, 0.40]", "weights": "0.50 [0.40, 0.60]",
        "insider": "0.80 [0.70, 0.90]",
    }  # fmt: skip
    assert found["insider"].by == "relearn (lr=0.2)"
    assert found["insider"].tried == "3 attacks, 4 settings"
    assert found["api"].tried == "1 attack, 1 setting"


def test_what_nobody_tried_is_not_tested_and_no_number():
    found = accesses(recovery("relearn", "R3", 0.8), checks=(check("R3", "FAIL"), check("R1", "NOT TESTED")))
    assert found["weights"].back == "not tested"
    assert found["weights"].by == ""
    assert [one.id for one in found["insider"].failed] == ["R3"]
    assert not found["weights"].failed
    # a line that the audit has no check for is as untested as one that it left out
    assert found["api"].not_tested == REACH["api"][1]
    assert set(found["insider"].not_tested) == {line for _, lines in REACH.values() for line in lines} - {"R3"}


def test_without_a_control_there_is_no_number_and_the_reason_is_said():
    assert accesses(recovery("hint", "R2", None, control=None))["api"].back == "not defined: no control was attacked"


def test_merging_is_no_recovery():
    """It puts the original's own weights back."""
    found = accesses(recovery("merge", "R6", 1.0), recovery("prune", "R6", 0.1))
    assert found["insider"].back.startswith("0.10")
    assert found["insider"].tried == "2 attacks, 2 settings"


@pytest.mark.parametrize("threat", ["", "api"])
def test_the_terminal_names_the_attacker_to_withstand(results: Results, threat: str):
    table: BenchmarkResult = results.benchmarks[2]
    console = Console(width=80, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(attackers_table(table, intake_of({"audited": "x", "intake": {"threat": threat}})))
    text = capture.get()
    assert all(threat in text for threat in REACH)
    assert max(map(len, text.splitlines())) <= 80
    assert ("insider: holds the weights" in text) == (threat == "")
    assert ("(not stated)" in text) == (threat == "")


def test_a_page_of_one_audited_model_tells_it_on_the_first_screen(results: Results):
    from lethe.report.html import html
    from lethe.report.view import view

    audit = replace(
        results, benchmarks=results.benchmarks[2:],
        config={"audited": "./unlearned", "intake": {"threat": "weights", "basis": "GDPR, article 17"}},
    )  # fmt: skip
    page = html(view(audit, {}))
    first = page[page.index('<section id="verdict"') : page.index('<section id="table"')]
    assert "GDPR, article 17" in first
    assert "not stated; read as removal" in first
    assert "the stated attacker" in first
    assert "3 attack settings tried" in first
    assert first.count('class="stated"') == 1
    assert "E4</strong> N1" in first  # not tested
    assert "needs hidden states; not part of this run" in first
