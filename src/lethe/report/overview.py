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

# What else is shown of a family, by title: the first column whose name begins and ends so.
ALSO = {
    "language": {"Forget quality, D": ("forget_quality.ks_d", "")},
    "classifier": {"Forget accuracy": ("accuracy.top1", "@forget")},
    "recommender": {"Score distance": ("score_distance", "@forget"), "Forget recall": ("recall", "@forget")},
}
LEGEND = {
    "Forget quality, D": "D is the distance of the truth ratios to the control's (0 is the control), lower is better",
    "Forget accuracy": "the ideal of forget accuracy is the control's",
    "Score distance": "score distance is the mean absolute difference of the forgotten pairs' scores to the control's, "
    "lower is better",
    "Forget recall": "the ideal of forget recall, of which nothing is masked, is the control's",
    "Prepared": "prepared are seconds of what serves further requests as well",
    "Retraining": "retraining takes so many times as long, by the row `retrain` of the same run",
}


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
    shown = [(benchmark, head(benchmark, costs), lines(benchmark, costs)) for benchmark in results.benchmarks]
    titles = dict.fromkeys(title for _, own, _ in shown for title in own if title in LEGEND)
    told = {"results": results, "shown": shown, "legend": [LEGEND[title] for title in titles]}
    text = environment().get_template("overview.md.j2").render(told)
    return write_text(Path(folder) / "table.md", text.rstrip() + "\n")


def head(benchmark: BenchmarkResult, costs: Mapping[str, Cost]) -> tuple[str, ...]:
    """Titles of the columns; what is prepared, and the gain over retraining, where a row tells."""
    scores = ("KL forget", "KL retain", *ALSO[benchmark.family], "Utility", "Relearnt", "Seconds")
    return ("Model", *scores, *_gains(benchmark, costs), "MiB", "Trained")


def _gains(benchmark: BenchmarkResult, costs: Mapping[str, Cost]) -> tuple[str, ...]:
    own = {row.method: cost for row in benchmark.rows if (cost := costs.get(f"{benchmark.name}/{row.id}"))}
    prepared = ("Prepared",) if any(cost.prepared for cost in own.values()) else ()
    return (*prepared, *(("Retraining",) if "retrain" in own else ()))


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
    retained = benchmark.distance.removesuffix("@forget") + "@retain"
    also = [_column(benchmark, *ends) for ends in ALSO[benchmark.family].values()]
    scores = [_values(line, name) for name in (benchmark.distance, retained, *also, benchmark.utility)]
    back = [one.adjusted for row in ran for one in row.recoveries if one.attack == "relearn"]
    trained = sorted({row.trained for row in ran if row.trained is not None})
    marks = ["floor"] * (line.role == "floor") + [line.seeds] * (len(line.rows) > 1)
    cells = (
        f"{line.label} ({', '.join(marks)})" if marks else line.label,
        *(estimate(values, of=len(line.rows)) for values in scores),
        estimate(_known(back), 2, of=len(line.rows)),
        _mean(cost.seconds for cost in spent),
        *(_gain(title, spent, benchmark, costs) for title in _gains(benchmark, costs)),
        number(max(_known(cost.peak_memory_mib for cost in spent), default=None), 0),
        " to ".join(f"{value:,}" for value in dict.fromkeys((trained[0], trained[-1]))) if trained else DASH,
    )
    return Line(cells, tuple(f"{row.id} failed: {row.failure}" for row in line.rows if row.failure))


def _column(benchmark: BenchmarkResult, begin: str, end: str) -> str:
    return next((name for name in benchmark.columns if name.startswith(begin) and name.endswith(end)), "")


def _gain(title: str, spent: Sequence[Cost], benchmark: BenchmarkResult, costs: Mapping[str, Cost]) -> str:
    if title == "Prepared":
        return _mean(cost.prepared for cost in spent if cost.prepared)
    again = [costs[key] for row in benchmark.of_role("method") if row.method == "retrain"
             and (key := f"{benchmark.name}/{row.id}") in costs]  # fmt: skip
    own = _known(cost.seconds for cost in spent)
    return f"{number(fmean(cost.seconds for cost in again) / fmean(own), 1)}×" if own and fmean(own) > 0 else DASH


def _mean(seconds: Iterable[float | None]) -> str:
    known = _known(seconds)
    return number(fmean(known), 1) if known else DASH


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
