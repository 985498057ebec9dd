"""Methods in the order of their distance to retrained models, beside the orders that papers' own scores give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isnan
from pathlib import Path
from statistics import fmean
from typing import Any

from lethe.data.atomic import write_text
from lethe.report.markdown import environment
from lethe.report.numbers import DASH, interval, number
from lethe.report.tables import Group, groups
from lethe.runs.results import BenchmarkResult, Results, Row
from lethe.scoring.intervals import seed_spread

FEWEST = 5  # methods below which an order says little
APART = 3  # a rank that differs by a third of the models counts as a disagreement


@dataclass(frozen=True)
class PaperScore:
    """A score by which a paper ranks methods: where it stands in a row, and which side of it is called better."""

    title: str
    meaning: str
    names: tuple[str, ...]  # the columns it is made of
    value: Callable[[Sequence[float]], float]
    higher: bool


def _only(values: Sequence[float]) -> float:
    return values[0]


FORGET, MIA = "accuracy.top1@forget", "mia_loss.logistic@forget"
PAPER_SCORES = (
    PaperScore("UA", "share of the forget set named wrong, higher is better", (FORGET,), lambda v: 1 - v[0], True),
    PaperScore(
        "MIA", "distance of the loss attack's accuracy from one half, lower is better", (MIA,),
        lambda v: abs(v[0] - 0.5), False,
    ),
    PaperScore(
        "NoMUS", "half test accuracy, half 1 - 2 |attack - 1/2|, higher is better", ("nomus@forget",), _only, True
    ),
    PaperScore(
        "MIA efficacy", "share of the forget set taken for non-members, higher is better",
        ("mia_efficacy.confidence@forget",), _only, True,
    ),
    PaperScore(
        "Member rate", "share of the forget set taken for members, lower is better",
        ("mia_member_rate.entropy@forget",), _only, False,
    ),
    PaperScore(
        "ZRF", "likeness to a network of random weights, higher is better", ("zrf.paper@forget",), _only, True
    ),
    PaperScore(
        "Avg gap", "mean distance of UA, RA, TA and MIA from the retrained model's, lower is better",
        ("average_gap@forget",), _only, False,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Ranked:
    """One line of the table: a model, its distance, and its place in every order."""

    label: str
    distance: str
    retain: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """All orders of one benchmark."""

    benchmark: BenchmarkResult
    scores: tuple[PaperScore, ...]
    lines: tuple[Ranked, ...]
    agreement: tuple[str, ...]  # of each paper score with the distance: Kendall's tau over the seeds
    apart: tuple[str, ...]  # sentences


def write_orders(results: Results, folder: str | Path) -> Path | None:
    """Write `orders.md` where a benchmark has enough methods and scores by which papers rank them.

    Args:
        results: What the run found.
        folder: Where to write.

    Raises:
        InputError: If the folder cannot be written to.
    """
    found = [order for benchmark in results.benchmarks if (order := order_of(benchmark)) is not None]
    if not found:
        return None
    told = {score.title: score.meaning for order in found for score in order.scores}
    text = environment().get_template("orders.md.j2").render(results=results, orders=found, told=told, fewest=FEWEST)
    return write_text(Path(folder) / "orders.md", text.rstrip() + "\n")


def order_of(benchmark: BenchmarkResult) -> Order | None:
    """The orders of a benchmark's models; None where it has fewer than five methods or none of the scores."""
    ran = [group for group in groups(benchmark) if group.role in ("method", "floor") and _both(benchmark, group)]
    scores = tuple(s for s in PAPER_SCORES if ran and all(_mean(group, s) is not None for group in ran))
    if sum(group.role == "method" for group in ran) < FEWEST or not scores:
        return None
    ran = sorted(ran, key=lambda group: _distance(benchmark, group))
    places = {score.title: ranks([_mean(group, score) or 0.0 for group in ran], score.higher) for score in scores}
    lines = tuple(
        Ranked(
            group.label + (" (floor)" if group.role == "floor" else ""),
            _estimate([_far(benchmark, row) for row in group.rows]),
            _estimate([_value(row, _retained(benchmark)) for row in group.rows]),
            tuple(number(places[score.title][at], 0 if places[score.title][at] % 1 == 0 else 1) for score in scores),
        )
        for at, group in enumerate(ran)
    )
    return Order(
        benchmark, scores, lines,
        tuple(agreement(benchmark, score) for score in scores),
        tuple(_disagreement(score, ran, places[score.title]) for score in scores),
    )  # fmt: skip


