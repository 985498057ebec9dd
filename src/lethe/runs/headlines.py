"""Claims of papers, measured over seeds: one file per claim and seed, and what the figures say of the claim."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lethe.data.atomic import write_json
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.registry import Card, Expectation, did_you_mean, find, names
from lethe.runs.cells import told
from lethe.runs.environment import environment
from lethe.runs.workers import Pool
from lethe.scoring.intervals import seed_spread

SCHEMA = 1
Outcome = Literal["holds", "does not hold", "not shown", "measured", "failed"]


@dataclass(frozen=True)
class Figure:
    """One figure of a claim: its value under every seed, their mean and the 95 % t-interval of the mean."""

    name: str
    values: tuple[float | None, ...]  # in the order of the claim's seeds; None where there is no finite number
    mean: float | None
    low: float | None
    high: float | None
    n: int
    expected: Expectation | None
    outcome: Outcome


@dataclass(frozen=True)
class Finding:
    """A claim and what became of it."""

    name: str
    claim: str
    said: str  # the rest of the docstring: what is built, what is measured, in which units
    paper: str
    file: str  # SHA-256 of the source file's content
    seeds: tuple[int, ...]  # those that gave figures
    figures: tuple[Figure, ...]
    outcome: Outcome
    failures: dict[str, str] = field(default_factory=dict)  # seed -> why it gave none


@dataclass(frozen=True)
class Headlines:
    """What `results.json` of `lethe bench headlines` holds."""

    findings: tuple[Finding, ...]
    seeds: int
    environment: dict[str, str]
    schema: int = SCHEMA


@dataclass(frozen=True)
class Measured:
    """One claim under one seed: its figures, or why there are none."""

    figures: Mapping[str, float | None]
    failure: str = ""


def run_headlines(folder: str | Path, *, only: Sequence[str] = (), seeds: int = 3, workers: int = 1) -> Headlines:
    """Measure claims under the seeds 0 to `seeds` - 1; what has its file is not measured again.

    Args:
        folder: Where the files of the runs stand, below `headlines`.
        only: Names of claims; all without them.
        seeds: Seeds of each claim.
        workers: Processes.

    Raises:
        InputError: On an unknown name, or a count below 1.
    """
    for name, count in (("seeds", seeds), ("workers", workers)):
        if count < 1:
            raise InputError(f"{name} is {count}; it must be at least 1.")
    known = names("headline")
    for name in only:
        if name not in known:
            raise InputError(f"There is no headline {name!r}{did_you_mean(name, known)}; `lethe list headlines`.")
    chosen = list(dict.fromkeys(only)) or known
    jobs = [(name, seed, str(Path(folder) / "headlines")) for name in chosen for seed in range(seeds)]
    with Pool(workers) as pool:
        measured = pool.map(measure, jobs)
    by_claim = [measured[start : start + seeds] for start in range(0, len(measured), seeds)]
    found = tuple(conclude(_known(name), rows) for name, rows in zip(chosen, by_claim, strict=True))
    return Headlines(found, seeds, environment())


def measure(name: str, seed: int, folder: str) -> Measured:
    """One claim under one seed, from its file where that was made from the same source; errors are kept as told."""
    path = Path(folder) / f"{name}-seed{seed}.json"
    try:
        card = find("headline", name)
        key = digest([name, seed, _source(card)])
        if (stored := _stored(path, key)) is not None:
            return stored
        start = time.perf_counter()
        figures = {str(figure): _number(value) for figure, value in card.function(seed=seed).items()}
        if missing := set(card.expects) - set(figures):
            raise InputError(f"It gives no figure {min(missing)!r}, which it expects; it gives {', '.join(figures)}.")
    except Exception as error:  # a claim that cannot be measured is reported, and hides no other
        return Measured({}, told(error))
    write_json(path, {"key": key, "figures": figures, "seconds": time.perf_counter() - start})
    return Measured(figures)


def _source(card: Card) -> str:
    return Path(card.file).read_text(encoding="utf-8")


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _stored(path: Path, key: str) -> Measured | None:
    """What was measured from the same source; a damaged file counts as none."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Measured(dict(stored["figures"])) if stored["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _known(name: str) -> Card | str:
    """The card; of a package that cannot be loaded, the name alone."""
    try:
        return find("headline", name)
    except Exception:  # whatever another's package does; `measure` has told why, and the claim stands as failed
        return name


def conclude(card: Card | str, rows: Sequence[Measured]) -> Finding:
    """What the figures of all seeds say of a claim.

    It holds if every expected figure's whole interval is on the right side, it does not hold if one's is wholly on the
    wrong side; anything between is not shown. A claim that failed under any seed failed.
    """
    failures = {str(seed): row.failure for seed, row in enumerate(rows) if row.failure}
    if isinstance(card, str):
        return Finding(card, "", "", "", "", (), (), "failed", failures)
    good = [row for row in rows if not row.failure]
    order = dict.fromkeys([*card.expects, *(figure for row in good for figure in row.figures)])
    figures = tuple(_figure(name, [row.figures.get(name) for row in good], card.expects.get(name)) for name in order)
    outcomes: list[Outcome] = [figure.outcome for figure in figures if figure.expected]
    said = (card.function.__doc__ or "").partition("\n")[2]
    return Finding(
        name=card.name,
        claim=card.summary,
        said="\n\n".join(" ".join(part.split()) for part in said.split("\n\n") if part.strip()),
        paper=card.paper,
        file=digest(_source(card)),
        seeds=tuple(seed for seed, row in enumerate(rows) if not row.failure),
        figures=figures,
        outcome="failed" if failures else _worst(outcomes),
        failures=failures,
    )


def _worst(outcomes: Sequence[Outcome]) -> Outcome:
    order: tuple[Outcome, ...] = ("does not hold", "not shown", "holds")
    for one in order:
        if one in outcomes:
            return one
    return "measured"


def _figure(name: str, values: Sequence[float | None], expected: Expectation | None) -> Figure:
    known = [value for value in values if value is not None]
    low = high = None
    mean = sum(known) / len(known) if known else None
    if len(known) > 1:
        spread = seed_spread(known)
        mean, low, high = spread.mean, spread.low, spread.high
    whole = low is not None and len(known) == len(values)
    outcome = judge(expected, low, high) if expected and whole else "not shown" if expected else "measured"
    return Figure(name, tuple(values), mean, low, high, len(known), expected, outcome)


def judge(expected: Expectation, low: float | None, high: float | None) -> Outcome:
    """Whether a whole interval lies on the expected side, wholly on the other, or across."""
    if low is None or high is None:
        return "not shown"
    sign, bound = expected
    right, wrong = (low >= bound, high < bound) if sign == ">=" else (high <= bound, low > bound)
    return "holds" if right else "does not hold" if wrong else "not shown"
