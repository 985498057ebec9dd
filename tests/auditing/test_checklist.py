"""Each line of the checklist at its threshold, from made-up scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from lethe.auditing.case import WANTED, AuditInput, Names, by_name, make
from lethe.auditing.checklist import checklist
from lethe.auditing.lines import ENOUGH_ITEMS
from lethe.auditing.verdict import audit
from lethe.findings import Check, Point, Recovery
from lethe.score import Score

NAMES = Names(
    knowledge="known@forget",
    utility="utility@all",
    generation="said@forget",
    probability="likely@forget",
    retain="known@retain",
    fluency="fluency@forget",
    membership="auc@forget",
    distances=("kl@forget", "kl@retain"),
)
TARGET = {"known@forget": 0.95, "utility@all": 0.8, "said@forget": 0.9, "likely@forget": 0.9, "known@retain": 0.95,
          "fluency@forget": 4.0, "auc@forget": 1.0, "kl@forget": 9.0, "kl@retain": 0.6}  # fmt: skip
CONTROL = {"known@forget": 0.2, "utility@all": 0.8, "said@forget": 0.2, "likely@forget": 0.1, "known@retain": 0.95,
           "fluency@forget": 4.0, "auc@forget": 0.5, "kl@forget": 0.5, "kl@retain": 0.5}  # fmt: skip
NOISE = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of five controls, in hundredths


def scores(values: dict[str, float], shift: float = 0.0, half: float = 0.05, n: int = 40) -> dict[str, Score]:
    made = []
    for name, value in values.items():
        metric, _, place = name.partition("@")
        value += 0.01 * shift
        made.append(Score(metric, "", place, value, value - half, value + half, n, "control", (0, 1)))
    return by_name(made)


def case(own: dict[str, float] | None = None, controls: Sequence[float] = NOISE, **more: Any) -> AuditInput:
    return AuditInput(
        **{
            "claimed": "removal",
            "level": "parameter",
            "names": NAMES,
            "scores": scores(CONTROL | (own or {})),
            "target": scores(TARGET),
            "controls": [scores(CONTROL, shift) for shift in controls],
            "changed": 1000,
            "recoveries": [recovered()],
            "nulls": {},  # the data of the calibration have tests of their own
            **more,
        }
    )


def recovered(
    adjusted: float | None = 0.05, low: float | None = -0.05, high: float | None = 0.15, **more: Any
) -> Recovery:
    point = Point(10, more.pop("value", 0.3), 0.2, 0.4, None if adjusted is None else 0.2, 0.95)
    fields: dict[str, Any] = {
        "attack": "relearn", "options": {}, "check": "R3", "evidence_class": "E3", "measure": "known@forget",
        "unit": "steps", "before": 0.2, "original": 0.95, "control_before": 0.2, "points": (point,),
        "adjusted": adjusted, "low": low, "high": high, "n": 20,
    }  # fmt: skip
    return Recovery(**{**fields, **more})


def line(name: str, read: AuditInput) -> Check:
    return next(check for check in checklist(read) if check.id == name)


def outcome(name: str, own: dict[str, float] | None = None, **more: Any) -> str:
    return line(name, case(own, **more)).outcome


def test_a_control_passes_what_is_measured():
    found = {check.id: check.outcome for check in checklist(case(seeds=3))}
    assert {name for name, one in found.items() if one == "PASS"} == {
        "I5", "B1", "B2", "B5", "B6", "B7", "U1", "U2", "S1", "R3", "R9", "N4", "P1",
    }  # fmt: skip
    assert "FAIL" not in found.values()


@pytest.mark.parametrize(("name", "score"), [("B1", "known@forget"), ("B2", "said@forget"), ("B5", "likely@forget")])
def test_what_is_left_is_a_share_of_what_the_target_knows_beyond_the_controls(name: str, score: str):
    span = TARGET[score] - CONTROL[score]
    assert outcome(name, {score: CONTROL[score] + 0.19 * span}) == "PASS"
    found = line(name, case({score: CONTROL[score] + 0.21 * span}))
    assert (found.outcome, found.threshold) == ("FAIL", 0.2)
    assert found.value == pytest.approx(0.21)
    assert outcome(name, {score: 0.0}) == "PASS"  # too little is another line's business


def test_the_ideal_of_a_forget_score_is_the_controls_and_not_zero():
    assert outcome("B6", {"known@forget": 0.16}) == "PASS"
    assert outcome("B6", {"known@forget": 0.0}) == "FAIL"
    far_apart = (-15, -8, 0, 8, 15)  # controls between .05 and .35: even 0 could be one
    assert outcome("B6", {"known@forget": 0.0}, controls=far_apart) == "NOT TESTED"


@pytest.mark.parametrize("auc", [0.0, 0.4, 0.6, 1.0])
def test_membership_may_be_neither_above_nor_below_the_controls(auc: float):
    assert outcome("P1", {"auc@forget": auc}) == "FAIL"
    assert outcome("P1", {"auc@forget": 0.5 + 0.08 * (auc - 0.5)}) == "PASS"


def test_membership_that_does_not_see_the_target_is_no_test():
    assert outcome("P1", target=scores(TARGET | {"auc@forget": 0.52})) == "NOT TESTED"


def test_one_control_decides_by_the_items_and_none_decides_nothing():
    assert outcome("P1", {"auc@forget": 0.58}, controls=(0.0,)) == "NOT TESTED"
    assert outcome("P1", {"auc@forget": 0.70}, controls=(0.0,)) == "FAIL"
    assert outcome("B6", {"known@forget": 0.12}, controls=(0.0,)) == "NOT TESTED"
    assert outcome("B6", {"known@forget": 0.02}, controls=(0.0,)) == "FAIL"
    for name in ("P1", "B6", "N4", "I5"):
        assert outcome(name, controls=()) == "NOT TESTED"


def test_distance_is_counted_in_control_spreads_and_nearer_is_no_fault():
    assert outcome("N4", {"kl@forget": 0.45, "kl@retain": 0.45}) == "PASS"
    assert outcome("N4", {"kl@forget": 0.7}) == "PASS"  # 2.4 spreads of a hundredth of the target's distance
    assert outcome("N4", {"kl@forget": 1.5}) == "FAIL"
    assert outcome("N4", {"kl@retain": 1.5}) == "FAIL"
    assert outcome("N4", controls=(0.0,)) == "NOT TESTED"


def test_controls_that_could_not_tell_the_target_are_no_test():
    near = scores(TARGET | {"kl@forget": 0.52, "kl@retain": 0.5})
    assert outcome("N4", target=near) == "NOT TESTED"


def test_the_reference_is_tested_first():
    assert outcome("I5") == "PASS"
    assert outcome("I5", controls=(0.0,)) == "NOT TESTED"
    assert outcome("I5", target=scores(TARGET | {"known@forget": 0.23})) == "FAIL"
    assert outcome("I5", target=scores(TARGET | {"known@forget": 0.4}), controls=(-40, 0, 60)) == "FAIL"


def test_utility_is_read_against_the_controls():
    assert outcome("U2", {"utility@all": 0.73}) == "PASS"
    assert outcome("U2", {"utility@all": 0.70}) == "FAIL"
    assert outcome("U2", {"utility@all": 0.70}, controls=(-10, -5, 0, 5, 10)) == "PASS"  # as a control could
    collapsed = line("U2", case({"utility@all": 0.1}, controls=(-30, -15, 0, 15, 30)))
    assert collapsed.outcome == "FAIL" and collapsed.value == pytest.approx(0.125)
    assert outcome("U1", {"known@retain": 0.5}) == "FAIL"
    assert outcome("U2", {"utility@all": 0.73}, controls=()) == "PASS"  # then against the target
    assert outcome("B7", {"fluency@forget": 1.0}) == "FAIL"


@pytest.mark.parametrize("controls", [[0.62], [0.60, 0.64], [0.60, 0.64, 0.62]])
def test_controls_far_apart_excuse_no_half_of_the_utility(controls: list[float]):
    """Two controls' prediction interval is 15.6 of their spreads: without a cap 0.33 would stand within it."""
    for name, score in (("U1", "known@retain"), ("U2", "utility@all")):
        beside = [scores(CONTROL | {score: value}) for value in controls]
        read = replace(case({score: 0.33}), controls=beside)
        assert line(name, read).outcome == "FAIL"
        assert line(name, replace(read, scores=scores(CONTROL | {score: 0.57}))).outcome == "PASS"
    beside = [scores(CONTROL | {"fluency@forget": value}) for value in controls]
    assert line("B7", replace(case({"fluency@forget": 0.30}), controls=beside)).outcome == "FAIL"


