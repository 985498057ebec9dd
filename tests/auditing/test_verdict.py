"""The decision rule as a pure function: what must have passed, what exposes, and that NOT TESTED propagates."""

import re
from itertools import combinations
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.auditing.case import TITLES, make
from lethe.auditing.verdict import EXPOSING, ONE_OF, REMOVAL, conclude
from lethe.findings import Check, Outcome, Verdict

NEEDED = (*REMOVAL, *(line for group in ONE_OF for line in group))
VALUES = {"U1": 0.6, "U2": 0.6, "U3": 0.6}  # damaged where they fail, not broken


def checks(**outcomes: str) -> list[Check]:
    """All lines passed but those given; "-" leaves a line out."""
    return [
        make(name, cast(Outcome, outcomes.get(name, "PASS")), VALUES.get(name), reason=f"measured {name}")
        for name in TITLES
        if outcomes.get(name) != "-"
    ]


def verdict(claimed: str = "removal", required: str = "removal", **outcomes: str) -> Verdict:
    return conclude(claimed, checks(**outcomes), required)


def test_all_lines_passed_is_a_removal_of_the_highest_class():
    assert verdict().reached == "removal"
    assert verdict().highest_class == "E4"


@pytest.mark.parametrize("line", REMOVAL)
@pytest.mark.parametrize("outcome", ["NOT TESTED", "-", "FAIL"])
def test_no_removal_without_any_needed_line(line: str, outcome: str):
    assert verdict(**{line: outcome}).reached != "removal"


@pytest.mark.parametrize("group", ONE_OF)
def test_of_a_group_one_line_suffices_and_none_does_not(group: tuple[str, ...]):
    for kept in group:
        assert verdict(**{line: "NOT TESTED" for line in group if line != kept}).reached == "removal"
    none = verdict(**dict.fromkeys(group, "NOT TESTED"))
    assert none.reached == "consistent with removal"
    assert "/".join(group) in none.sentence


def test_not_tested_propagates_over_all_pairs_and_triples():
    for size in (2, 3):
        for left_out in combinations(NEEDED, size):
            if not set(left_out) & set(REMOVAL) and not any(set(group) <= set(left_out) for group in ONE_OF):
                continue
            assert verdict(**dict.fromkeys(left_out, "NOT TESTED")).reached != "removal", left_out


SUBSETS = st.sets(st.sampled_from(sorted(TITLES)))
OUTCOMES = st.fixed_dictionaries({name: st.sampled_from(get_args(Outcome)) for name in TITLES})


@given(
    left_out=SUBSETS,
    claimed=st.sampled_from(["removal", "suppression", "hybrid", ""]),
    required=st.sampled_from(["removal", "suppression", "unsure"]),
)
def test_not_tested_propagates_over_any_subset(left_out: set[str], claimed: str, required: str):
    found = verdict(claimed, required, **dict.fromkeys(left_out, "NOT TESTED"))
    absent = verdict(claimed, required, **dict.fromkeys(left_out, "-"))
    whole = not left_out & set(REMOVAL) and not any(set(group) <= left_out for group in ONE_OF)
    assert (found.reached == "removal") == whole
    assert absent.reached == found.reached and absent.highest_class == found.highest_class
    if {"R3", "R5", "U2", "B1"} & left_out:
        assert found.reached in ("no verdict", "suppression")
        assert found.reached == "no verdict" or required == "suppression"
    if "R3" in left_out:
        assert found.highest_class != "E3"


