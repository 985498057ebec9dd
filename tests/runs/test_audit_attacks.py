"""Attacks of an audit: several controls beside a model, what fails alone, and what is not observed twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.runs.conftest import Desk

from lethe.errors import InputError
from lethe.findings import LeftOut
from lethe.request import Request
from lethe.runs import cells
from lethe.runs.bench import make_plan, run_plan
from lethe.runs.cells import Cell, Plan, known_of
from lethe.runs.results import Row
from lethe.runs.workers import Pool

NPO = Cell("npo", 1, "method", (("epochs", 2), ("lr", 1e-3)))
UNFIT = "relearn:share=0.001"  # of fifteen records none is left to the attacker


def planned(desk: Desk, out: Path, *calls: str, **more: Any) -> Plan:
    options: dict[str, Any] = {
        "model": desk.target, "forget": desk.records("forget"), "retain": desk.records("retain"),
        "control": (desk.control_1, desk.control_2), "allow_overlap": True,
    }  # fmt: skip
    return replace(make_plan("records", options, out, 2, attacks=True, calls=calls), **more)


def made(plan: Plan, **more: Any) -> Row:
    with Pool(1) as pool:
        return run_plan(plan, [NPO], pool, **more)[0].of_role("method")[0]


def test_all_controls_that_are_paid_for_are_attacked_and_what_fails_alone_is_told(desk: Desk, tmp_path: Path):
    row = made(planned(desk, tmp_path, UNFIT, "quantize:bits=8", attacked=2, forgiving=True), budget="standard")
    (found,) = row.recoveries
    assert (found.attack, found.controls) == ("quantize", 2)
    assert found.spread is not None
    assert found.reused == 4 * found.n  # the model, the original and both controls: none is asked again
    (left_out,) = row.left_out
    assert (left_out.attack, left_out.check, left_out.failed) == (UNFIT, "R3", False)
    assert row.verdict is not None and row.verdict.left_out == (left_out,)
    line = next(check for check in row.verdict.checks if check.id == "R3")
    assert line.outcome == "NOT TESTED" and line.reason.startswith("left out: relearn: ")
    assert "Budget standard: 1 attack tried, 1 left out." in row.verdict.sentence
    assert len(list((tmp_path / "traces").glob("control-*-quantize-*.json"))) == 2


def test_an_attack_that_was_named_is_refused_with_its_own_words(desk: Desk, tmp_path: Path):
    with pytest.raises(InputError, match="share"):
        made(planned(desk, tmp_path, UNFIT))


def test_an_attack_that_breaks_is_told_as_broken(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def breaks(call: str, *_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(cells, "attacked", breaks)
    row = made(planned(desk, tmp_path, "quantize:bits=8", forgiving=True))
    assert row.left_out == (LeftOut("quantize:bits=8", "R5", "RuntimeError: out of memory", failed=True),)
    assert row.verdict is not None and row.verdict.reached != "consistent with removal"


def test_only_records_that_are_probed_as_they_are_are_known(desk: Desk, tmp_path: Path):
    plan = planned(desk, tmp_path, "quantize:bits=8")
    task = plan.task()
    evidence = plan.evidence(plan.side("target", 0))
    known = known_of(task, evidence)
    assert list(known) == [record["id"] for record in task.request.forget]
    score = cells.compute(task.knowledge, evidence)
    assert list(known.values()) == list(score.items)
    other = [{**task.request.forget[0], "question": "And otherwise?"}, *task.request.forget[1:]]
    changed = replace(task, request=Request(other, task.request.retain, allow_overlap=True))
    assert set(known_of(changed, evidence)) == set(known) - {other[0]["id"]}
