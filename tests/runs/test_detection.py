"""A detection run: every algorithm is scored or says why not, finished work is kept, and recorded curves are read."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest import approx
from typer.testing import CliRunner

from lethe.cli import app
from lethe.detection.columns import NAMES, columns, over_targets
from lethe.detection.study import OBSERVED, Setting, Study, observations
from lethe.errors import InputError
from lethe.report.detection import detection_markdown, detection_table, read_costs
from lethe.runs.detection import Detection, DetectionCost, run_detection
from lethe.scoring.detection import ALGORITHMS, needs
from lethe.scoring.roc import chance_deviation
from lethe.studies import tddbench

TABLE = Setting(
    "records", targets=2, references=6, size=480, epochs=25, copies=4, boundary_rows=40, boundary_iterations=6,
    boundary_queries=300,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tddbench")


@pytest.fixture(scope="module")
def made(folder: Path) -> tuple[Detection, dict[str, DetectionCost]]:
    return run_detection(folder, TABLE)


@pytest.fixture
def run(made: tuple[Detection, dict[str, DetectionCost]]) -> Detection:
    return made[0]


def area(found: Detection, name: str) -> float:
    one = next(one for one in found.algorithms if one.name == name)
    return one.columns[0].mean


def test_all_21_are_scored_or_say_why_not(run: Detection):
    assert [one.name for one in run.algorithms] == list(ALGORITHMS)
    assert [one.name for one in run.algorithms if one.missing] == ["Query-ref"]
    for one in run.algorithms:
        if one.missing:
            assert (one.missing, one.columns) == ("queries are optimised for images only", ())
            continue
        assert tuple(column.name for column in one.columns) == NAMES
        assert len(one.targets) == 2
        for column in one.columns:
            assert 0 <= column.low <= column.mean <= column.high <= 1
        below, at = one.columns[1], one.columns[2]
        assert below.mean <= at.mean


def test_reference_models_tell_most_and_identities_hold(run: Detection):
    chance = 4 * chance_deviation(120, 120)
    assert area(run, "Metric-loss") > 0.5 + chance
    assert area(run, "Model-lira") > area(run, "Metric-loss")
    assert area(run, "Metric-conf") == approx(area(run, "Metric-loss"), abs=1e-3)
    assert run.counts["accuracy on members"] > run.counts["accuracy on non-members"] + 0.2
    right = run.counts["accuracy on members"], run.counts["accuracy on non-members"]
    assert area(run, "Metric-corr") == approx((1 + right[0] - right[1]) / 2)


def test_what_it_took_is_counted(made: tuple[Detection, dict[str, DetectionCost]]):
    run, costs = made
    counted = {one.name: (one.queries, one.models) for one in run.algorithms}
    assert counted["Metric-loss"] == (1, 0)
    assert counted["Learn-merge"] == (1, 1)
    assert counted["Model-lira"] == (1, 6)
    assert counted["Query-neighbor"] == (5, 0)
    assert counted["Query-transfer"] == (0.5, 2)  # half the shadow pool, once for each of two proxies
    assert (counted["Query-adv"][0] or 0) > 100
    assert costs["Model-lira"].training_seconds > costs["Learn-merge"].training_seconds > 0
    assert costs["Metric-loss"].training_seconds == 0
    assert all(cost.peak_memory_mib > 0 for cost in costs.values())


def test_a_finished_observation_is_not_made_again_and_a_damaged_one_is(run: Detection, folder: Path):
    kept, damaged = (folder / "observations" / name / "lethe.json" for name in ("outputs-0", "copies-0"))
    before = kept.stat().st_mtime_ns
    damaged.write_text("{", encoding="utf-8")
    assert run_detection(folder, TABLE, algorithms=["Query-neighbor"])[0].algorithms[0] == next(
        one for one in run.algorithms if one.name == "Query-neighbor"
    )
    assert kept.stat().st_mtime_ns == before
    assert json.loads(damaged.read_text())["seconds"] > 0


def test_shuffled_membership_is_not_found(run: Detection, folder: Path):
    """Labels permuted after scoring: within 4 deviations of chance."""
    study = Study(TABLE)
    member = np.random.default_rng(5).permutation(study.pools.members[0])
    outputs = study.makers()["outputs"](0)
    assert columns(-outputs["loss"], member)[0].value == approx(0.5, abs=4 * chance_deviation(120, 120))


def test_every_quantity_has_one_observation():
    held = [name for names in OBSERVED.values() for name in names]
    assert len(held) == len(set(held))
    for algorithm in ALGORITHMS:
        assert set(needs(algorithm)) <= {name for part in observations(algorithm) for name in OBSERVED[part]}


def test_retrained_targets_are_not_told_by_references_without_the_forget_set(tmp_path: Path):
    setting = replace(TABLE, forget=0.2)
    found, _ = run_detection(tmp_path, setting, algorithms=["Metric-loss", "Model-calibration", "Model-lira"])
    loss, calibrated, lira = found.algorithms
    assert lira.missing == "no reference model was trained on what is to be forgotten"
    for one in (loss, calibrated):
        before, after = one.columns[0], one.control_columns[0]
        assert before.mean > 0.65
        assert after.mean == approx(0.5, abs=3 * chance_deviation(48, 48))
    page = detection_markdown(found, {})
    assert "AUROC, retrained" in page
    assert "Model-lira: no reference model was trained on what is to be forgotten" in page


def test_images_and_texts(tmp_path: Path):
    small: dict[str, Any] = {"targets": 1, "references": 4, "copies": 2, "boundary_rows": 30, "size": 200}
    images = Setting("digits", epochs=15, **small)
    found, _ = run_detection(tmp_path / "images", images, algorithms=["Query-ref", "Query-augment", "Model-robust"])
    assert all(0 < one.columns[0].mean < 1 for one in found.algorithms)
    assert found.algorithms[0].queries == 2
    assert found.blind is None
    texts = Setting("facts", epochs=20, **small)
    found, _ = run_detection(tmp_path / "texts", texts, algorithms=["Metric-loss", "Query-neighbor", "Query-adv"])
    assert area(found, "Metric-loss") > 0.9  # nothing but rote learning helps on these
    assert found.algorithms[2].missing.endswith("texts have none")
    assert found.blind is not None
    assert found.blind.baselines["length"][0] == 0.5  # of one random split; all texts are two words long


def test_the_command_writes_tables(tmp_path: Path):
    rows = np.random.default_rng(0).normal(size=(120, 4))
    records = [{"id": str(i), "features": row.tolist(), "label": int(row[0] > 0)} for i, row in enumerate(rows)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    asked = ["bench", "tddbench", "--source", str(tmp_path / "own.jsonl"), "--out", str(tmp_path / "out")]
    asked += ["--workers", "1", "--set", "algorithms=Metric-loss,Model-lira", "--set", "targets=1"]
    asked += ["--set", "references=2", "--set", "epochs=3"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "Model-lira" in done.output
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [one["name"] for one in stored["algorithms"]] == ["Metric-loss", "Model-lira"]
    assert stored["counts"]["records"] == 120
    page = (tmp_path / "out" / "tddbench.md").read_text()
    assert "| Model-lira |" in page
    assert " ? " in page  # 30 non-members cannot show 1 %
    assert set(read_costs(tmp_path / "out")) == {"Metric-loss", "Model-lira"}


def test_recorded_curves_are_scored_again(data_dir: Path, tmp_path: Path):
    recorded = np.load(data_dir / "tddbench" / "student_curves_model0.npz")
    (tmp_path / "given").mkdir()
    chosen = {key: recorded[key] for key in recorded.files if key.startswith(("Metric-loss", "Model-lira"))}
    np.savez(tmp_path / "given" / "curves.npz", **chosen)
    found = tddbench(out=tmp_path, source=str(tmp_path / "given"))
    assert area(found, "Metric-loss") == approx(0.600736, abs=5e-7)
    assert found.counts == {"members": 1090, "non-members": 1122}
    assert "| Model-lira |" in (tmp_path / "tddbench.md").read_text()
    assert detection_table(found, {}).row_count == 2


def test_columns_of_a_target_and_over_targets():
    rng = np.random.default_rng(0)
    member = np.arange(400) < 200
    one, two = (columns(rng.normal(size=400) + shift * member, member) for shift in (0.5, 1.0))
    assert [score.variant for score in one] == list(NAMES)
    area_one, area_two = one[0].value, two[0].value
    both = over_targets([one, two])[0]
    assert both.mean == approx((area_one + area_two) / 2)
    assert both.sd == approx(abs(area_one - area_two) / 2)  # divided by the number of targets, as published
    alone = over_targets([one])[0]
    assert (alone.low, alone.high, alone.sd) == (one[0].low, one[0].high, 0)
    agreeing = over_targets([one, one])[0]
    assert (agreeing.low, agreeing.high) == (approx(one[0].low), approx(one[0].high))
    few = columns(np.arange(20.0), np.arange(20) >= 10)
    assert not few[1].detail["resolved"]
    assert few[1].low < 0.5 < few[1].high  # ten non-members say next to nothing of 1 %


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"references": 3}, "in pairs"),
        ({"copies": 0}, "copies is 0"),
        ({"world": "digit"}, r"no world 'digit'.*digits"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(changed: dict, told: str, tmp_path: Path):
    with pytest.raises(InputError, match=told):
        run_detection(tmp_path, replace(TABLE, **changed))
    with pytest.raises(InputError, match=r"no algorithm 'Model-lara'.*Model-lira"):
        run_detection(tmp_path, TABLE, algorithms=["Model-lara"])
    assert asdict(TABLE)["world"] == "records"
