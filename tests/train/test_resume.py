"""A run that is killed, and started again, ends in the same bits; a checkpoint of another run is refused."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from tests.models import tiny
from tests.train import killed_run

from lethe.descent.steps import wa
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.methods.pdu import Dual
from lethe.tracking import Log
from lethe.train import Recipe, Term, plain, train

ROOT = Path(__file__).parents[2]
KILLS = 10


@pytest.mark.processes
@pytest.mark.parametrize("kind", killed_run.KINDS)
def test_killed_runs_end_in_the_same_bits(kind: str, tmp_path: Path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    killed_run.run(whole, kind)
    command = [sys.executable, "-m", "tests.train.killed_run", str(broken), str(KILLS), "0", kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout)
    assert [kill["signal"] for kill in story["killed"]] == [signal.SIGKILL] * KILLS
    assert len({kill["rows"] for kill in story["killed"]}) > KILLS // 2  # at different moments, not all at the start
    assert story["last"] == 0
    assert (broken / "weights.txt").read_text() == (whole / "weights.txt").read_text()
    assert (broken / "log.jsonl").read_bytes() == (whole / "log.jsonl").read_bytes()
    assert (broken / "checkpoint.safetensors").read_bytes() == (whole / "checkpoint.safetensors").read_bytes()


RECIPE = Recipe(steps=6, batch_size=5, checkpoint_every=4)


def start(folder: Path, recipe: Recipe = RECIPE, identity: str = "", seed: int = 0, **options: Any):
    model = tiny.classifier()
    term = Term("retain", model.encode(tiny.features(seed=seed)), own_loss, **options)
    return model, train(model, [term], recipe, folder=folder, identity=identity)


class Stop(Exception):
    """Ends a run early."""


class Stopping(Log):
    """Stops after a number of rows."""

    def __init__(self, folder: Path, rows: int) -> None:
        super().__init__(folder)
        self.left = rows

    def row(self, row: Any) -> None:
        super().row(row)
        self.left -= 1
        if not self.left:
            raise Stop


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_family_and_optimizer_resumes_to_the_same_bits(family: str, optimizer: Any, tmp_path: Path):
    def go(folder: Path, stop: int = 0) -> str:
        model = tiny.model(family)
        term = Term("retain", model.encode(tiny.FAMILIES[family][1]()), own_loss)
        recipe = Recipe(steps=7, batch_size=4, checkpoint_every=2, optimizer=optimizer, lr=0.01)
        train(model, [term], recipe, folder=folder, log=Stopping(folder, stop))
        return model.fingerprint()

    whole = go(tmp_path / "whole")
    for stop in (1, 5):
        with pytest.raises(Stop):
            go(tmp_path / "broken", stop)
    assert go(tmp_path / "broken") == whole
    assert (tmp_path / "broken/log.jsonl").read_text() == (tmp_path / "whole/log.jsonl").read_text()


def test_a_finished_run_is_not_run_again(tmp_path: Path):
    model, history = start(tmp_path)
    log = (tmp_path / "log.jsonl").read_bytes()
    again, same = start(tmp_path)
    assert again.fingerprint() == model.fingerprint()
    assert same == history
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_how_often_a_run_is_saved_does_not_matter(tmp_path: Path):
    model, _ = start(tmp_path)
    again, _ = start(tmp_path, replace(RECIPE, checkpoint_every=1))
    assert again.fingerprint() == model.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": replace(RECIPE, lr=0.5)}, {"recipe": replace(RECIPE, seed=1)}, {"recipe": replace(RECIPE, steps=7)},
        {"seed": 1}, {"identity": "beta=0.5"}, {"weight": 0.5}, {"per": "token"},
    ],
    ids=str,
)  # fmt: skip
def test_the_checkpoint_of_another_run_is_refused(change: dict[str, Any], tmp_path: Path):
    start(tmp_path)
    kept = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(InputError, match="belongs to a run with other data, weights or settings"):
        start(tmp_path, **change)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == kept


def test_a_damaged_checkpoint_is_refused(tmp_path: Path):
    start(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="is damaged"):
        start(tmp_path)


def test_a_checkpoint_holds_what_moves_and_nothing_else(tmp_path: Path):
    start(tmp_path)
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        names = set(file.keys())
    parameters = {name for name, _ in tiny.classifier().module.named_parameters()}
    state = {f"optimizer.{key}.{name}" for key in ("exp_avg", "exp_avg_sq", "step") for name in parameters}
    assert names == {f"model.{name}" for name in parameters} | state


def carrying(what: str, folder: Path, stop: int = 0) -> tuple[str, list[float]]:
    """A run with an average of its weights or an adaptive weight: the final weights, and the weights of the term."""
    model = tiny.classifier()
    dual = Dual("retain", bound=1.0, start=0.3, rate=0.2, warmup_epochs=0)
    examples = model.encode(tiny.features())
    terms = [
        Term("forget", examples, lambda m, b: -m.loss(b), role="forget", weight=0.5),
        Term("retain", examples, own_loss, weight=dual if what == "dual" else 1.0),
    ]
    rule = wa(start=2, every=1) if what == "average" else plain
    recipe = Recipe(steps=7, batch_size=4, checkpoint_every=2, lr=0.05)
    train(model, terms, recipe, folder=folder, step_rule=rule, log=Stopping(folder, stop))
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return model.fingerprint(), [row["weight of retain"] for row in rows if "weight of retain" in row]


@pytest.mark.parametrize("what", ["average", "dual"])
def test_what_a_run_carries_travels_with_its_checkpoint(what: str, tmp_path: Path):
    whole = carrying(what, tmp_path / "whole")
    with pytest.raises(Stop):
        carrying(what, tmp_path / "broken", stop=5)
    assert carrying(what, tmp_path / "broken") == whole
    assert carrying(what, tmp_path / "broken") == whole  # finished, and only looked at again
    assert what == "average" or len(set(whole[1])) == len(whole[1]) == 7
    with pytest.raises(Stop):
        carrying(what, tmp_path / "reset", stop=5)
    reset(tmp_path / "reset/checkpoint.safetensors")
    assert carrying(what, tmp_path / "reset")[0] != whole[0]  # a checkpoint without it would not have done


def reset(path: Path) -> None:
    """Set all that the run carries to 0 in its checkpoint."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    carried = [name for name in tensors if name.startswith("carried.")]
    assert carried
    for name in carried:
        tensors[name].zero_()
    save_file(tensors, path, metadata=metadata)


def test_half_a_row_at_the_end_of_the_log_is_dropped(tmp_path: Path):
    start(tmp_path)
    log = tmp_path / "log.jsonl"
    whole = log.read_text()
    for cut in (1, 20):
        log.write_text(whole[:-cut])
        kept = Log(tmp_path)
        kept.start(6, 6)
        kept.finish()
        assert log.read_text() == "".join(line + "\n" for line in whole.splitlines()[:-1])
