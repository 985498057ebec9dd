"""The figures of a report: forgetting against utility, what comes back under attack, and in how many directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from lethe.report.attacks import Curve
from lethe.report.directions import Directions
from lethe.report.labels import place
from lethe.report.numbers import finite, number
from lethe.report.svg import ACCENT, CONTROL, FLOOR, INK, MUTED, PAPER, RULE, SERIES, WARN, drawing, inline
from lethe.report.tables import Cell, Column, Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARK = {
    "target": {"marker": "D", "color": INK, "s": 44},
    "control": {"marker": "s", "color": CONTROL, "s": 40},
    "floor": {"marker": "X", "color": FLOOR, "s": 50},
    "method": {"marker": "o", "color": ACCENT, "s": 46},
}
CLEAR = 2  # curves whose intervals can be drawn over each other


@dataclass(frozen=True)
class Style:
    """How one method is drawn; `number` is that of its colour and mark in the key, 0 the grey of all others."""

    number: int
    colour: str
    marker: str | None


OTHER = Style(0, FLOOR, None)
STYLES = tuple(Style(i, colour, marker) for i, (colour, marker) in enumerate(zip(SERIES, "osD^vX", strict=True), 1))


def styles(attacks: Sequence[Curve], labels: Sequence[str]) -> dict[str, Style]:
    """A colour and a mark for each method, where they are many for those from which attacks bring back most.

    Args:
        attacks: All curves.
        labels: The methods in the order of the key; those from which nothing could come back stay grey.
    """
    back = {one.label: 0.0 for one in attacks if one.adjusted is not None or one.back > 0}
    for one in attacks:
        if one.label in back:
            back[one.label] = max(back[one.label], one.back)
    most = sorted(back, key=lambda label: -back[label])[: len(STYLES)]
    return dict(zip([label for label in labels if label in most], STYLES, strict=False))


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


def budget(name: str, drawn: Sequence[Curve], styles: Mapping[str, Style], bottom: float, top: float) -> Markup:
    """All methods under one attack, over its strength: mean over seeds; control and original dashed.

    Where strengths are in no order, such as templates, points are not joined. The interval over items is drawn where
    there are too few methods for it to cover them.

    Args:
        name: Keeps the drawing's ids apart from all others'.
        drawn: The curves of one attack in one setting.
        styles: How each method is drawn, by its label; others in grey.
        bottom: Lower end of the knowledge axis.
        top: Its upper end.
    """
    first = drawn[0]
    strengths = [number(point.strength, 3).rstrip("0").rstrip(".") or "0" for point in first.recoveries[0].points]
    at = range(len(strengths) + 1)
    with drawing(264, 198) as figure:
        axes = figure.add_axes((0.145, 0.2, 0.825, 0.77))
        for values, colour, dashes in ((first.originals, INK, (1.5, 2.5)), (first.controls, CONTROL, (5, 3))):
            known = [(x, y) for x, y in zip(at, values, strict=True) if y is not None]
            if known and first.is_ordered:
                axes.plot(*zip(*known, strict=True), color=colour, dashes=dashes, linewidth=1.5)
            for x, y in () if first.is_ordered else known:
                axes.plot((x - 0.42, x + 0.42), (y, y), color=colour, dashes=dashes, linewidth=1.5)
        for place, one in enumerate(sorted(drawn, key=lambda one: one.label in styles)):  # grey ones lie below
            style = styles.get(one.label, OTHER)
            aside = 0.0 if one.is_ordered else (place - (len(drawn) - 1) / 2) * min(0.12, 0.7 / len(drawn))
            x, y, low, high = _line(one)
            x = [spot + aside for spot in x]
            if len(drawn) <= CLEAR and low != high:
                if one.is_ordered:
                    axes.fill_between(x, low, high, color=style.colour, alpha=0.16, linewidth=0)
                else:
                    axes.vlines(x, low, high, color=style.colour, linewidth=1)
            axes.plot(x, y, color=style.colour, marker=style.marker, markersize=4.5 if style.marker else 0,
                      linewidth=(1.8 if style.marker else 1.0) if one.is_ordered else 0, zorder=3)  # fmt: skip
        axes.set_ylim(bottom, top)
        beside = 0.25 if first.is_ordered else 0.5
        axes.set_xlim(-beside, len(strengths) + beside)
        ticks = ["before", *strengths]
        every = -(-len(ticks) // 8)  # no more labels than fit
        axes.set_xticks(list(at), [tick if i % every == 0 or i == len(at) - 1 else "" for i, tick in enumerate(ticks)])
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.locator_params(axis="y", nbins=5)
        axes.set_xlabel(first.unit or "strength", labelpad=2)
        told = " ".join(one.told for one in drawn) if len(drawn) == 1 else _told(drawn)
        return inline(figure, name, f"{first.named}: knowledge over {first.unit or 'strength'}", told)


def _line(one: Curve) -> tuple[list[float], list[float], list[float], list[float]]:
    """Positions, means and, of a single seed, the intervals; where an end is missing, the value itself."""
    points = one.recoveries[0].points if len(one.recoveries) == 1 else ()
    ends = [(None, None), *((finite(point.low), finite(point.high)) for point in points)]
    x, y, low, high = [], [], [], []
    for position, value in enumerate(one.values):
        if value is not None:
            below, above = ends[position] if position < len(ends) else (None, None)
            x.append(float(position))
            y.append(value)
            low.append(value if below is None else below)
            high.append(value if above is None else above)
    return x, y, low, high


def _told(drawn: Sequence[Curve]) -> str:
    """All curves of one attack in words."""
    first = drawn[0]
    series = [(one.label, one.values) for one in drawn]
    series += [("control", first.controls), ("original", first.originals)]
    told = [f"{name} {', '.join(number(value, 2) for value in values)}" for name, values in series]
    return f"{first.recoveries[0].measure} before the attack and at {first.strengths}: {'; '.join(told)}."


def variance(name: str, found: Directions) -> Markup:
    """Shares of the first components as bars; beside them attacks as arrows and methods as points on the first two."""
    shares, loadings = found.found.shares[: found.shown], found.found.loadings
    with drawing(600, 330) as figure:
        bars = figure.add_axes((0.115, 0.14, 0.15, 0.8))
        at = list(range(1, len(shares) + 1))
        bars.bar(at, shares, color=MUTED, width=0.62)
        for x, share in zip(at, shares, strict=True):
            bars.annotate(f"{share:.0%}", (x, float(share)), (0, 3), textcoords="offset points", ha="center")
        bars.set_xticks(at)
        bars.set_ylim(0, 1.08)
        bars.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        bars.set_xlabel("direction")
        bars.set_ylabel("share of the variance")
        axes = figure.add_axes((0.35, 0.14, 0.635, 0.82))
        second = loadings[1] if len(loadings) > 1 else loadings[0] * 0
        tips = [(float(x), float(y)) for x, y in zip(loadings[0], second, strict=True)]
        scores = found.found.scores[:, :2] if len(loadings) > 1 else found.found.scores[:, [0, 0]] * [1, 0]
        reach = float(abs(scores).max()) or 1.0
        spots = [(float(x) / reach, float(y) / reach) for x, y in scores]
        axes.scatter(*zip(*spots, strict=True), color=ACCENT, s=34, edgecolors=PAPER, linewidths=1, zorder=4)
        for x, y in tips:
            axes.plot((0, x), (0, y), color=WARN, linewidth=1.2, zorder=2)
            axes.scatter(x, y, color=WARN, marker="D", s=16, zorder=3)
        axes.axhline(0, color=RULE, linewidth=0.8)
        axes.axvline(0, color=RULE, linewidth=0.8)
        _limits(axes, [*spots, *tips, (0.0, 0.0)])
        axes.set_xlabel(f"direction 1, {shares[0]:.0%} of the variance", labelpad=2)
        axes.set_ylabel(f"direction 2, {shares[1]:.0%}" if len(shares) > 1 else "")
        axes.set_xticks([])
        axes.set_yticks([])
        named = [(*spot, label) for spot, label in zip([*spots, *tips], [*found.methods, *found.attacks], strict=True)]
        place(axes, [*spots, *tips], named)
        told = "; ".join(
            f"{attack} {', '.join(number(float(row[j]), 2) for row in loadings[: found.shown])}"
            for j, attack in enumerate(found.attacks)
        )
        return inline(figure, name, f"Directions of recovery: {found.told}", f"Loadings of the attacks: {told}.")


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
