"""Rows of one method over its seeds as one line, and every line beside the control."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lethe.report.numbers import count, finite, interval, number, places
from lethe.report.trust import told
from lethe.runs.results import BenchmarkResult, Role, Row
from lethe.score import Direction, Score
from lethe.scoring.intervals import control_threshold, seed_spread

ROLES: tuple[Role, ...] = ("target", "control", "floor", "method")
FAR = 3  # thresholds beyond which a cell stands far from the control, not only off it


@dataclass(frozen=True)
class Group:
    """Rows that differ in their seed alone."""

    label: str
    role: Role
    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        """The row that stands for the group where one must."""
        return self.rows[0]

    @property
    def seeds(self) -> str:
        """`3 seeds`, or `seed 1` for a single row."""
        return count(len(self.rows), "seed") if len(self.rows) > 1 else f"seed {self.first.seed}"


@dataclass(frozen=True)
class Cell:
    """One score of one group: the mean over its seeds with their spread, or one seed with its interval over items."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    sd: float | None = None  # over seeds, divisor n - 1
    n: int = 0  # items
    values: tuple[float, ...] = ()  # one per seed
    missing: str = ""  # why there is no value
    z: float | None = None  # control spreads on the wrong side of the control
    band: str = ""  # "near": as a further control could stand; "off"; "far"; "" where there is no spread to measure by

    def text(self, decimals: int) -> str:
        """The value alone."""
        return number(self.value, decimals)

    def spread(self, decimals: int) -> str:
        """`± sd` over seeds, or the interval over items."""
        return f"± {number(self.sd, decimals)}" if self.sd is not None else interval(self.low, self.high, decimals)

    @property
    def spreads(self) -> str:
        """`1.4σ`: how far from the control."""
        if self.z is None:
            return ""
        return ">99σ" if self.z > 99 else f"{self.z:.1f}σ"

    @property
    def exact(self) -> str:
        """All that is known of the cell, for a tooltip."""
        if self.value is None:
            return self.missing
        parts = [f"{self.value:.6g}", f"n = {self.n}"]
        if self.sd is not None:
            parts.append(f"sd over seeds {self.sd:.3g} of {', '.join(f'{value:.4g}' for value in self.values)}")
        elif finite(self.low) is not None and finite(self.high) is not None:
            parts.append(f"95 % interval over items {self.low:.4g} to {self.high:.4g}")
        if self.z is not None:
            parts.append(f"{self.z:.2f} control spreads on the wrong side of the control")
        return "; ".join(parts)


@dataclass(frozen=True)
class Column:
    """One qualified score name with the cell of every group."""

    name: str
    metric: str
    variant: str
    set: str
    direction: Direction
    unit: str
    range: str
    n: str
    decimals: int
    control: Cell
    cells: tuple[Cell, ...]
    trust: str = ""  # how well the value alone tells models that know from models that do not

    @property
    def arrow(self) -> str:
        """Where the ideal lies."""
        return {"lower": "↓", "higher": "↑", "control": "→"}[self.direction]

    @property
    def aim(self) -> str:
        """The arrow in words."""
        return {"lower": "lower", "higher": "higher", "control": "to control"}[self.direction]


def groups(benchmark: BenchmarkResult) -> list[Group]:
    """Target, controls, floors, methods; within a role in the order of the results."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for role in ROLES:
        for row in benchmark.of_role(role):
            alike = (role,) if role in ("target", "control") else (role, stem(row.id), row.method, _options(row))
            found.setdefault(alike, []).append(row)
    named = Counter(stem(rows[0].id) for rows in found.values())
    return [
        Group(_label(rows[0], named[stem(rows[0].id)] > 1, found), rows[0].role, tuple(rows)) for rows in found.values()
    ]


def stem(identifier: str) -> str:
    """`npo` of `npo-seed1`."""
    return re.sub(r"[-_ ]?seed[-_ ]?\d+$", "", identifier) or identifier


def settings(options: Mapping[str, Any]) -> dict[str, str]:
    """Options in a fixed order, values as one would type them."""
    return {name: _typed(options[name]) for name in sorted(options)}


def _typed(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _options(row: Row) -> str:
    return json.dumps({name: value for name, value in settings(row.options).items() if name != "seed"})


def _label(row: Row, shared: bool, found: Mapping[Any, list[Row]]) -> str:
    """The row's name, with options that make another method of it and those that tell it from others of that name."""
    if row.role in ("target", "control"):
        return row.role
    departs = row.card.get("departs", "")
    if not shared:
        return f"{stem(row.id)} ({departs})" if departs not in row.id else stem(row.id)
    others = [settings(rows[0].options) for rows in found.values() if stem(rows[0].id) == stem(row.id)]
    own = settings(row.options)
    telling = [
        f"{name}={own[name]}" for name in own if name != "seed" and any(o.get(name) != own[name] for o in others)
    ]
    if departs and telling and departs not in telling:
        telling.append(departs)
    return f"{stem(row.id)} ({', '.join(telling)})" if telling else row.id