def test_the_slack_of_two_controls_ends_at_four_fifths():
    beside = [scores(CONTROL | {"utility@all": value}) for value in (0.60, 0.64)]  # 15.6 spreads are 0.44
    for own, expected in ((0.80 * 0.62 + 0.001, "PASS"), (0.80 * 0.62 - 0.001, "FAIL")):
        assert line("U2", replace(case({"utility@all": own}), controls=beside)).outcome == expected


FEW = ("I5", "known@forget"), ("B1", "known@forget"), ("B2", "said@forget"), ("B5", "likely@forget")
FEW += ("B6", "known@forget"), ("P1", "auc@forget")


@pytest.mark.parametrize(("name", "score"), FEW)
@pytest.mark.parametrize("who", ["scores", "target", "controls"])
def test_few_items_decide_nothing_either_way(name: str, score: str, who: str):
    passing = case()
    failing = replace(passing, scores=scores(TARGET | ({score: 0.0} if name == "B6" else {})))
    if name == "I5":
        failing = replace(passing, target=scores(CONTROL))
    for read, expected in ((passing, "PASS"), (failing, "FAIL")):
        for n, outcome in ((ENOUGH_ITEMS, expected), (ENOUGH_ITEMS - 1, "NOT TESTED"), (1, "NOT TESTED")):
            if name == "I5" and who == "scores":
                continue  # the reference is between the target and the controls, on the same records
            found = line(name, with_items(read, who, score, n))
            assert found.outcome == outcome
            if outcome == "NOT TESTED":
                assert found.reason == f"only {n} item{'s' if n > 1 else ''}"


