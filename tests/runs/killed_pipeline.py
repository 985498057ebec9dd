"""Unlearn, observe, attack, judge, report, killed on purpose.

`python -m tests.runs.killed_pipeline DESK OUT KILLS SEED` gives the two commands again and again, each time in a new
process that SIGKILL ends, until so many have really been killed; a run that comes through in between is compared and
cleared away. The kills aim at training, evaluation and report in turn, each at a random moment of that stage, since
chance alone would seldom hit the short last one. Forked processes save the seconds that an import of torch takes;
nothing of a run survives in them but what it has written.
"""

import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch

import lethe.api
from lethe.cli import main

STAGES = ("training", "evaluation", "report")


def commands(desk: Path, out: Path) -> list[list[str]]:
    sets = ["--forget", f"{desk}/forget.jsonl", "--retain", f"{desk}/retain.jsonl", "--allow-overlap"]
    unlearn = ["unlearn", "--model", f"{desk}/target", *sets, "--method", "npo", "--step", "sam:rho=0.05",
               "--set", "epochs=30", "--set", "checkpoint_every=3", "--out", f"{out}/unlearned"]  # fmt: skip
    audit = ["audit", "--model", f"{out}/unlearned", "--original", f"{desk}/target", "--control", f"{desk}/control-1",
             "--control", f"{desk}/control-2", *sets, "--holdout", f"{desk}/holdout.jsonl",
             "--attack", "relearn:steps=2,4", "--attack", "quantize:bits=8", "--budget", "quick",
             "--out", f"{out}/audit"]  # fmt: skip
    return [unlearn, audit]


def run(desk: Path, out: Path) -> None:
    """Both commands, the first only where its result does not stand yet."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 (for the life of the process)
    for arguments in commands(desk, out)[(out / "unlearned").is_dir() :]:
        sys.argv = ["lethe", *arguments]
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                raise


def digests(out: Path) -> dict[str, str]:
    """What must be the same whenever a run was killed; seconds and memory are not."""
    report = (out / "audit" / "report.html").read_text(encoding="utf-8")
    report = re.sub(r'<section id="cost".*?</section>', "", report, flags=re.DOTALL)
    manifest = json.loads((out / "unlearned" / "lethe.json").read_text())
    told = {name: value for name, value in manifest.items() if name not in ("seconds", "peak_memory_mib")}
    whole = {"weights": out / "unlearned" / "model.safetensors", "results": out / "audit" / "results.json"}
    contents = {name: path.read_bytes() for name, path in whole.items()}
    contents |= {"report": report.encode(), "manifest": json.dumps(told).encode()}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def attempt(desk: Path, out: Path, seconds: float, when: Callable[[], bool] = lambda: True) -> bool:
    """One process, killed so many seconds after a condition holds; whether it was still running."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(desk, out)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    end = math.inf
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, "a run ended with an error"
            return False
        if end == math.inf and when():
            end = time.monotonic() + seconds
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def observed(out: Path) -> list[Path]:
    """Rows of the audit that are complete."""
    return list((out / "audit" / "run" / "rows").glob("*.json"))


def stage(out: Path, rows: int) -> int:
    """What the run is at, counted along `STAGES`."""
    return (out / "unlearned").is_dir() + (len(observed(out)) == rows)


def clear(out: Path) -> None:
    shutil.rmtree(out)
    out.mkdir()


def measure(desk: Path, out: Path, wanted: int, seed: int) -> dict[str, object]:
    draw = random.Random(seed)
    start = time.time()
    assert not attempt(desk, out, 600), "the undisturbed run took more than ten minutes"
    reference, rows = digests(out), len(observed(out))
    ends = [(out / "unlearned").stat().st_mtime, max(row.stat().st_mtime for row in observed(out)), time.time()]
    seconds = [end - begin for begin, end in pairwise([start, *ends])]
    clear(out)
    stages, equal = [], []
    while len(stages) < wanted:
        aim = len(stages) % len(STAGES)
        if stage(out, rows) > aim:  # too late for this stage: the run goes on to its end, and another begins
            assert not attempt(desk, out, 600), "a run that was taken up took more than ten minutes"
            equal.append(digests(out) == reference)
            clear(out)
        if attempt(desk, out, draw.uniform(0, seconds[aim]), lambda aim=aim: stage(out, rows) >= aim):
            landed = stage(out, rows)
            stages.append(STAGES[landed])
            seconds[aim] /= 1 + (landed > aim)  # a busy machine had taken longer the first time
        else:
            equal.append(digests(out) == reference)
            clear(out)
            seconds[aim] /= 2
    assert not attempt(desk, out, 600), "the last run took more than ten minutes"
    left = [
        str(path.relative_to(out)) for path in out.rglob("*") if ".partial" in path.name or path.name.endswith(".run")
    ]
    return {"stages": stages, "equal": [*equal, digests(out) == reference], "left": left}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    assert lethe.api.audit  # imported before the fork
    print(json.dumps(measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
