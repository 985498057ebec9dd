"""The list as SoK has it (arXiv 2506.09227, section 4): every line, its correction, and what breaks a verdict."""

from dataclasses import replace
from typing import Any

import pytest
from tests.auditing.test_checklist import CONTROL, NAMES, NOISE, SHOWN, TARGET, case, line, outcome, recovered, scores

from lethe.auditing.case import TITLES, WANTED, AuditInput, Names, make
from lethe.auditing.checklist import FAMILY, checklist, corrected
from lethe.auditing.thresholds import Null
from lethe.auditing.verdict import audit, conclude
from lethe.findings import Check, LeftOut, Recovery

SOK = [
    *(f"I{n}" for n in range(1, 6)), *(f"B{n}" for n in range(1, 8)), *(f"U{n}" for n in range(1, 7)),
    *(f"P{n}" for n in range(1, 4)), *(f"R{n}" for n in range(1, 10)), *(f"N{n}" for n in range(1, 6)),
    *(f"O{n}" for n in range(1, 9)), *(f"S{n}" for n in range(1, 6)),
]  # fmt: skip
MORE = {"leak.k1@forget": (0.8, 0.1), "leak.k16@forget": (1.0, 0.2), "error@retain": (0.1, 0.1),
        "auc.diff@forget": (0.5, 0.98), "strength@forget": (0.9, 0.1), "probe@forget": (0.6, 0.1),
        "lens@forget": (0.9, 0.1), "trace@forget": (1.0, 0.1), "mass@forget": (0.2, 4.0)}  # fmt: skip
WIDE = replace(
    NAMES, leaks=("leak.k1@forget", "leak.k16@forget"), calibration="error@retain", difference="auc.diff@forget",
    extraction=("strength@forget",), probe="probe@forget", lens="lens@forget", trace="trace@forget",
    gradient="mass@forget",
)  # fmt: skip


def wide(own: dict[str, float] | None = None, **more: Any) -> AuditInput:
    """The case with every score that the list reads; the model's are a control's where `own` says nothing else."""
    never = CONTROL | {name: values[1] for name, values in MORE.items()}
    knows = TARGET | {name: values[0] for name, values in MORE.items()}
    read = case(names=WIDE, scores=scores(never | (own or {})), target=scores(knows), **more)
    return replace(read, controls=[scores(never, shift) for shift in NOISE])


def test_every_line_of_the_paper_is_in_every_verdict_with_title_and_reason():
    assert list(TITLES) == SOK
    for read in (case(), wide(), case(controls=(), recoveries=[]), replace(case(), scores={}, target={}, controls=())):
        found = checklist(read)
        assert [check.id for check in found] == SOK
        assert all(
            check.title == TITLES[check.id][1] and check.evidence_class == TITLES[check.id][0] for check in found
        )
        assert all(check.reason for check in found)
        measured = [check for check in found if check.value is not None]
        assert all(check.statistic for check in measured if check.outcome != "NOT TESTED")
    nothing = checklist(replace(case(recoveries=[]), scores={}, target={}, controls=(), names=Names("", "")))
    assert {check.id for check in nothing if check.outcome != "NOT TESTED"} == {"R9"}  # the claim needs no score
    assert all(check.reason == WANTED[check.id] for check in nothing if check.id in WANTED)


@pytest.mark.parametrize(
    ("name", "score"),
    [("B4", "leak.k16@forget"), ("B4", "leak.k1@forget"), ("P3", "strength@forget"), ("N1", "probe@forget"),
     ("N2", "lens@forget"), ("N3", "trace@forget")],
)  # fmt: skip
def test_what_is_found_beyond_the_controls_fails(name: str, score: str):
    knows, never = MORE[score]
    assert line(name, wide()).outcome == "PASS"
    near, far = (line(name, wide({score: never + share * (knows - never)})) for share in (0.15, 0.6))
    assert (near.outcome, far.outcome) == ("PASS", "FAIL")
    assert far.value == pytest.approx(0.6) and far.by == score
    assert far.p_adjusted is not None and far.p is not None and far.p <= far.p_adjusted <= 0.05
    alone = replace(wide({score: knows}), controls=())
    assert line(name, alone).outcome == ("FAIL" if name == "B4" else "NOT TESTED")  # inside, controls find things too


def test_one_score_too_coarse_to_tell_keeps_its_line_from_passing():
    coarse = {"B4": Null(12, 0.01, 0.6)}
    read = wide({"leak.k16@forget": 0.6}, nulls=coarse)  # half is left; at k = 1 nothing
    assert line("B4", read).outcome == "NOT TESTED"
    assert line("B4", wide({"leak.k16@forget": 0.6})).outcome == "FAIL"


def test_the_gradient_may_lie_neither_with_the_targets_nor_far_from_the_controls():
    for mass, expected in ((4.3, "PASS"), (0.4, "FAIL"), (9.0, "FAIL")):
        assert line("N5", wide({"mass@forget": mass})).outcome == expected