def with_items(read: AuditInput, who: str, score: str, n: int) -> AuditInput:
    def fewer(one: Mapping[str, Score]) -> dict[str, Score]:
        return {**one, score: replace(one[score], n=n)}

    held = getattr(read, who)
    return replace(read, **{who: [*held[1:], fewer(held[0])] if who == "controls" else fewer(held)})


def test_membership_against_few_unseen_records_decides_nothing():
    own = scores(CONTROL)
    for count, expected in ((ENOUGH_ITEMS, "PASS"), (2, "NOT TESTED")):
        own["auc@forget"] = replace(own["auc@forget"], detail={"n_against": count})
        assert outcome("P1", scores=own) == expected


@pytest.mark.parametrize("found", [recovered(), recovered(0.9, 0.9, 0.9), recovered(None, None, None, check="R5")])
def test_recovery_on_few_items_is_no_test(found: Recovery):
    for value in (0.2, 0.9):
        few = replace(found, n=2, points=(replace(found.points[0], value=value),))
        check = line(found.check, case(recoveries=[few]))
        assert (check.outcome, check.reason) == ("NOT TESTED", "only 2 items")
        assert line(found.check, case(recoveries=[replace(few, n=ENOUGH_ITEMS)])).outcome != "NOT TESTED"
    assert outcome(found.check, recoveries=[found, replace(found, n=1)]) != "PASS"


def test_recovery_fails_when_it_is_large_and_sure():
    assert outcome("R3", recoveries=[recovered(0.19, 0.1, 0.3)]) == "PASS"
    assert outcome("R3", recoveries=[recovered(0.4, 0.2, 0.6)]) == "FAIL"
    assert outcome("R3", recoveries=[recovered(0.4, -0.1, 0.9)]) == "NOT TESTED"  # too few items
    assert outcome("R3", recoveries=[recovered(0.1, -0.6, 0.8)]) == "NOT TESTED"  # half may be back for all we know
    assert outcome("R3", recoveries=[recovered(None, None, None, before=0.93)]) == "NOT TESTED"
    assert outcome("R3", recoveries=[]) == "NOT TESTED"


