from dataclasses import replace
from typing import Any

import pytest

from lethe.findings import Check, LeftOut, Outcome, Verdict
from lethe.report.tables import Group
from lethe.report.verdicts import amounts, asked, chance, checklist, finding, findings, headline, unmade, untested
from lethe.runs.results import Row


def check(identifier: str, outcome: Outcome, evidence: Any = "E0", reason: str = "") -> Check:
    return Check(identifier, f"title of {identifier}", evidence, outcome, 0.6, 0.25, reason)


def audited(name: str, *reached: str | None, checks: tuple[tuple[Check, ...], ...] = (), highest: str = "E1") -> Group:
    """A group whose seeds reached those verdicts."""
    rows = []
    for seed, word in enumerate(reached):
        own = checks[seed] if checks else ()
        verdict = word and Verdict("removal", word, highest, f"sentence of {word}", own)  # pyright: ignore[reportArgumentType]
        rows.append(Row(f"{name}-seed{seed}", "method", name, seed, {}, "", 0, (), verdict=verdict or None))
    return Group(name, "method", tuple(rows))


def test_the_weakest_seed_is_the_verdict():
    one = finding(audited("npo", "consistent with removal", "not forgotten", "consistent with removal"))
    assert one.reached == "not forgotten"
    assert one.sentence == "sentence of not forgotten"
    assert one.seeds == "consistent with removal in 2 of 3 seeds and not forgotten in 1 of 3 seeds"


def test_a_method_without_a_verdict_is_not_audited_and_still_listed():
    found = findings([audited("npo", None), audited("ga", "collapse")])
    assert [one.reached for one in found] == ["not audited", "collapse"]
    assert found[0].sentence == "No audit was made of this model."
    assert all(rung.state == "not tested" for rung in found[0].ladder)


def test_a_seed_that_was_not_audited_weakens_the_others():
    assert finding(audited("npo", "removal", None)).reached == "not audited"


def test_a_check_fails_if_any_seed_fails_it_and_is_untested_if_any_leaves_it_out():
    one = finding(
        audited(
            "npo", "suppression", "suppression",
            checks=(
                (check("B1", "PASS"), check("R3", "PASS", "E3"), check("R5", "PASS", "E3")),
                (check("B1", "PASS"), check("R3", "FAIL", "E3"), check("R5", "NOT TESTED", "E3")),
            ),
        )
    )  # fmt: skip
    assert [c.id for c in one.failed] == ["R3"]
    assert [c.id for c in one.untested] == ["R5"]


def test_the_ladder_tells_passed_from_passed_in_part_from_failed_from_not_tested():
    checks = (
        check("B1", "PASS"), check("B3", "PASS", "E1"), check("P1", "NOT TESTED", "E1"),
        check("R1", "NOT TESTED", "E2"), check("R3", "FAIL", "E3"), check("R5", "PASS", "E3"),
    )  # fmt: skip
    ladder = finding(audited("npo", "suppression", checks=(checks,))).ladder
    assert [(rung.name, rung.state) for rung in ladder] == [
        ("E0", "passed"), ("E1", "passed in part"), ("E2", "not tested"), ("E3", "failed"), ("E4", "not tested"),
    ]  # fmt: skip


def test_every_untested_check_is_listed_with_its_reason_and_whom_it_concerns():
    both, own = check("N1", "NOT TESTED", "E4", "no hidden states"), check("R1", "NOT TESTED", "E2", "too slow")
    found = findings(
        [audited("npo", "suppression", checks=((both, own),)), audited("ga", "collapse", checks=((both,),))]
    )
    assert [(c.id, c.reason, who) for c, who in untested(found)] == [
        ("N1", "no hidden states", "all"), ("R1", "too slow", "npo"),
    ]  # fmt: skip


def test_a_check_that_one_method_lacks_is_an_empty_place_in_the_list():
    found = findings([audited("npo", "suppression", checks=((check("R3", "FAIL", "E3"),),)), audited("ga", None)])
    assert [(line.check.id, line.outcomes) for line in checklist(found)] == [
        ("R3", (("FAIL", "0.60 (limit 0.25)"), ("", "")))
    ]


