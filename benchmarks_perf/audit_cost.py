"""What a whole `lethe audit` costs beside training the model that it audits: CPU seconds and peak memory, as ratios.

One tiny language model of the authors world, unlearned by NPO, two controls; every step in a process of its own, whose
seconds and peak memory the system counts. What an interpreter takes that has loaded the libraries and the model is told
apart, because it is most of the memory beside a model this small. Prints one JSON line.

    python benchmarks_perf/audit_cost.py [quick | standard | thorough]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TRAIN = "from lethe.worlds.models import authors_model as make; make({split!r}, {seed}).save({out!r})"
LOAD = "import {libraries}; from lethe.models import load; load({out!r}).fingerprint()"
TRAINS, AUDITS = "lethe.train", "lethe.train, lethe.api, nltk, scipy.stats, matplotlib.figure"  # what each must import
SETS = ["--forget", "tiny:authors:forget10", "--retain", "tiny:authors:retain90", "--allow-overlap"]


@dataclass(frozen=True)
class Used:
    """Of one process: CPU seconds, wall-clock seconds, and peak memory in MiB."""

    cpu: float
    wall: float
    memory: float


def run(*arguments: str, cache: Path) -> Used:
    """One process to its end, its output dropped."""
    variables = {**os.environ, "LETHE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], env=variables, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(arguments)}")
    return Used(used.ru_utime + used.ru_stime, time.monotonic() - start, used.ru_maxrss / 1024)


def main(budget: str) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def made(name: str, split: str, seed: int) -> Used:
            told = TRAIN.format(split=split, seed=seed, out=str(folder / name))
            return run("-c", told, cache=folder / f"cache-{name}")

        training = made("target", "full", 0)
        for seed in (1, 2):
            made(f"control-{seed}", "retain90", seed)
        before, idle = (
            run("-c", LOAD.format(libraries=names, out=str(folder / "target")), cache=folder)
            for names in (TRAINS, AUDITS)
        )
        npo = ["--method", "npo", "--set", "lr=6.8e-4", "--set", "epochs=10", "--set", "batch_size=5"]
        out = ["--out", str(folder / "unlearned")]
        run("-m", "lethe", "unlearn", "--model", str(folder / "target"), *SETS, *npo, *out, cache=folder)
        controls = [word for seed in (1, 2) for word in ("--control", str(folder / f"control-{seed}"))]
        audit = run(
            "-m", "lethe", "audit", "--model", str(folder / "unlearned"), "--original", str(folder / "target"),
            *controls, *SETS, "--holdout", "tiny:authors:holdout10", "--budget", budget, "--out", str(folder / "audit"),
            cache=folder,
        )  # fmt: skip
        record = json.loads((folder / "audit" / "audit.json").read_text(encoding="utf-8"))
        passes = json.loads((folder / "audit" / "results.json").read_text(encoding="utf-8"))["benchmarks"][0]["passes"]
    told = {
        "budget": budget,
        "attacks": record["verdict"]["budget"]["attacks"],
        "attacked_models": record["verdict"]["budget"]["attacked_models"],
        "records_not_observed_again": passes["reused"],
        "training_cpu_seconds": round(training.cpu, 1),
        "audit_cpu_seconds": round(audit.cpu, 1),
        "audit_wall_seconds": round(audit.wall, 1),
        "audit_over_training_seconds": round(audit.cpu / training.cpu, 2),
        "training_peak_mib": round(training.memory),
        "audit_peak_mib": round(audit.memory),
        "training_libraries_mib": round(before.memory),
        "audit_libraries_mib": round(idle.memory),
        "audit_over_training_peak": round(audit.memory / training.memory, 3),
        "own_memory_training_mib": round(training.memory - before.memory),
        "own_memory_audit_mib": round(audit.memory - idle.memory),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["standard"]))
