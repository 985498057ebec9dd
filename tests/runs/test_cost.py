"""What a run cost, over all the processes that it took."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.models import tiny

from lethe.runs.environment import EVERY, SPENT, metered
from lethe.runs.unlearn import carry_out

OPTIONS = {"epochs": 40, "batch_size": 2, "checkpoint_every": 1}


def killed(out: Path, seconds: float) -> None:
    """A process that unlearns into `out`, ended that long after its first note of what it spent."""
    work = out.with_name(f".{out.name}.run")
    child = os.fork()
    if child == 0:
        try:
            long = OPTIONS | {"evaluate_every": 1, "evaluate": lambda model: time.sleep(0.2) or 0.0}
            carry_out(tiny.language(), tiny.request("language"), "ga", long, out)
        finally:
            os._exit(1)
    while not ((work / SPENT).exists() and (work / "checkpoint.safetensors").exists()):
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_the_seconds_of_a_killed_process_are_counted(tmp_path: Path):
    out = tmp_path / "made"
    killed(out, 2 * EVERY)
    work = tmp_path / ".made.run"
    spent = json.loads((work / SPENT).read_text())
    assert spent["seconds"] >= EVERY and spent["peak_memory_mib"] > 10
    spent["seconds"] += 1000.0  # as though it had been a long one
    spent["peak_memory_mib"] += 5000.0
    (work / SPENT).write_text(json.dumps(spent))
    same = {"evaluate_every": 1, "evaluate": lambda model: 0.0}
    carry_out(tiny.language(), tiny.request("language"), "ga", OPTIONS | same, out)
    told = json.loads((out / "lethe.json").read_text())
    assert spent["seconds"] < told["seconds"] < spent["seconds"] + 60
    assert told["peak_memory_mib"] == spent["peak_memory_mib"]
    assert not work.exists() and not list(out.rglob(SPENT))


@pytest.mark.parametrize("content", ['{"seconds": ', '{"seconds": 3}', '{"seconds": "x", "peak_memory_mib": 1}'])
def test_only_what_is_resumed_counts_and_a_damaged_note_does_not(content: str, tmp_path: Path):
    (tmp_path / SPENT).write_text('{"seconds": 1000, "peak_memory_mib": 1e9}')
    with metered(tmp_path) as meter:  # no checkpoint: the run starts anew
        pass
    assert meter.seconds < 100 and meter.peak_memory_mib < 1e9
    (tmp_path / "specialist0").mkdir()
    (tmp_path / "specialist0" / "checkpoint.safetensors").touch()
    with metered(tmp_path) as meter:
        pass
    assert meter.seconds > 1000 and meter.peak_memory_mib == 1e9
    (tmp_path / SPENT).write_text(content)
    with metered(tmp_path) as meter:
        pass
    assert meter.seconds < 100
