"""`lethe demo`: three embedded worlds, three families, from nothing to a report."""

from __future__ import annotations

from pathlib import Path

from lethe.errors import InputError
from lethe.runs.bench import cells_of, make_plan, run_plan, write_all
from lethe.runs.environment import environment
from lethe.runs.results import Results
from lethe.runs.workers import Pool

# What stands beside target, controls and floors; the options are the benchmarks' presets.
METHODS = {
    "tofu": ("ga", "grad_diff", "npo", "npo:step=sam:rho=0.1", "simnpo", "idk", "rmu", "task_vector"),
    "faces": ("finetune", "neggrad_plus", "scrub", "salun"),
    "shop": ("finetune", "grad_diff", "reverse_bpr"),
}


def run_demo(out: str | Path, *, workers: int = 2) -> Results:
    """Train targets and controls, unlearn, attack, audit and report; every figure is computed in this run.

    Args:
        out: Folder for results and report.
        workers: Processes.

    Raises:
        InputError: If the number of workers is below 1.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1.")
    results, costs = [], {}
    with Pool(workers) as pool:
        for name, methods in METHODS.items():
            plan = make_plan(name, {}, Path(out) / name, controls=3, attacks=True)
            result, cost = run_plan(plan, cells_of(plan.task(), methods, 1, {}), pool)
            results.append(result)
            costs |= cost
    found = Results(
        title="Lethe demo: three worlds, three families",
        command="lethe demo",
        benchmarks=tuple(results),
        environment=environment(),
        config={"methods": {name: list(methods) for name, methods in METHODS.items()}, "controls": 3},
    )
    write_all(found, costs, out)
    return found