@given(outcomes=OUTCOMES)
def test_whatever_was_found_removal_needs_it_all(outcomes: dict[str, str]):
    found = verdict(**outcomes)
    if found.reached == "removal":
        assert all(outcomes[line] == "PASS" for line in REMOVAL)
        assert all("PASS" in [outcomes[line] for line in group] for group in ONE_OF)
    if found.reached in ("removal", "consistent with removal"):
        assert all(outcomes[line] != "FAIL" for line in (*EXPOSING, "B1", "B2", "R9", "U1", "U2", "U3"))
    if found.highest_class:
        below = ["E0", "E1", "E2", "E3", "E4"][: int(found.highest_class[1]) + 1]
        failing = [line for line in (*EXPOSING, "B1", "B2", "R9") if outcomes[line] == "FAIL"]
        assert not [line for line in failing if TITLES[line][0] in below]
    assert len(found.sentence) > 10 and re.fullmatch(r"[A-Z].*\.", found.sentence)


@given(outcomes=OUTCOMES, left_out=st.sets(st.sampled_from(sorted(REMOVAL))))
def test_leaving_out_needed_lines_never_makes_a_removal(outcomes: dict[str, str], left_out: set[str]):
    fewer = {**outcomes, **dict.fromkeys(left_out, "NOT TESTED")}
    if left_out:
        assert verdict(**fewer).reached != "removal"


@pytest.mark.parametrize("line", EXPOSING)
def test_each_of_these_failures_alone_is_a_suppression(line: str):
    found = verdict(**{line: "FAIL"})
    assert found.reached == "suppression"
    assert f"{line}: measured {line}" in found.sentence


def test_the_order_of_the_verdicts():
    assert verdict(I5="FAIL", B1="FAIL", R3="FAIL").reached == "no verdict"
    broken = conclude("removal", [*checks(U2="-", R3="FAIL"), make("U2", "FAIL", 0.2, 0.9, "0.2 is kept")])
    assert broken.reached == "collapse" and "0.2 is kept" in broken.sentence
    assert verdict(B1="FAIL", R3="FAIL").reached == "not forgotten"
    assert verdict(B2="FAIL").reached == "not forgotten"  # it says the answer, however unlikely it calls it
    assert verdict(U2="FAIL").reached == "no verdict"  # damage looks like forgetting
    assert verdict(U2="FAIL", R3="FAIL").reached == "suppression"


def test_a_wrapper_is_a_suppression_if_it_hides_anything_and_nothing_otherwise():
    assert verdict(R9="FAIL").reached == "suppression"
    assert verdict(R9="FAIL", B1="FAIL").reached == "suppression"  # the logits tell, the generated answers do not
    assert verdict(R9="FAIL", B1="FAIL", B2="FAIL").reached == "not forgotten"


@pytest.mark.parametrize("claimed", ["removal", "suppression"])
def test_a_request_for_suppression_needs_no_tampering_whatever_the_claim(claimed: str):
    untested = {"R3": "NOT TESTED", "R5": "NOT TESTED"}
    assert verdict(claimed, "suppression", **untested).reached == "suppression"
    assert verdict(claimed, "removal", **untested).reached == "no verdict"
    assert verdict(claimed, "unsure", **untested).reached == "no verdict"
    for required in ("removal", "suppression", "unsure"):
        found = verdict(claimed, required)
        assert found.reached == "removal" and found.claimed == claimed  # what is observed counts, not what is claimed


def test_merging_back_counts_neither_way():
    """A failed merge keeps a model from the group of three, and exposes nothing."""
    assert verdict(R6="FAIL").reached == "removal"  # R4 and R7 passed
    found = verdict(R6="FAIL", R4="NOT TESTED", R7="NOT TESTED")
    assert found.reached == "consistent with removal" and "R4/R6/R7" in found.sentence


def test_the_highest_class_stops_below_the_first_failure():
    assert verdict(B3="FAIL").highest_class == "E0"
    assert verdict(R3="FAIL").highest_class == "E2"
    assert verdict(R3="NOT TESTED").highest_class == "E4"  # attempted and passed; what was left out stands beside it
    assert verdict(B1="FAIL").highest_class == ""
    nothing_above = dict.fromkeys(("B3", "B4", "R1", "R2", "N1", "N3"), "NOT TESTED")
    assert verdict(**nothing_above).highest_class == "E3"