def ranks(values: Sequence[float], higher: bool) -> list[float]:
    """Places from 1, the best; equals share the mean of theirs."""
    from scipy.stats import rankdata

    return [float(place) for place in rankdata([-value if higher else value for value in values])]


def agreement(benchmark: BenchmarkResult, score: PaperScore) -> str:
    """Kendall's tau-b between a score's order of the methods and that of the distance: mean over seeds, t-interval."""
    from scipy.stats import kendalltau

    found = []
    for seed in sorted({row.seed for row in benchmark.of_role("method")}):
        rows = [row for row in benchmark.of_role("method") if row.seed == seed and not row.failure]
        pairs = [(_far(benchmark, row), _score(row, score)) for row in rows]
        known = [(near, value) for near, value in pairs if near is not None and value is not None]
        if len(known) >= FEWEST:
            sign = -1 if score.higher else 1
            told: Any = kendalltau([near for near, _ in known], [sign * value for _, value in known])
            found += [] if isnan(told.statistic) else [float(told.statistic)]  # where all are equal, there is no order
    return _estimate(found, 2, within=1.0)


def _disagreement(score: PaperScore, ran: Sequence[Group], places: Sequence[float]) -> str:
    """What stands a third of the models higher or lower than by distance, and what is ranked above retraining."""
    least = len(ran) / APART
    raised = [(own - place, group.label) for own, (group, place) in enumerate(zip(ran, places, strict=True), 1)]
    up = [f"{label} by {by:g}" for by, label in sorted(raised, reverse=True) if by >= least]
    down = [f"{label} by {-by:g}" for by, label in sorted(raised) if -by >= least]
    parts = []
    if up:
        parts.append(f"places higher than the distance does: {', '.join(up)}")
    if down:
        parts.append(f"places lower: {', '.join(down)}")
    gold = next((place for group, place in zip(ran, places, strict=True) if group.label == "retrain"), None)
    if gold is not None:
        above = [group.label for group, place in zip(ran, places, strict=True) if place < gold]
        parts.append(f"ranks {len(above)} of {len(ran) - 1} models above an exact retraining" if above else
                     "ranks nothing above an exact retraining")  # fmt: skip
    return f"{score.title} {'; '.join(parts) or 'places no model a third of the way off'}."


def _both(benchmark: BenchmarkResult, group: Group) -> bool:
    return all(not row.failure and _far(benchmark, row) is not None for row in group.rows)


def _retained(benchmark: BenchmarkResult) -> str:
    return benchmark.distance.removesuffix("@forget") + "@retain"


def _far(benchmark: BenchmarkResult, row: Row) -> float | None:
    """KL from the control on the forget and on the retain set, summed: destruction of either side is a distance."""
    parts = [_value(row, name) for name in (benchmark.distance, _retained(benchmark))]
    return None if None in parts else sum(part for part in parts if part is not None)


def _distance(benchmark: BenchmarkResult, group: Group) -> float:
    return fmean(value for row in group.rows if (value := _far(benchmark, row)) is not None)


def _value(row: Row, name: str) -> float | None:
    score = row.score(name)
    return None if score is None else score.value


def _score(row: Row, score: PaperScore) -> float | None:
    parts = [_value(row, name) for name in score.names]
    return None if None in parts else score.value([part for part in parts if part is not None])


def _mean(group: Group, score: PaperScore) -> float | None:
    values = [value for row in group.rows if (value := _score(row, score)) is not None]
    return fmean(values) if values else None


def _estimate(values: Sequence[float | None], decimals: int = 3, within: float = inf) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return DASH
    if len(known) < 2:
        return number(known[0], decimals)
    spread = seed_spread(known)
    low, high = max(spread.low, -within), min(spread.high, within)
    return f"{number(spread.mean, decimals)} {interval(low, high, decimals)}"
