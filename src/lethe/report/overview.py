"""One table of a benchmark's methods for a page of the documentation: mean over seeds with its 95 % t-interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lethe.data.atomic import write_text
from lethe.report.markdown import environment
from lethe.report.numbers import DASH, finite, interval, number
from lethe.report.tables import Group, groups
from lethe.runs.results import BenchmarkResult, Cost, Results
from lethe.scoring.intervals import seed_spread

HEAD = ("Model", "KL forget", "KL retain", "Forget quality, D", "Utility", "Relearnt", "Seconds", "MiB", "Trained")


@dataclass(frozen=True)
class Line:
    """One model of the table, as text."""

    cells: tuple[str, ...]
    failures: tuple[str, ...]


def write_overview(results: Results, costs: Mapping[str, Cost], folder: str | Path) -> Path:
    """Write `table.md`: distances, forget quality, utility, relearning and cost of every model.

    Args:
        results: What the run found.
        costs: Cost of each row by `BENCHMARK/ROW`.
        folder: Where to write.

    Raises:
        InputError: If the folder cannot be written to.
    """
    shown = [(benchmark, lines(benchmark, costs)) for benchmark in results.benchmarks]
    text = environment().get_template("overview.md.j2").render(results=results, shown=shown, head=HEAD)
    return write_text(Path(folder) / "table.md", text.rstrip() + "\n")


def lines(benchmark: BenchmarkResult, costs: Mapping[str, Cost]) -> list[Line]:
    """Every model of the benchmark, methods from the nearest to the control to the farthest."""
    found = sorted(groups(benchmark), key=lambda line: _place(benchmark, line))
    return [_line(benchmark, line, costs) for line in found]


def _place(benchmark: BenchmarkResult, line: Group) -> tuple[int, float]:
    known = _values(line, benchmark.distance)
    role = ("target", "control", "floor", "method").index(line.role)
    return role, (fmean(known) if known else float("inf")) if line.role == "method" else 0.0


def _line(benchmark: BenchmarkResult, line: Group, costs: Mapping[str, Cost]) -> Line:
    ran = [row for row in line.rows if not row.failure]
    spent = [costs[key] for row in ran if (key := f"{benchmark.name}/{row.id}") in costs]
    quality = next((name for name in benchmark.columns if name.startswith("forget_quality.ks_d")), "")
    retained = benchmark.distance.removesuffix("@forget") + "@retain"
    scores = [_values(line, name) for name in (benchmark.distance, retained, quality, benchmark.utility)]
    back = [one.adjusted for row in ran for one in row.recoveries if one.attack == "relearn"]
    trained = sorted({row.trained for row in ran if row.trained is not None})
    marks = ["floor"] * (line.role == "floor") + [line.seeds] * (len(line.rows) > 1)
    cells = (
        f"{line.label} ({', '.join(marks)})" if marks else line.label,
        *(estimate(values, of=len(line.rows)) for values in scores),
        estimate(_known(back), 2, of=len(line.rows)),
        number(fmean(seconds) if (seconds := _known(cost.seconds for cost in spent)) else None, 1),
        number(max(_known(cost.peak_memory_mib for cost in spent), default=None), 0),
        " to ".join(f"{value:,}" for value in dict.fromkeys((trained[0], trained[-1]))) if trained else DASH,
    )
    return Line(cells, tuple(f"{row.id} failed: {row.failure}" for row in line.rows if row.failure))


def _values(line: Group, name: str) -> list[float]:
    return _known(score.value for row in line.rows if (score := row.score(name)) is not None)


def _known(values: Iterable[float | None]) -> list[float]:
    return [known for value in values if (known := finite(value)) is not None]


def estimate(values: Sequence[float], decimals: int = 3, *, of: int = 0) -> str:
    """`mean [low, high]`, the 95 % t-interval of the mean over seeds; of a single seed the value alone.

    Args:
        values: One per seed that has a value.
        decimals: Digits behind the point.
        of: How many seeds there were; where fewer have a value, their number is told.
    """
    if not values:
        return DASH
    fewer = f", n = {len(values)}" if len(values) < of else ""
    if len(values) == 1:
        return number(values[0], decimals) + fewer
    spread = seed_spread(values)
    return f"{number(spread.mean, decimals)} {interval(spread.low, spread.high, decimals)}{fewer}"
