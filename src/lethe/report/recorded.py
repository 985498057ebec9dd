"""The page of recorded logs: every aggregate of every model, one table per question set, four decimals as published."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from lethe.report.numbers import DASH, count, finite, interval, number, printable
from lethe.report.pages import write_pages
from lethe.runs.recorded import Recorded
from lethe.score import Score

ARROWS = {"lower": "↓", "higher": "↑", "control": "→"}
READING = (
    "[a, b] is the 95 % interval, a bootstrap over items. ↑ higher is better, ↓ lower is better, → the ideal is the "
    "value of a model that never saw the data."
)
QUALITY = (
    "The interval of forget quality's D resamples questions, the same ones in both logs where both hold the same. A "
    "p-value has no interval and stands beside its floor, the p of two disjoint logs at this n."
)


@dataclass(frozen=True)
class Part:
    """The table of one question set: a header per score, a line per model."""

    name: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def write_recorded(found: Recorded, folder: str | Path) -> Path:
    """Write `report.html` and `report.md`; the same logs give the same bytes.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: If the folder cannot be written to.
    """
    told = {"found": found, "parts": parts(found), "reading": reading(found), "headline": headline(found)}
    return write_pages("recorded", told, folder, "report")


def reading(found: Recorded) -> str:
    """How the cells are read."""
    return f"{READING} {QUALITY}" if found.controls else READING


def headline(found: Recorded) -> str:
    """What was scored, in one sentence."""
    what = "algorithm" if found.benchmark == "tddbench" else "model"
    beside = f", against {count(len(found.controls), 'control')}" if found.controls else ""
    return f"{found.benchmark}: {count(len(found.scores), f'recorded {what}')} scored without a model{beside}."


def parts(found: Recorded) -> list[Part]:
    """One table per question set, in the order of the scores."""
    columns = {name: found.column(name) for name in found.columns()}
    sets = dict.fromkeys(next(iter(scores.values())).set for scores in columns.values())
    return [_part(found, {k: v for k, v in columns.items() if k.endswith(f"@{name}")}, name) for name in sets]


def _part(found: Recorded, columns: dict[str, dict[str, Score]], name: str) -> Part:
    header = [
        f"{title.rpartition('@')[0]} {ARROWS[next(iter(of.values())).direction]}" for title, of in columns.items()
    ]
    lines = []
    for who in found.scores:
        scores = [of.get(who) for of in columns.values()]
        known = sorted({score.n for score in scores if score is not None})
        label = f"{who} (control)" if who in found.controls else who
        lines.append((label, "–".join(map(str, known)) or DASH, *map(_cell, scores)))
    return Part(name, ("Model", "n", *header), tuple(lines))


def _cell(score: Score | None) -> str:
    if score is None:
        return DASH
    if finite(score.low) is None or finite(score.high) is None:
        floor = finite(score.detail.get("floor"))
        return _digits(score.value) if floor is None else f"{_digits(score.value)} (floor {_digits(floor)})"
    margin = finite(score.detail.get("margin"))
    beside = ("" if margin is None else f", margin {number(margin, 4)}") + (
        ", other questions" if _apart(score) else ""
    )
    return f"{number(score.value, 4)} {interval(score.low, score.high, 4)}{beside}"


def _apart(score: Score) -> bool:
    """Whether the two logs that were compared hold different questions."""
    return str(score.detail.get("interval", "")).startswith("resamples the two logs apart")


def _digits(value: float) -> str:
    return number(value, 4) if value == 0 or abs(value) >= 1e-3 else f"{value:.2e}".replace("-", "−")


def recorded_table(found: Recorded) -> Any:
    """The same tables for a terminal, the intervals under the values."""
    tables = []
    for part in parts(found):
        table = Table(title=Text(part.name, "bold"), title_justify="left", box=SIMPLE_HEAD, padding=0)
        for place, name in enumerate(part.header):
            table.add_column(name.replace("_", " "), overflow="fold", justify="right" if place else "left")
        for line in part.lines:
            table.add_row(*(_stacked(text) for text in line))
        tables.append(table)
    return Group(Text(headline(found), "bold"), *tables, Text(f"{found.note} {reading(found)}", "dim"))


def _stacked(text: str) -> Text:
    value, _, rest = printable(text).partition(" ")
    return Text.assemble(value, (f"\n{rest}", "dim")) if rest else Text(value)