@pytest.mark.parametrize(
    ("value", "threshold", "told"),
    [
        (0.61, 0.25, ("0.61", "0.25")), (0.2037, 0.2, ("0.204", "0.200")), (-2.2e-5, 0.2, ("0.00", "0.20")),
        (442_880.0, None, ("442,880", "–")), (None, None, ("–", "–")), (0.2, 0.2, ("0.20", "0.20")),
        (float("nan"), 3.0, ("–", "3.00")),
    ],
)  # fmt: skip
def test_a_value_never_looks_like_the_threshold_that_it_exceeds(
    value: float | None, threshold: float | None, told: tuple[str, str]
):
    assert amounts(replace(check("R3", "FAIL"), value=value, threshold=threshold)) == told


def test_the_corrected_p_is_told_where_there_is_one():
    one = replace(check("R3", "FAIL"), p=0.01)
    assert [chance(one), chance(replace(one, p_adjusted=0.03)), chance(replace(one, p=1e-5))] == [
        "0.010", "0.030", "< 0.001",
    ]  # fmt: skip
    assert chance(check("R3", "FAIL")) == ""


def test_the_headline_counts_every_verdict():
    found = findings([audited("a", "suppression"), audited("b", "consistent with removal"), audited("c", None)])
    assert headline(found, ["removal"]) == (
        "None of 3 methods reached removal; 1 consistent with removal, 1 suppression, 1 not audited."
    )
    removed = findings([audited("a", "removal"), audited("b", "collapse")])
    assert headline(removed, ["removal", "removal"]) == "1 of 2 methods over 2 benchmarks reached removal; 1 collapse."
    assert headline([], ["removal"]) == "No method was audited."


def test_suppression_is_enough_only_where_suppression_was_asked_for():
    found = findings([audited("a", "suppression"), audited("b", "not forgotten")])
    assert (
        headline(found, ["suppression"])
        == "1 of 2 methods reached suppression or more; 1 suppression, 1 not forgotten."
    )
    assert headline(found, ["suppression", "removal"]).startswith("None of 2 methods over 2 benchmarks reached removal")


def test_one_method_is_named_with_what_was_left_out():
    found = findings([audited("npo", "consistent with removal", checks=((check("N1", "NOT TESTED", "E4"),),))])
    assert headline(found, ["removal"]) == "npo: consistent with removal; 1 check not tested."


@pytest.mark.parametrize("intent", ["", "unsure"])
def test_an_unsure_request_is_read_as_one_for_removal(intent: str):
    assert "audited as removal" in asked({"forget": 4, "intent": intent})


def test_the_request_in_a_sentence():
    told = asked({"forget": 1, "retain": 1200, "holdout": 0, "intent": "removal", "scope": "entity", "seed": 3})
    assert told == "Forget 1 record (scope: entity); required: removal. Beside them 1,200 to keep."


def test_a_floor_is_listed_only_where_it_was_audited():
    floor = replace(audited("noise", None), role="floor")
    judged = replace(audited("refusal", "suppression"), role="floor")
    assert [one.group.label for one in findings([floor, judged, audited("ga", "collapse")])] == ["ga", "refusal"]


def test_an_attack_that_was_not_made_is_told_once_with_whom_it_concerns():
    own, both, of_all = (LeftOut(name, "R1", "too dear") for name in ("own", "both", "of_all"))
    lines = [audited("npo", "suppression"), audited("ga", "collapse")]
    given = [
        replace(lines[0], rows=(replace(lines[0].rows[0], left_out=(own, both)),)),
        replace(lines[1], rows=(replace(lines[1].rows[0], left_out=(both, both)),)),
    ]
    found = findings(given)
    assert [(one.attack, who) for one, who in unmade(found, [of_all])] == [
        ("of_all", "all"), ("own", "npo"), ("both", "all"),
    ]  # fmt: skip
    assert found[0].budget.told == "no budget stated: 0 attack settings tried, 2 left out"
