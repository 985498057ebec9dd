"""Where a run's numbers go."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.models import tiny

from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.tracking import Log
from lethe.train import Recipe, Term, train


def run(log: Log | None = None, folder: Path | None = None, evaluate: Any = lambda model: 0.5):
    model = tiny.classifier()
    terms = [Term(name, model.encode(tiny.features()), own_loss) for name in ("forget", "retain")]
    return train(model, terms, Recipe(steps=4, evaluate_every=2), log=log, folder=folder, evaluate=evaluate)


def test_the_log_holds_one_row_per_step_and_per_evaluation(tmp_path: Path):
    history = run(folder=tmp_path / "deep/er")
    rows = [json.loads(line) for line in (tmp_path / "deep/er/log.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "lr" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    assert list(steps[0]) == ["step", "epoch", "lr", "forget", "retain", "gradient_norm"]
    assert [{name: row[name] for name in ("forget", "retain")} for row in steps] == history.losses
    assert [row for row in rows if "evaluation" in row] == [{"step": step, "evaluation": 0.5} for step in (2, 4)]


def test_the_bar_follows_the_steps():
    log, seen = Log(progress="unlearning"), []

    def evaluate(_: object) -> float:
        assert log._bar is not None
        (task,) = log._bar.tasks
        seen.append((task.description, task.completed, task.total))
        return 0.0

    run(log, evaluate=evaluate)
    assert seen == [("unlearning", 2, 4), ("unlearning", 4, 4)]
    assert log._bar is None


def test_the_bar_is_taken_down_when_a_run_fails():
    log = Log(progress="unlearning")

    def evaluate(_: object) -> float:
        raise KeyError("no")

    with pytest.raises(KeyError):
        run(log, evaluate=evaluate)
    run(Log(progress="again"))  # rich allows one live display at a time


def test_tensorboard_receives_the_rows(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="the extra lethe-ml[tensorboard] is not installed")
    history = run(Log(tmp_path, trackers=("tensorboard",)))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"epoch", "lr", "forget", "retain", "gradient_norm", "evaluation"}
    values = [(event.step, event.value) for event in events.Scalars("forget")]
    wanted = [(step, row["forget"]) for step, row in enumerate(history.losses, 1)]
    assert values == [(step, pytest.approx(value)) for step, value in wanted]


def test_trackers_that_do_not_exist_or_have_no_folder_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="did you mean 'tensorboard'"):
        Log(tmp_path, trackers=("tensorbord",))
    with pytest.raises(InputError, match="writes to a folder"):
        Log(trackers=("tensorboard",))