def names(benchmark: BenchmarkResult) -> list[str]:
    """Score names in table order: the distance on forget, then on retain, then the benchmark's own order."""
    first = [benchmark.distance]
    retained = benchmark.distance.removesuffix("@forget") + "@retain"
    known = {*benchmark.columns, *(score.name for row in benchmark.rows for score in row.scores)}
    if benchmark.distance.endswith("@forget") and retained in known:
        first.append(retained)
    return list(dict.fromkeys(filter(None, [*first, *benchmark.columns])))


def columns(benchmark: BenchmarkResult, lines: Sequence[Group]) -> list[Column]:
    """Every column of the table against the control."""
    return [column(benchmark, lines, name) for name in names(benchmark)]


def column(benchmark: BenchmarkResult, lines: Sequence[Group], name: str) -> Column:
    """One column: a score name in every group."""
    scores = [score for line in lines for score in _scores(line, name) if score]
    example = scores[0] if scores else None
    direction = example.direction if example else "control"
    controls = next((cell(line, name) for line in lines if line.role == "control"), Cell())
    reference = controls if controls.value is not None else _reference(scores)
    cells = [_placed(cell(line, name), line.role, reference, direction) for line in lines]
    metric, _, rest = name.partition("@")[0].partition(".")
    return Column(
        name=name,
        metric=metric,
        variant=rest,
        set=name.partition("@")[2],
        direction=direction,
        unit=example.unit if example else "",
        range=_range(example),
        n=_counts({score.n for score in scores}),
        decimals=places([c.value for c in cells], reference.value),
        control=reference,
        cells=tuple(cells),
        trust=told(benchmark.family, name),
    )


def cell(line: Group, name: str) -> Cell:
    """One score of one group, not yet beside the control."""
    scores = list(_scores(line, name))
    known = [score for score in scores if score and finite(score.value) is not None]
    if not known:
        failed = "the method failed" if any(row.failure for row in line.rows) else "not measured"
        return Cell(missing="no finite value" if any(scores) else failed)
    values = tuple(float(score.value) for score in known)
    if len(known) == 1:
        one = known[0]
        return Cell(values[0], finite(one.low), finite(one.high), n=one.n, values=values)
    spread = seed_spread(values)
    return Cell(spread.mean, sd=spread.sd, n=known[0].n, values=values)


def _scores(line: Group, name: str) -> Iterator[Score | None]:
    return (row.score(name) for row in line.rows)


def _placed(own: Cell, role: Role, control: Cell, direction: Direction) -> Cell:
    """The cell with its distance from the control, on the side that counts against it."""
    if role == "control" or own.value is None or control.value is None or not control.sd:
        return own
    gap = own.value - control.value
    wrong = {"lower": max(0.0, gap), "higher": max(0.0, -gap), "control": abs(gap)}[direction]
    z, limit = wrong / control.sd, control_threshold(len(control.values), 1)
    band = "near" if z <= limit else "off" if z <= FAR * limit else "far"
    return Cell(own.value, own.low, own.high, own.sd, own.n, own.values, own.missing, z, band)


def _reference(scores: Sequence[Score]) -> Cell:
    """The control's value as the scores themselves carry it, where no control has a row of its own."""
    told = {finite(score.reference) for score in scores} - {None}
    return Cell(value=told.pop()) if len(told) == 1 else Cell(missing="no control")


def _range(score: Score | None) -> str:
    if score is None:
        return ""
    low, high = (finite(end) for end in score.range)
    return f"{'−∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'}"


def _counts(found: set[int]) -> str:
    return "" if not found else f"{min(found):,}" if len(found) == 1 else f"{min(found):,}–{max(found):,}"
