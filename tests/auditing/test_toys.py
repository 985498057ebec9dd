"""The checklist checked (SoK, arXiv 2506.09227, section 8): each toy must get the verdict that it deserves."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.auditing import toys
from tests.auditing.toys import beside, case, look, looked_control, looked_target

from lethe.auditing.verdict import audit
from lethe.findings import Check, Verdict
from lethe.models.classifier import Classifier


def line(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.id == name)


def attempted(verdict: Verdict) -> list[Check]:
    return [check for check in verdict.checks if check.outcome != "NOT TESTED"]


@pytest.mark.parametrize("make", [toys.deleted, toys.zeroed])
def test_a_table_with_the_rows_deleted_is_consistent_with_removal(make: Callable[[], Classifier]):
    verdict = audit(case(look(make()), beside()))
    assert verdict.reached == "consistent with removal"
    assert verdict.highest_class == "E3"
    assert not [check.id for check in attempted(verdict) if check.outcome == "FAIL"]
    merged = line(verdict, "R6")  # brings much back, as it does of some true controls: no test
    assert merged.outcome == "NOT TESTED" and (merged.value or 0) > 0.2
    bare = audit(replace(case(look(make()), beside()), nulls={}))
    assert line(bare, "R6").by == "merge" and bare.reached == verdict.reached  # merging alone decides nothing
    assert "Not shown: " in verdict.sentence and "N1/N3" in verdict.sentence


def test_b_the_same_table_behind_a_filter_is_suppression():
    own = look(toys.masked())
    named = audit(case(own, beside(), level="output"))
    assert named.reached == "suppression" and named.claimed == "removal"
    assert line(named, "B1").outcome == "PASS" and line(named, "R9").outcome == "FAIL"
    undeclared = audit(case(own, beside(), level="parameter", changed=0))  # its weights are the target's
    assert undeclared.reached == "suppression" and line(undeclared, "R9").outcome == "FAIL"


def test_c_a_readout_turned_down_is_suppression_by_relearning_and_not_by_behaviour():
    verdict = audit(case(look(toys.scaled()), beside()))
    assert verdict.reached == "suppression"
    assert line(verdict, "B1").outcome == "PASS"
    relearned = line(verdict, "R3")
    assert relearned.outcome == "FAIL" and relearned.value is not None and relearned.value > 0.5
    assert "relearn brings back" in verdict.sentence
    assert (line(verdict, "R6").value or 0) > 0.2


def test_c_needs_far_fewer_steps_than_a_control():
    quick, control = look(toys.scaled()).traces[0], looked_control(0).traces[0]
    assert np.mean(quick.after[0]) > 0.9  # five steps on half of the forget set
    assert np.mean(control.after[-1]) < 0.4  # twenty


def test_d_always_the_wrong_option_is_anti_knowledge():
    verdict = audit(case(look(toys.contrary()), beside()))
    assert line(verdict, "B1").outcome == "PASS"  # forgets "best"
    assert line(verdict, "B6").outcome == "FAIL"
    assert line(verdict, "P1").outcome == "FAIL"  # an AUC near 0 gives away as much as one near 1
    assert verdict.reached == "suppression" and verdict.highest_class == ""


def test_e_a_control_passes_everything_nine_times_in_ten():
    """Over 204 seeds: a checklist with a flat limit of two spreads would fail one true control in seven per metric."""
    attacks = ("relearn:steps=5,10,lr=0.05", "quantize")
    passed, failed = 0, Counter[str]()
    for block in range(34):
        models = [looked_control(6 * block + row, attacks) for row in range(6)]
        for own in models:
            verdict = audit(case(own, [one for one in models if one is not own]))
            bad = [check.id for check in attempted(verdict) if check.outcome == "FAIL"]
            failed.update(bad)
            passed += not bad and verdict.reached == "consistent with removal"
            measured = {check.id for check in verdict.checks if check.value is not None}
            assert {"I5", "B1", "B6", "U2", "P1", "R3", "R5", "N4"} <= measured
    assert passed >= 0.9 * 204, failed
    assert failed["R3"] + failed["R5"] <= 4


def test_a_ruined_model_is_a_collapse_and_the_untouched_one_has_not_forgotten():
    assert audit(case(look(toys.ruined()), beside())).reached == "collapse"
    untouched = audit(case(looked_target(), beside(), changed=0))
    assert untouched.reached == "not forgotten"
    assert "100% is left" in untouched.sentence


def test_a_target_that_knows_no_more_than_controls_gets_no_verdict():
    read = case(look(toys.deleted()), beside())
    empty = replace(read, target=toys.scores(looked_control(5), beside()))
    verdict = audit(empty)
    assert verdict.reached == "no verdict"
    assert line(verdict, "I5").outcome == "FAIL"


def test_without_controls_nothing_is_more_than_consistent():
    alone = audit(case(look(toys.deleted()), []))
    assert alone.reached == "consistent with removal" and alone.highest_class == "E3"
    assert {line(alone, name).outcome for name in ("I5", "B6", "P1", "N4", "R6")} == {"NOT TESTED"}
    for count in (0, 1):
        read = case(look(toys.deleted()), beside(count))
        given = [Check(check.id, "", check.evidence_class, "PASS") for check in alone.not_tested if check.id != "I5"]
        assert audit(replace(read, given=given)).reached == "consistent with removal"


def test_every_line_is_in_every_verdict():
    full, bare = (
        audit(case(look(toys.deleted()), beside())),
        audit(replace(case(look(toys.deleted()), []), recoveries=())),
    )
    assert [check.id for check in full.checks] == [check.id for check in bare.checks]
    assert all(check.reason for check in [*full.checks, *bare.checks])
    assert bare.reached == "no verdict" and "R3" in bare.sentence
