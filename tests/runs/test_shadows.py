"""U-LiRA on the digits: what must be found is found, what is not there is not, and finished work is kept."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytest import approx
from typer.testing import CliRunner

from lethe.cli import app
from lethe.errors import InputError
from lethe.report.shadows import shadows_markdown, shadows_table
from lethe.runs.shadows import Setting, Shadows, beside, observe, run_shadows, shadow

QUICK = "epochs=40,batch_size=320,lr=0.03"
SMALL = Setting(shadows=6, targets=8, recipe=QUICK)
LITTLE = "finetune:epochs=1,lr=0.001"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ulira")


@pytest.fixture(scope="module")
def run(folder: Path) -> Shadows:
    return run_shadows(folder, SMALL, methods=("retrain", LITTLE))


def test_retraining_is_chance_and_fine_tuning_leaks(run: Shadows):
    retrained, tuned = run.methods
    for name in ("lira", "ulira", "matched"):
        found, leaking = getattr(retrained, name), getattr(tuned, name)
        assert found.accuracy.low <= 0.5 <= found.accuracy.high
        assert found.auc.low <= 0.5 <= found.auc.high
        assert leaking.accuracy.low > 0.5
        assert leaking.auc.low > 0.5
    assert tuned.lira.auc.value > tuned.population.auc.value > 0.5  # a population attack overstates forgetting
    assert tuned.quality < retrained.quality
    assert tuned.quality <= tuned.quality_bound
    assert tuned.ain.high < 1
    assert retrained.ain.low <= 1 <= retrained.ain.high
    assert retrained.score == approx(retrained.quality, rel=0.05)


def test_the_run_is_told(run: Shadows, folder: Path):
    assert (run.points, run.forget, run.retain) == (160, 80, 240)
    assert run.accuracies["retain, the original"] > 0.8
    page = shadows_markdown(run)
    assert "6 shadow and 8 target models, each trained on 80 of 160 points" in page
    assert "| retrain | 0." in page
    assert page.count("LiRA, U-LiRA, U-LiRA, matched |") == 1  # what is told of fine-tuning
    assert shadows_table(run).row_count == 2


def test_finished_work_is_kept_and_damaged_work_done_again(run: Shadows, folder: Path):
    files = sorted((folder / "observations").glob("*/*.json"))
    assert len(files) == 4 * 14  # the original, a retrained one and two methods
    before = [file.stat().st_mtime_ns for file in files]
    files[0].write_text("{", encoding="utf-8")
    again = run_shadows(folder, SMALL, methods=("retrain", LITTLE))
    assert [file.stat().st_mtime_ns == time for file, time in zip(files, before, strict=True)].count(False) == 1
    assert [replace(one, seconds=0) for one in again.methods] == [replace(one, seconds=0) for one in run.methods]


def test_one_model_of_a_pair_holds_each_point(run: Shadows, folder: Path):
    values, member = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [False, True]])
    held, free = beside(values, member)
    assert (held.tolist(), free.tolist()) == ([[1.0, 4.0]], [[3.0, 2.0]])
    model = shadow(SMALL, 0)
    assert model.fingerprint() == shadow(SMALL, 0).fingerprint() != shadow(SMALL, 1).fingerprint()
    losses = json.loads(next((folder / "observations").glob("the-original*/0.json")).read_text())["loss"]
    assert len(losses) == 160


def test_the_command(tmp_path: Path):
    """With fewer and weaker models: every page and file is there."""
    asked = ["bench", "ulira", "--methods", "ga:steps=1", "--workers", "1", "--out", str(tmp_path)]
    asked += ["--set", "shadows=6", "--set", "targets=4", "--set", "recipe=epochs=2,batch_size=320"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "ga:steps=1" in done.output
    assert "chance" in done.output
    assert json.loads((tmp_path / "results.json").read_text())["config"]["recipe"]["epochs"] == 2
    assert "| ga:steps=1 |" in (tmp_path / "ulira.md").read_text()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"shadows": 7}, "shadows is 7; models come in pairs"),
        ({"targets": 2}, "targets is 2"),
        ({"benchmark": "shop"}, "shop is of recommender models"),
        ({"benchmark": "digit"}, "did you mean 'digits'"),
        ({"recipe": "epoch=3"}, "no option 'epoch'"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict, told: str, tmp_path: Path):
    with pytest.raises(InputError, match=told):
        run_shadows(tmp_path, replace(SMALL, **changed))


def test_methods_are_checked_before_anything_is_trained(tmp_path: Path):
    with pytest.raises(InputError, match="did you mean 'scrub'"):
        run_shadows(tmp_path, SMALL, methods=("scrubs",))
    with pytest.raises(InputError, match="no option 'rate'"):
        run_shadows(tmp_path, SMALL, methods=("finetune:rate=1",))
    with pytest.raises(InputError, match="shadow models are classifiers"):
        run_shadows(tmp_path, SMALL, methods=("idk",))
    assert not list(tmp_path.iterdir())


def test_an_observation_is_of_the_model_that_it_names(run: Shadows, folder: Path, tmp_path: Path):
    observe(SMALL, str(tmp_path), LITTLE, 3)
    again = next((tmp_path / "observations").glob("*/3.json"))
    kept = folder / "observations" / again.parent.name / "3.json"
    one, other = (json.loads(file.read_text()) for file in (again, kept))
    assert one["loss"] == other["loss"]
    assert one["key"] == other["key"]
