"""The two figures of a report: forgetting against utility, and what comes back under attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from lethe.findings import Recovery
from lethe.report.attacks import Curve
from lethe.report.labels import place
from lethe.report.numbers import finite, number
from lethe.report.svg import ACCENT, CONTROL, FLOOR, INK, MUTED, PAPER, RULE, drawing, inline
from lethe.report.tables import Cell, Column, Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARK = {
    "target": {"marker": "D", "color": INK, "s": 44},
    "control": {"marker": "s", "color": CONTROL, "s": 40},
    "floor": {"marker": "X", "color": FLOOR, "s": 50},
    "method": {"marker": "o", "color": ACCENT, "s": 46},
}


def scatter(name: str, lines: Sequence[Group], knowledge: Column, utility: Column) -> Markup | None:
    """Knowledge of the forget set (x) against utility (y); None where no row has both.

    Controls are drawn seed by seed, because their spread is the unit; every other group at its mean.
    """
    drawn = []  # (role, label, x cell, y cell)
    for line, x, y in zip(lines, knowledge.cells, utility.cells, strict=True):
        if x.value is not None and y.value is not None:
            drawn.append((line.role, line.label, x, y))
    if not drawn:
        return None
    with drawing(600, 390) as figure:
        axes = figure.add_axes((0.095, 0.125, 0.885, 0.855))
        points: list[tuple[float, float]] = []
        for role, _, x, y in drawn:
            several = role == "control" and len(x.values) == len(y.values)
            spots = list(zip(x.values, y.values, strict=True)) if several else [(x.value, y.value)]
            if role != "control":
                _whiskers(axes, x, y)
            for spot in spots:
                axes.scatter(*spot, **MARK[role], edgecolors=PAPER, linewidths=1, zorder=4)
            points += spots
        _limits(axes, points)
        _crosshair(axes, knowledge.control, utility.control)
        axes.set_xlabel(f"knowledge of the forget set: {_axis(knowledge)}")
        axes.set_ylabel(f"utility: {_axis(utility)}")
        place(axes, points, [(x.value or 0.0, y.value or 0.0, label) for _, label, x, y in drawn])
        told = "; ".join(f"{label} {x.text(3)}, {y.text(3)}" for _, label, x, y in drawn)
        title = f"Knowledge of the forget set ({knowledge.name}) against utility ({utility.name})"
        return inline(figure, name, title, f"Knowledge, utility of each row: {told}.")


def curve(name: str, drawn: Curve, bottom: float, top: float) -> Markup:
    """One method under one attack: its seeds with their intervals, the mean control and the original dashed."""
    strengths = [number(point.strength, 3).rstrip("0").rstrip(".") or "0" for point in drawn.recoveries[0].points]
    at = range(len(strengths) + 1)
    with drawing(264, 190) as figure:
        axes = figure.add_axes((0.145, 0.21, 0.825, 0.75))
        for values, colour, dashes, marker in (
            (drawn.originals, INK, (1.5, 2.5), None),
            (drawn.controls, CONTROL, (5, 3), "s"),
        ):
            known = [(x, y) for x, y in zip(at, values, strict=True) if y is not None]
            if known:
                axes.plot(
                    *zip(*known, strict=True), color=colour, dashes=dashes, linewidth=1.5, marker=marker, markersize=3.5
                )
        for recovery in drawn.recoveries:
            x, y, low, high = _line(recovery)
            axes.fill_between(x, low, high, color=ACCENT, alpha=0.16, linewidth=0)
            axes.plot(x, y, color=ACCENT, linewidth=2 if len(drawn.recoveries) == 1 else 1.2, marker="o", markersize=4)
        axes.set_ylim(bottom, top)
        axes.set_xlim(-0.2, len(strengths) + 0.2)
        axes.set_xticks(list(at), ["before", *strengths])
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.locator_params(axis="y", nbins=5)
        axes.set_xlabel(drawn.unit or "strength", labelpad=2)
        return inline(figure, name, f"{drawn.label} under {drawn.attack}", drawn.told)


def _line(recovery: Recovery) -> tuple[list[int], list[float], list[float], list[float]]:
    """Positions, values and interval of one seed; where an end is missing, the value itself."""
    told = [(recovery.before,) * 3, *((point.value, point.low, point.high) for point in recovery.points)]
    x, y, low, high = [], [], [], []
    for position, ends in enumerate(told):
        value, below, above = map(finite, ends)
        if value is not None:
            x.append(position)
            y.append(value)
            low.append(value if below is None else below)
            high.append(value if above is None else above)
    return x, y, low, high


def _axis(column: Column) -> str:
    words = {"lower": "lower is better", "higher": "higher is better", "control": "best at the control"}
    return f"{column.name} ({words[column.direction]})"


def _whiskers(axes: Axes, x: Cell, y: Cell) -> None:
    """Thin lines over the interval, or one standard deviation either way."""
    for own, other, draw in ((x, y, axes.hlines), (y, x, axes.vlines)):
        if own.value is None or other.value is None:
            continue
        reach = own.sd or 0.0
        low, high = (own.low, own.high) if own.sd is None else (own.value - reach, own.value + reach)
        if low is not None and high is not None:
            draw(other.value, low, high, color=MUTED, linewidth=0.8, alpha=0.6, zorder=2)


def _limits(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    for values, put in zip(zip(*points, strict=True), (axes.set_xlim, axes.set_ylim), strict=True):
        low, high = min(values), max(values)
        margin = (high - low) * 0.12 or abs(high) * 0.1 or 0.1
        put(low - margin, high + margin)


def _crosshair(axes: Axes, x: Cell, y: Cell) -> None:
    """Where the controls stand on average: the ideal of both axes."""
    if x.value is not None:
        axes.axvline(x.value, color=CONTROL, linewidth=0.9, dashes=(4, 4), alpha=0.8, zorder=1)
    if y.value is not None:
        axes.axhline(y.value, color=CONTROL, linewidth=0.9, dashes=(4, 4), alpha=0.8, zorder=1)