def test_the_worst_of_several_attacks_counts_and_the_number_tried_is_told():
    both = [recovered(), recovered(0.5, 0.3, 0.7, attack="slow")]
    for tried in (both, both[::-1]):
        found = line("R3", case(recoveries=tried))
        assert found.outcome == "FAIL" and found.value == 0.5
        assert "slow" in found.reason and "worst of 2" in found.reason
    assert outcome("R3", recoveries=[recovered(), recovered(0.1, -0.6, 0.8)]) == "NOT TESTED"


@pytest.mark.parametrize(
    ("check", "expected"), [("R3", "NOT TESTED"), ("R6", "NOT TESTED"), ("R5", "FAIL"), ("B3", "FAIL")]
)
def test_without_a_control_only_attacks_that_feed_nothing_in_can_convict(check: str, expected: str):
    alone = recovered(None, None, None, check=check, value=0.8)
    assert outcome(check, recoveries=[alone]) == expected
    assert outcome(check, recoveries=[replace(alone, points=(replace(alone.points[0], value=0.25),))]) == "PASS"


@pytest.mark.parametrize("level", ["decoding", "input", "output"])
def test_wrappers_always_fail_direct_access(level: str):
    assert outcome("R9", level=level) == "FAIL"
    assert outcome("R9", changed=0) == "FAIL"
    assert outcome("R9", changed=None) == "PASS"


def test_a_guard_that_the_model_carries_fails_direct_access_whatever_else_changed():
    found = line("R9", case(guarded=True, level="parameter", changed=1000))
    assert found.outcome == "FAIL"
    assert found.reason == "a guard at the model's output withholds answers; the weights keep them"
    assert audit(case(guarded=True)).reached == "suppression"
    assert outcome("R9", guarded=False) == "PASS"


SHOWN = [make(name, "PASS", reason="seen") for name in ("B3", "B4", "R1", "R2", "U3")]


def test_the_request_and_not_the_claim_says_what_is_needed():
    untampered = {"recoveries": [], "claimed": "suppression", "given": SHOWN}
    assert audit(case(**untampered, required="suppression")).reached == "suppression"
    assert audit(case(**untampered, required="removal")).reached == "no verdict"
    assert audit(case(**untampered, required="unsure")).reached == "no verdict"
    assert audit(case(**untampered)).claimed == "suppression"
    for one in SHOWN:  # what nobody tried is no suppression either
        fewer = {**untampered, "given": [other for other in SHOWN if other is not one]}
        found = audit(case(**fewer, required="suppression"))
        assert found.reached == "no verdict" and one.id in found.sentence


def test_noise_that_forgets_as_well_is_a_failure():
    noise = {"noise": scores(TARGET | {"known@forget": 0.6})}
    assert outcome("S4", floors=noise) == "PASS"
    assert outcome("S4", {"known@forget": 0.58}, floors=noise) == "FAIL"
    assert outcome("S4") == "NOT TESTED"


def test_too_few_seeds_are_told_and_not_failed():
    assert outcome("S1", seeds=2) == "NOT TESTED"
    assert outcome("S1", seeds=3, controls=(0.0, 1.0)) == "NOT TESTED"


def test_checks_made_elsewhere_stand_unless_the_list_fails_them():
    leak = Check("B4", "leak@k", "E1", "FAIL", 0.3, 0.1, "leaks")
    assert outcome("B4", given=[leak]) == "FAIL"
    good = Check("B1", "", "E0", "PASS")
    assert outcome("B1", {"known@forget": 0.9}, given=[good]) == "FAIL"
    foreign = Check("X1", "an auditor's own", "E2", "PASS", reason="seen")
    assert line("X1", case(given=[foreign])) == foreign


def test_missing_scores_are_named():
    bare = case(names=Names("known@forget", "utility@all", membership="auc@forget", probability="likely@forget"),
                scores=scores({"known@forget": 0.2}))  # fmt: skip
    assert line("U2", bare).reason == "utility@all was not measured"
    assert line("B5", bare).reason == "likely@forget was not measured"
    assert line("B2", bare).reason == WANTED["B2"]
    assert {line(name, bare).outcome for name in ("U2", "B5", "B2", "P1", "N4", "U1")} == {"NOT TESTED"}
