"""What unlearning cost, beside training again, and after how many requests a dear preparation has paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isinf
from statistics import fmean

from lethe.report.numbers import count, finite, number
from lethe.report.tables import Group
from lethe.runs.results import Cost
from lethe.scoring.interactions import efficiency


@dataclass(frozen=True)
class Expense:
    """What one group cost, over its seeds."""

    label: str
    role: str
    seeds: str
    seconds: str
    memory: str
    changed: str
    prepared: str = ""
    speedup: str = ""  # over retraining in the same run
    break_even: str = ""  # requests that pay for what was prepared


def expenses(benchmark: str, lines: Sequence[Group], costs: Mapping[str, Cost]) -> list[Expense]:
    """The cost of every group, over its seeds.

    Args:
        benchmark: Name under which costs are kept, as `BENCHMARK/ROW`.
        lines: Groups of rows.
        costs: What is known; rows without one are printed as not measured.
    """
    known = [[costs[key] for row in line.rows if (key := f"{benchmark}/{row.id}") in costs] for line in lines]
    again = [own for line, own in zip(lines, known, strict=True) if line.first.method == "retrain" and own]
    retraining = _mean(again[0], "seconds") if again else None
    return [_expense(line, own, retraining) for line, own in zip(lines, known, strict=True)]


def _mean(costs: Sequence[Cost], what: str) -> float | None:
    values = [value for cost in costs if (value := finite(getattr(cost, what))) is not None]
    return fmean(values) if values else None


def _expense(line: Group, known: Sequence[Cost], retraining: float | None) -> Expense:
    """Cost of one group, also beside retraining where a row of this run was retrained."""
    seconds, prepared = _mean(known, "seconds"), _mean(known, "prepared")
    memory = [value for cost in known if (value := finite(cost.peak_memory_mib)) is not None]
    changed = sorted({row.changed for row in line.rows if not row.failure}) or [0]
    gain = None
    if line.role == "method" and retraining is not None and seconds:
        gain = efficiency(seconds, retraining, prepared or 0.0)
    return Expense(
        label=line.label,
        role=line.role,
        seeds=count(len(line.rows), "seed"),
        seconds=number(seconds, 1),
        memory=number(max(memory, default=None), 0),
        changed=f"{changed[0]:,}" if len(changed) == 1 else f"{changed[0]:,} to {changed[-1]:,}",
        prepared=number(prepared, 1) if prepared else "",
        speedup=f"{number(gain.speedup, 1)}×" if gain else "",
        break_even=_requests(gain.break_even) if gain and prepared else "",
    )


def _requests(count: float) -> str:
    return "never" if isinf(count) else f"{ceil(count):,}"