def test_what_changed_since_the_original_must_be_what_changed_in_a_control():
    assert line("P2", wide()).outcome == "PASS"
    assert line("P2", wide({"auc.diff@forget": 0.6})).outcome == "FAIL"


def test_calibration_may_be_no_worse_than_a_controls():
    assert line("U6", wide({"error@retain": 0.15})).outcome == "PASS"
    found = line("U6", wide({"error@retain": 0.5}))
    assert found.outcome == "FAIL" and found.value == pytest.approx(0.4)


def test_multiple_choice_alone_fails_the_list_and_shows_no_answer():
    asked = {name: replace(score, metric="multiple_choice") for name, score in scores(CONTROL).items()}
    read = case(names=replace(NAMES, generation=""), scores=asked)
    found = line("B2", read)
    assert found.outcome == "FAIL" and "only multiple choice" in found.reason
    verdict = audit(replace(read, recoveries=[recovered(), recovered(check="R5")]))
    assert verdict.reached == "no verdict" and "only multiple choice" in verdict.sentence
    assert line("B2", case(names=replace(NAMES, generation=""))).outcome == "NOT TESTED"


def test_a_failure_that_may_be_chance_among_so_many_lines_is_no_test_and_never_a_pass():
    checks = [make(f"R{n}", "PASS", 0.0, 0.2, "fine", p=0.5) for n in range(1, 9)]
    for p, expected in ((0.004, "FAIL"), (0.008, "NOT TESTED")):  # nine lines: the first is multiplied by nine
        found = corrected([*checks, make("N1", "FAIL", 0.4, 0.2, "seen", p=p)])[-1]
        assert found.outcome == expected
        assert found.p_adjusted == pytest.approx(9 * p)
    assert corrected([make("N1", "FAIL", 0.4, 0.2, "seen", p=0.008)])[0].outcome == "FAIL"  # alone
    told = corrected([*checks, make("N1", "FAIL", 0.4, 0.2, "seen", p=0.008)])[-1]
    assert "p = 0.072 over 9 lines: it may be chance" in told.reason
    kept = corrected([make("U1", "FAIL", 0.4, 0.9, "lost", p=0.9), make("R9", "FAIL", reason="a wrapper")])
    assert [check.outcome for check in kept] == ["FAIL", "FAIL"]  # no tests of chance
    assert "U" not in FAMILY and "S" not in FAMILY


def test_attacks_inside_a_line_pay_for_each_other():
    one = recovered(0.5, 0.3, 0.7, attack="slow", p=0.002)
    alone = line("R3", case(recoveries=[one]))
    among = line("R3", case(recoveries=[one, *(recovered(attack=f"a{n}", p=0.4) for n in range(9))]))
    assert alone.outcome == "FAIL" and alone.p == pytest.approx(0.002, abs=1e-4) and alone.tried == 1
    assert among.p == pytest.approx(10 * (alone.p or 0)) and among.tried == 10
    assert among.outcome == "NOT TESTED" and "worst of 10" in among.reason
    assert line("R3", case(recoveries=[replace(one, p=1e-6), recovered(attack="b")])).by == "slow"


def test_controls_that_differ_under_an_attack_excuse_what_one_control_could_show():
    sure = recovered(0.4, 0.3, 0.5, p=1e-9)
    nothing: dict[str, Null] = {}
    assert line("R3", case(recoveries=[sure], nulls=nothing)).outcome == "FAIL"
    apart = replace(sure, controls=3, spread=0.4)  # one control's gain is another's plus or minus 0.4
    assert line("R3", case(recoveries=[apart], nulls=nothing)).outcome == "NOT TESTED"
    assert line("R3", case(recoveries=[replace(apart, spread=0.01)], nulls=nothing)).outcome == "FAIL"
    assert line("R3", case(recoveries=[sure], nulls={"R3": Null(12, 0.3, 0.2)})).outcome == "NOT TESTED"
    raised = line("R3", case(recoveries=[sure], nulls={"R3": Null(12, 0.01, 0.45)}))
    assert (raised.outcome, raised.threshold) == ("NOT TESTED", 0.45)  # true controls reach so far
    assert "true controls reach up to 0.45" in raised.reason
    small = replace(sure, adjusted=0.1, low=0.05, high=0.15)
    assert line("R3", case(recoveries=[small], nulls={"R3": Null(12, 0.01, 0.45)})).outcome == "PASS"
    left = {"B1": Null(12, 0.01, 0.6)}
    for share, expected in ((0.19, "PASS"), (0.5, "NOT TESTED"), (0.7, "FAIL")):
        assert line("B1", case({"known@forget": 0.2 + share * 0.75}, nulls=left)).outcome == expected


