"""What a run makes of controls: none, one, the wrong ones; and of methods that destroy the model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.runs.conftest import Desk

from lethe.runs.bench import make_plan, run_plan
from lethe.runs.cells import Cell
from lethe.runs.results import BenchmarkResult, Row
from lethe.runs.workers import Pool

Command = Callable[..., tuple[int, str, str]]
QUICK = ("quantize:bits=8",)


def run(desk: Desk, out: Path, controls: list[str], *cells: Cell) -> BenchmarkResult:
    options: dict[str, Any] = {
        "model": desk.target, "forget": desk.records("forget"), "retain": desk.records("retain"),
        "control": tuple(controls), "allow_overlap": True,
    }  # fmt: skip
    plan = make_plan("records", options, out, len(controls), attacks=True, calls=QUICK)
    with Pool(1) as pool:
        return run_plan(plan, cells, pool)[0]


def method(result: BenchmarkResult) -> Row:
    return result.of_role("method")[0]


NPO = Cell("npo", 1, "method", (("epochs", 3), ("lr", 1e-3)))


def test_without_a_control_nothing_is_compared_and_the_verdict_is_capped(desk: Desk, tmp_path: Path):
    result = run(desk, tmp_path, [], NPO)
    assert not any(name.startswith("distance") for name in result.columns)
    verdict = method(result).verdict
    assert verdict is not None
    assert verdict.reached != "removal"
    assert any(check.id == "I5" for check in verdict.not_tested)


def test_one_control_has_no_distance_of_its_own(desk: Desk, tmp_path: Path):
    result = run(desk, tmp_path, [desk.control_1], NPO)
    assert "distance.kl@forget" in result.columns
    assert method(result).score("distance.kl@forget") is not None
    assert result.of_role("control")[0].score("distance.kl@forget") is None
    assert method(result).scores[0].reference is None


@pytest.mark.parametrize(
    ("controls", "said"),
    [(["control_1", "control_1"], "control 1 and control 2"), (["target"], "the original and control 1")],
)
def test_a_control_that_is_another_model_is_refused(
    desk: Desk, lethe: Command, tmp_path: Path, controls: list[str], said: str
):
    given = [word for name in controls for word in ("--control", getattr(desk, name))]
    code, _, err = lethe(
        "audit",
        "--model",
        desk.control_2,
        "--original",
        desk.target,
        *given,
        *desk.sets(),
        "--out",
        str(tmp_path / "a"),
    )
    assert code == 2
    assert said in err
    assert "same weights" in err


def test_a_control_cannot_be_audited_against_itself(desk: Desk, lethe: Command, tmp_path: Path):
    code, _, err = lethe("audit", "--model", desk.control_1, "--original", desk.target, "--control", desk.control_1,
                         *desk.sets(), "--out", str(tmp_path / "a"))  # fmt: skip
    assert code == 2
    assert "The audited model and control 1" in err


def test_rows_are_made_again_when_a_control_changes(desk: Desk, tmp_path: Path):
    shutil.copytree(desk.control_1, tmp_path / "control")
    first = method(run(desk, tmp_path / "out", [str(tmp_path / "control")], NPO))
    shutil.rmtree(tmp_path / "control")
    shutil.copytree(desk.control_2, tmp_path / "control")
    second = method(run(desk, tmp_path / "out", [str(tmp_path / "control")], NPO))
    fresh = method(run(desk, tmp_path / "fresh", [str(tmp_path / "control")], NPO))
    assert second == fresh != first


def test_a_finished_row_is_not_made_again_and_a_damaged_one_is(desk: Desk, tmp_path: Path):
    once = run(desk, tmp_path, [desk.control_1], NPO)
    path = tmp_path / "rows" / "npo-seed1.json"
    made = path.stat().st_mtime_ns
    assert run(desk, tmp_path, [desk.control_1], NPO) == once
    assert path.stat().st_mtime_ns == made
    path.write_text(path.read_text()[:100])
    for trace in (tmp_path / "traces").iterdir():
        trace.write_text("{")
    assert run(desk, tmp_path, [desk.control_1], NPO) == once
    assert json.loads(path.read_text())["key"]


def test_a_method_named_twice_is_refused(desk: Desk, tmp_path: Path):
    with pytest.raises(ValueError, match="npo-seed1 2 times"):
        run(desk, tmp_path, [desk.control_1], NPO, NPO)


def test_collapse_does_not_end_the_run_of_the_noise_floor(desk: Desk):
    from tests.attacks import tiny

    from lethe.methods.noise import LARGEST, scale_at_loss

    world = tiny.language()
    assert scale_at_loss(world.target, world.request, 1e6, seed=0) == LARGEST


def test_out_may_not_be_the_model(desk: Desk, lethe: Command):
    code, _, err = lethe("unlearn", "--model", desk.target, *desk.sets(), "--method", "npo", "--out", desk.target)
    assert code == 2
    assert "is the model itself" in err
