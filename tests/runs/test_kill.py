"""kill -9 at any moment, then the same commands again: the same bytes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.runs.conftest import Desk


def test_twenty_sigkills_over_training_evaluation_and_report(desk: Desk, tmp_path: Path):
    command = [sys.executable, "-m", "tests.runs.killed_pipeline", str(desk.folder), str(tmp_path), "20", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said["stages"]) == 20
    assert all(said["equal"])
    assert said["left"] == []
    assert set(said["stages"]) == {"training", "evaluation", "report"}, said["stages"]
