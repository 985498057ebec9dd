"""Layer by layer, how alike a classifier is to retrained models and to what it was: where the logits pass, this shows.

Everything is read from the scores of `cka` on the forget set; a benchmark that does not measure it has no profile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markupsafe import Markup

from lethe.report.numbers import number
from lethe.report.plots import OTHER, STYLES, Style
from lethe.report.svg import CONTROL, INK, MUTED, RULE, drawing, inline
from lethe.report.tables import Group
from lethe.runs.results import Row

SIDES = {"control": "cka.control@forget", "original": "cka.original@forget"}
GAP = "representation_gap.cka@forget"
WIDTH, LETTER, MOST = 480, 7.5, 10  # pixels of a panel and of a letter, names that fit below it

Curve = tuple[float, ...]  # a value per layer


@dataclass(frozen=True)
class Panel:
    """Likeness to one side, layer by layer."""

    side: str  # control or original
    layers: tuple[str, ...]
    methods: Mapping[str, Curve]
    original: Curve  # the model before unlearning; to itself 1
    low: Curve  # the least of the controls
    high: Curve
    null: Curve  # what records paired at random show


@dataclass(frozen=True)
class Profile:
    """Both panels, and what they say."""

    panels: tuple[Panel, ...]
    styles: Mapping[str, Style]
    others: int  # methods drawn in grey
    distance: str  # of the original from the retrained models: what all else is read against
    superficial: tuple[str, ...]  # methods of which the answers went and the representations stayed


def profile(lines: Sequence[Group]) -> Profile | None:
    """The profile of a benchmark; None where CKA was not measured layer by layer, or there is no control."""
    panels = tuple(panel for side in SIDES if (panel := _panel(lines, side)))
    if not panels or panels[0].side != "control":
        return None
    labels = [line.label for line in lines if line.role in ("floor", "method")]
    flagged = tuple(line.label for line in lines if any(_is_superficial(row) for row in line.rows))
    known = [label for label in labels if label in panels[0].methods]
    chosen = sorted(known, key=lambda label: label not in flagged)[: len(STYLES)]
    styles = dict(zip([label for label in known if label in chosen], STYLES, strict=False))
    return Profile(panels, styles, len(known) - len(styles), _distance(lines), flagged)


def figure(panel: Panel, styles: Mapping[str, Style], name: str) -> Markup:
    """One panel: a line per model over the layers, the controls' band, the original, and the null.

    Args:
        panel: What is drawn.
        styles: How each method is drawn, by its label; others in grey.
        name: Keeps the drawing's ids apart from all others'.
    """
    at, every = list(range(len(panel.layers))), -(-len(panel.layers) // MOST)
    names = [one if i % every == 0 or i == at[-1] else "" for i, one in enumerate(panel.layers)]
    slanted = max(map(len, names)) * LETTER > WIDTH / len(at)
    with drawing(WIDTH, 310) as figure:
        axes = figure.add_axes((0.075, 0.24 if slanted else 0.1, 0.915, 0.74 if slanted else 0.88))
        axes.fill_between(at, panel.low, panel.high, color=CONTROL, alpha=0.25, linewidth=0)
        for ends in (panel.low, panel.high):
            axes.plot(at, ends, color=CONTROL, linewidth=1)
        axes.plot(at, panel.original, color=INK, dashes=(1.5, 2.5), linewidth=1.5)
        axes.plot(at, panel.null, color=MUTED, dashes=(5, 3), linewidth=1)
        for label, curve in sorted(panel.methods.items(), key=lambda one: one[0] in styles):  # grey ones lie below
            style = styles.get(label, OTHER)
            axes.plot(at, curve, color=style.colour, marker=style.marker, markersize=5 if style.marker else 0,
                      linewidth=1.8 if style.marker else 1.0, zorder=3, clip_on=False)  # fmt: skip
        lowest = min(min(curve) for curve in (*panel.methods.values(), panel.original, panel.low, panel.null))
        axes.set_ylim(min(0.0, lowest) - 0.03, 1.03)
        axes.set_xlim(-0.45, at[-1] + 0.45)
        axes.set_xticks(at, names)
        for tick in axes.get_xticklabels() if slanted else ():
            tick.set(rotation=24, horizontalalignment="right")
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        told = "; ".join(f"{label} {_values(curve)}" for label, curve in panel.methods.items())
        told = f"original {_values(panel.original)}; controls {_values(panel.low)} to {_values(panel.high)}; {told}"
        title = f"CKA to the {panel.side}{'s' * (panel.side == 'control')} by layer"
        return inline(figure, name, title, f"By layer, {', '.join(panel.layers)}: {told}.")


def _values(curve: Curve) -> str:
    return " ".join(number(value, 2) for value in curve)


def _panel(lines: Sequence[Group], side: str) -> Panel | None:
    rows = {line.label: [row for row in line.rows if _curve(row, side)] for line in lines}
    roles = {line.role: line.label for line in lines}
    first = next((row for group in rows.values() for row in group), None)
    controls = [_curve(row, side) for line in lines if line.role == "control" for row in rows[line.label]]
    target = [row for line in lines if line.role == "target" for row in rows[line.label]]
    if first is None or not controls or not target or "control" not in roles:
        return None
    layers = tuple(_detail(target[0], side)["names"])
    same = {
        line.label: [_curve(row, side) for row in rows[line.label] if tuple(_detail(row, side)["names"]) == layers]
        for line in lines
        if line.role in ("floor", "method")
    }
    if len(layers) < 2 or any(len(curve) != len(layers) for curve in controls):
        return None
    return Panel(
        side,
        layers,
        {label: tuple(map(fmean, zip(*curves, strict=True))) for label, curves in same.items() if curves},
        _curve(target[0], side),
        tuple(map(min, zip(*controls, strict=True))),
        tuple(map(max, zip(*controls, strict=True))),
        tuple(_detail(target[0], side)["null"]),
    )


def _detail(row: Row, side: str) -> Mapping[str, Any]:
    score = row.score(SIDES[side])
    return score.detail if score is not None and "names" in score.detail else {}


def _curve(row: Row, side: str) -> Curve:
    return tuple(_detail(row, side).get("value", ()))


def _is_superficial(row: Row) -> bool:
    score = row.score(GAP)
    return score is not None and bool(score.detail.get("superficial"))


def _distance(lines: Sequence[Group]) -> str:
    """The original's likeness to the controls beside theirs to each other, and whether the two can be told apart."""
    rows = [(line.role, row) for line in lines for row in line.rows]
    likeness = [(role, score.value) for role, row in rows if (score := row.score(SIDES["control"]))]
    controls = [value for role, value in likeness if role == "control"]
    target = next(value for role, value in likeness if role == "target")
    told = f"To the controls the original’s last features have a CKA of {number(target, 3)}"
    if not controls:
        return f"{told}; with a single control nothing says how far retrained models are from each other."
    told += f", a control’s of {number(fmean(controls), 3)} ({number(min(controls), 3)} to {number(max(controls), 3)})"
    measured = next((score for _, row in rows if (score := row.score(GAP))), None)
    if measured is None:
        return (
            f"{told}: not shown to be more than the noise of two seeds, so nothing is concluded from representations."
        )
    gap, error = (number(measured.detail[name], 3) for name in ("gap", "error"))
    return f"{told}: retraining moves them by {gap}, with a standard error of {error}."
