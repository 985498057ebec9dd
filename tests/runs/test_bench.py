"""What a run makes of controls: none, one, the wrong ones; and of methods that destroy the model."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.runs.conftest import Desk

from lethe import api
from lethe.errors import InputError
from lethe.models import load
from lethe.registry import find, settle
from lethe.report import terminal_table, write_overview, write_report
from lethe.runs.bench import cells_of, make_plan, run_plan
from lethe.runs.cells import Cell
from lethe.runs.results import BenchmarkResult, Results, Row
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


def test_a_method_that_fails_is_a_row_that_says_why_and_hides_no_other(desk: Desk, tmp_path: Path):
    broken = Cell("npo", 1, "method", (("epochs", 3), ("lr", 1e30)), "npo:lr=1e30")
    result = run(desk, tmp_path, [desk.control_1, desk.control_2], broken, NPO)
    failed, made = result.of_role("method")
    assert re.fullmatch(r"'\w+' became (nan|inf) at step \d+; lower lr \(now 1e\+30\)\.", failed.failure)
    assert (failed.scores, failed.verdict, failed.options["epochs"]) == ((), None, 3)
    assert made.verdict is not None
    assert made.trained == sum(p.numel() for p in load(desk.target).module.parameters())
    assert not (tmp_path / "rows" / "npo-lr=1e30-seed1.json").exists()  # it is tried again next time
    results = Results("Some fail", "lethe bench", (result,), {}, {})
    write_report(results, {}, tmp_path)
    write_overview(results, {}, tmp_path)
    for page in ("report.html", "report.md", "table.md"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "lower lr (now 1e+30)" in text, page
    assert "npo-lr=1e30" in console(terminal_table(result))


def console(table: object) -> str:
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(table)
    return screen.export_text()


def test_a_preset_takes_the_place_of_the_benchmarks_own():
    task = find("benchmark", "tofu").function(split="forget01")
    own = dict(cells_of(task, ["npo"], 1, {})[0].options)
    assert own == dict(task.presets["npo"])
    named = dict(cells_of(task, ["npo:preset=paper,epochs=2"], 1, {})[0].options)
    assert named == {"preset": "paper", "epochs": "2"}
    assert settle(find("method", "npo"), named)["epochs"] == 2
    with pytest.raises(ValueError, match="npo has no preset 'papr', did you mean 'paper'"):
        cells_of(task, ["npo"], 1, {"npo": {"preset": "papr"}})


def test_collapse_does_not_end_the_run_of_the_noise_floor(desk: Desk):
    from tests.attacks import tiny

    from lethe.methods.noise import LARGEST, scale_at_loss

    world = tiny.language()
    assert scale_at_loss(world.target, world.request, 1e6, seed=0) == LARGEST


def test_out_may_not_be_the_model(desk: Desk, lethe: Command):
    code, _, err = lethe("unlearn", "--model", desk.target, *desk.sets(), "--method", "npo", "--out", desk.target)
    assert code == 2
    assert "is the model itself" in err


def test_several_benchmarks_stand_in_one_report(tmp_path: Path):
    found = api.bench("digits,faces", methods=["finetune:epochs=1"], controls=1, attacks=False, out=tmp_path, workers=1)
    assert [one.name for one in found.benchmarks] == ["digits", "faces"]
    assert all(len(one.of_role("method")) == 1 for one in found.benchmarks)
    assert (tmp_path / "report.html").is_file()


def test_an_option_of_one_benchmark_is_not_guessed_for_several(tmp_path: Path):
    with pytest.raises(InputError, match="split belongs to one benchmark, and 2 are named"):
        api.bench("digits,faces", split="retain", out=tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_epochs_that_are_asked_for_stand_above_the_presets_steps():
    task = make_plan("tofu", {}, Path("never"), 1, attacks=False).task()
    assert "steps" in task.presets["ga"]
    (cell,) = cells_of(task, ["ga:epochs=2"], 1, {})
    assert dict(cell.options)["epochs"] == "2"
    assert "steps" not in dict(cell.options)