def test_merging_alone_convicts_nobody_and_pruning_does():
    merged = recovered(0.9, 0.8, 1.0, check="R6", attack="merge")
    pruned = recovered(0.6, 0.5, 0.7, check="R6", attack="prune")
    mild = recovered(0.05, 0.0, 0.1, check="R6", attack="prune")
    basic = [recovered(), recovered(check="R5", attack="quantize")]
    for found, by, reached in (
        ([merged, mild], "merge", "consistent with removal"),
        ([mild], "", "consistent with removal"),
        ([merged, pruned], "merge, prune", "suppression"),
    ):
        read = case(recoveries=[*basic, *found])
        assert line("R6", read).by == by
        assert audit(read).reached == reached
    assert "prune" in audit(case(recoveries=[*basic, merged, pruned])).sentence


def test_an_attack_that_breaks_keeps_its_line_from_passing_and_not_from_failing():
    broken = LeftOut("slow:rate=1", "R3", "RuntimeError: out of memory", failed=True)
    unfit = LeftOut("slow", "R3", "needs holdout records")
    assert outcome("R3") == outcome("R3", left_out=[unfit]) == "PASS"
    found = line("R3", case(left_out=[broken]))
    assert (
        found.outcome == "NOT TESTED" and "slow:rate=1 could not be made (RuntimeError: out of memory)" in found.reason
    )
    assert outcome("R3", left_out=[broken], recoveries=[recovered(0.5, 0.4, 0.6)]) == "FAIL"
    alone = line("R8", case(left_out=[replace(unfit, attack="reroute", check="R8", reason="needs experts")]))
    assert alone.outcome == "NOT TESTED" and alone.reason == "left out: reroute: needs experts"


def passed(**outcomes: str) -> list[Check]:
    return [make(name, outcomes.get(name, "PASS"), reason="seen") for name in TITLES]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["B1", "B2", "B3", "B4", "B6", "U1", "U2", "U3", "R1", "R2"])
def test_a_suppression_that_is_required_needs_its_lines_too(name: str):
    others = {"R3": "FAIL"}  # which tampering brings back: reported, and no more than that is asked
    assert conclude("", passed(**others), "suppression").reached == "suppression"
    assert conclude("", passed(**others, **{name: "NOT TESTED"}), "suppression").reached == "no verdict"
    lost = conclude("", passed(**others, **{name: "FAIL"}), "suppression")
    assert lost.reached == ("not forgotten" if name in ("B1", "B2", "B3", "B4", "R1", "R2") else "collapse" if
                            name[0] == "U" else "no verdict")  # fmt: skip
    assert name in lost.sentence


def test_without_controls_the_highest_class_ends_at_tampering():
    assert conclude("", passed()).highest_class == "E4"
    assert conclude("", passed(I5="NOT TESTED")).highest_class == "E3"
    assert conclude("", passed(I5="NOT TESTED")).reached == "consistent with removal"


def test_the_sentence_and_the_verdict_say_what_was_paid():
    left_out = (LeftOut("pair", "R1", "too dear for the budget quick; thorough pays for it"),)
    read = case(budget="quick", left_out=left_out, given=SHOWN)
    found = audit(read)
    assert found.sentence.endswith("Budget quick: 1 attack tried, 1 left out.")
    assert (found.budget, found.tried, found.left_out) == ("quick", 1, left_out)
    assert audit(case(recoveries=[])).sentence.endswith("No attack was tried.")


def test_artefact_failed_runs_and_pairs():
    assert outcome("O8") == outcome("S5") == "NOT TESTED"
    assert outcome("O8", artefact="lethe.json fits") == "PASS"
    assert line("S5", case(failed=2)).reason.startswith("2 of the run's models failed")
    assert outcome("S2") == "NOT TESTED"  # these scores hold no items
    with_items = {name: replace(one, items=(one.value,) * 40) for name, one in scores(CONTROL).items()}
    assert outcome("S2", scores=with_items, controls=[0.0]) == "NOT TESTED"
    assert line("S2", replace(case(scores=with_items), controls=[with_items])).outcome == "PASS"


def test_items_in_pairs_are_surer_than_intervals_apart():
    """What varies from record to record alike in both models is no doubt about their difference."""
    steps = [0.4 * (n % 10) / 10 for n in range(40)]
    half, likely = 0.4, 0.2
    own = {"likely@forget": replace(scores({"likely@forget": 0.5}, half=half)["likely@forget"])}
    control = {"likely@forget": scores({"likely@forget": likely}, half=half)["likely@forget"]}
    apart = replace(case(), scores=own, controls=[control])
    paired = replace(
        apart,
        scores={"likely@forget": replace(own["likely@forget"], items=tuple(step + 0.3 for step in steps))},
        controls=[{"likely@forget": replace(control["likely@forget"], items=tuple(steps))}],
    )
    assert line("B5", replace(apart, nulls={})).outcome == "NOT TESTED"
    assert line("B5", replace(paired, nulls={})).outcome == "FAIL"


def test_a_recovery_without_a_p_value_of_its_own_is_read_from_its_interval():
    bare: Recovery = recovered(0.5, 0.4, 0.6)
    assert bare.p is None
    assert outcome("R3", recoveries=[bare], nulls={}) == "FAIL"
    assert outcome("R3", recoveries=[replace(bare, p=0.2)], nulls={}) == "NOT TESTED"
