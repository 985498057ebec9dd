"""The page of requests served one after another: what came back, what it cost the rest, and what it cost to do."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lethe.auditing.lines import LEFT
from lethe.auditing.utility import KEPT
from lethe.findings import Check
from lethe.report.heat import SHADES
from lethe.report.numbers import DASH, count, joined, number, printable
from lethe.report.pages import write_pages
from lethe.report.plots import STYLES
from lethe.report.svg import CONTROL, RULE, drawing, inline
from lethe.runs.sequence import Costs, Served, name_of
from lethe.runs.sequence_lines import Frame, last_return, matrix, waiting
from lethe.runs.servings import Course, Expense
from lethe.scoring.recovery import utility_drift

READING = (
    "Each request starts from the model that the one before has left, and keeps all that must stay at that moment: "
    "those who ask later are among it until their turn. Knowledge is told as a share: 1 is what the model knew of a "
    "request before the first was served, 0 what models know that never saw any of them (controls); below 0 is less "
    f"than those. A request counts as forgotten at {LEFT:g} or less. Where several seeds were run, the tables show the "
    "first and the list of lines the worst."
)


@dataclass(frozen=True)
class Cell:
    """One request after one step: its share, how dark it is, and whether it was not served yet, just now or before."""

    text: str
    shade: int
    when: str  # "later", "now", "earlier"


@dataclass(frozen=True)
class Story:
    """One method: the matrix of its first seed, its other chains as rows of text, and its lines."""

    label: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...], str], ...]  # what was just served, the cells, utility kept
    figures: tuple[tuple[str, str], ...]
    orders: tuple[tuple[str, str, str], ...]
    sizes: tuple[tuple[str, str, str], ...]
    states: tuple[tuple[str, str, str, str, str], ...]
    checks: tuple[Check, ...]
    failures: tuple[str, ...]


def write_sequence(found: Served, costs: Costs, folder: str | Path) -> Path:
    """Write `sequence.html` and `sequence.md`; the same results and costs give the same bytes.

    Returns:
        The path of `sequence.html`.

    Raises:
        InputError: If the folder cannot be written to.
    """
    frame = Frame.of(found.target, found.controls)
    told = {
        "found": found, "headline": headline(found), "reading": READING, "setting": setting(found),
        "stories": [_story(found, costs, frame, label) for label in found.labels],
        "checklist": checklist(found, costs), "costs": cost_rows(found, costs), "shades": SHADES,
        "figures": [one for one in (_courses(found, frame), _spread(found, frame)) if one],
        "styles": dict(zip(found.labels, STYLES, strict=False)),
    }  # fmt: skip
    return write_pages("sequence", told, folder)


def headline(found: Served) -> str:
    """Which methods serve all requests without bringing one back or losing the rest, in one sentence."""
    fine = [label for label in found.labels if all(c.outcome == "PASS" for c in found.checks[label] if c.id == "O1")]
    which = f": {joined(fine)}" if fine else ""
    return (
        f"After {count(len(found.asked), 'request')} in sequence {len(fine)} of {count(len(found.labels), 'method')} "
        f"{'has' if 1 in (len(fine), len(found.labels)) else 'have'} brought none back and kept the rest{which}."
    )


def setting(found: Served) -> str:
    """What was served, in one sentence."""
    sizes = sorted({one.records for one in found.asked})
    each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return (
        f"{found.benchmark}: {count(len(found.asked), 'request')} of {each} records each, {found.kept:,} records that "
        f"stay for good, {count(len(found.controls), 'control')}, {count(found.config['seeds'], 'seed')} per method; "
        f"knowledge is {found.knowledge}, utility {found.utility}."
    )


def checklist(found: Served, costs: Costs) -> list[tuple[str, str, list[Check]]]:
    """The lines O1 to O8: id, title and the check of every method."""
    by_method = [sorted((*found.checks[one], *costs.checks[one]), key=lambda c: c.id) for one in found.labels]
    return [(row[0].id, row[0].title, list(row)) for row in zip(*by_method, strict=True)]


def cost_rows(found: Served, costs: Costs) -> list[tuple[str, ...]]:
    """Method, requests at once, seconds per request, the same over one retraining, peak memory, trained weights."""
    rows, whole = [], costs.retraining
    for label in found.labels:
        for size in sorted({len(one.steps[0].served) for one in found.of(label, "sequence", "batch")}):
            own = [c for c in found.of(label, "sequence", "batch") if len(c.steps[0].served) == size]
            spent = [step for course in own for step in costs.steps[name_of(course)]]
            each = sum(step.seconds for step in spent) / (len(own) * len(found.asked))
            ratio = number(each / whole.seconds, 3) if whole else DASH
            rows.append((label, str(size), number(each, 1), ratio, *_peak(spent)))
    if whole:
        rows.append(("retraining", "", number(whole.seconds, 1), "1", *_peak([whole])))
    return rows


def _peak(spent: Sequence[Expense]) -> tuple[str, str]:
    memory, trained = (max(getattr(one, name) for one in spent) for name in ("peak_memory_mib", "trained_parameters"))
    return f"{memory:,.0f}", f"{trained:,}"


def sequence_table(found: Served, costs: Costs) -> Any:
    """The lines for a terminal."""
    table = Table(title=Text(headline(found), "bold"), title_justify="left", box=SIMPLE_HEAD, padding=0,
                  caption=Text(setting(found), "dim"), caption_justify="left")  # fmt: skip
    for name in ("Line", "", *found.labels):
        table.add_column(printable(name), overflow="fold")
    for line, title, row in checklist(found, costs):
        table.add_row(line, printable(title), *(Text(_short(one)) for one in row))
    return table


def _short(check: Check) -> str:
    measured = "" if check.value is None else f" {number(check.value, 2)}"
    return f"{check.outcome}{measured}{f' ({check.by})' if check.by else ''}"


def _story(found: Served, costs: Costs, frame: Frame, label: str) -> Story:
    whole = [one for one in found.courses if one.label == label]
    made = found.of(label, "sequence")
    failures = tuple(f"Seed {one.seed}, {one.kind}: {one.failure}" for one in whole if one.failure)
    checks = tuple(sorted((*found.checks[label], *costs.checks[label]), key=lambda c: c.id))
    if not made:
        return Story(label, (), (), (), (), (), (), checks, failures)
    course = made[0]
    order = [step.served[0] for step in course.steps]
    shares = matrix(course, frame)
    rows = [
        (f"after {order[i] + 1}", tuple(_cell(row[j], i, j) for j in range(len(row))),
         f"{frame.kept(course.steps[i].levels):.0%}")
        for i, row in enumerate(shares)
    ]  # fmt: skip
    if course.again is not None:
        row = frame.shares(course.again.levels)[order]
        cells = tuple(_cell(share, len(order) - 1, j) for j, share in enumerate(row))
        rows.append((f"{order[-1] + 1} again", cells, f"{frame.kept(course.again.levels):.0%}"))
    ends = [one for one in found.of(label, "order", "sequence", "batch") if one.seed == course.seed]
    sizes = [one for one in found.of(label, "size") if one.seed == course.seed]
    total = sum(one.records for one in found.asked) + found.kept
    return Story(
        label=label,
        head=tuple(str(number + 1) for number in order),
        rows=tuple(rows),
        figures=_figures(course, frame),
        orders=tuple((_order(one), number(frame.left(one.steps[-1].levels), 2), _kept(one, frame)) for one in ends),
        sizes=tuple(
            (f"{one.steps[0].forgotten} records, {one.steps[0].forgotten / total:.0%}",
             number(_left_of_size(one, frame), 2), _kept(one, frame))
            for one in sizes
        ),
        states=tuple(
            (str(step.served[0] + 1), step.before[:16], step.after[:16], f"{step.changed:,}",
             "yes" if step.restored and step.vouched else "no")
            for step in course.steps
        ),
        checks=checks,
        failures=failures,
    )  # fmt: skip


def _cell(share: float, step: int, place: int) -> Cell:
    when = "now" if step == place else "earlier" if place < step else "later"
    shade = 0 if np.isnan(share) else bisect_left(SHADES, share)
    return Cell(number(round(float(share), 2), 2), shade, when)


def _figures(course: Course, frame: Frame) -> tuple[tuple[str, str], ...]:
    if len(course.steps) < 2:
        return ()
    shares = matrix(course, frame)
    later = np.tri(len(shares), k=-1, dtype=bool)
    back = np.where(later, shares - np.diag(shares), -np.inf)
    kept = [frame.kept(step.levels) for step in course.steps]
    return (
        (
            "Resurrection after the last request, in the unit of the measure",
            number(round(last_return(course) or 0.0, 3), 3),
        ),
        ("The same as a share of what the target knows", number(round(float(np.nanmax(back[-1])), 3), 3)),
        ("Largest return at any time, as a share", number(round(float(np.nanmax(back)), 3), 3)),
        ("Least that was known of a request before its turn, as a share", number(waiting(shares), 3)),
        ("Utility drift per request, as a share of the target's", number(utility_drift(kept), 4)),
    )


def _order(course: Course) -> str:
    steps = ["+".join(str(i + 1) for i in step.served) for step in course.steps]
    return "all at once" if len(steps) == 1 else ", ".join(steps)


def _kept(course: Course, frame: Frame) -> str:
    return f"{frame.kept(course.steps[-1].levels):.0%}"


def _left_of_size(course: Course, frame: Frame) -> float:
    base = float(frame.base.mean())
    return (course.steps[-1].levels.values[0] - base) / (float(frame.target.mean()) - base)


def _courses(found: Served, frame: Frame) -> Markup | None:
    """Over the requests: what is left of all that was asked so far, and the utility; mean over seeds."""
    lines = {label: found.of(label, "sequence") for label in found.labels}
    if not any(lines.values()) or len(found.asked) < 2:
        return None
    at = list(range(len(found.asked) + 1))
    told = []
    with drawing(860, 280) as figure:
        panels = [figure.add_axes((x, 0.17, 0.425, 0.72)) for x in (0.06, 0.565)]
        for (label, made), style in zip(lines.items(), _styles(len(lines)), strict=True):
            if not made:
                continue
            left = np.mean([_left_so_far(one, frame) for one in made], axis=0)
            kept = np.mean([[1.0, *(frame.kept(step.levels) for step in one.steps)] for one in made], axis=0)
            for axes, x, y in ((panels[0], at[1:], left), (panels[1], at, kept)):
                axes.plot(x, y, color=style.colour, marker=style.marker, markersize=5, linewidth=1.8, zorder=3)
            told.append(f"{label} {', '.join(f'{x:.2f}' for x in left)}; utility {', '.join(f'{x:.2f}' for x in kept)}")
        for axes, limit, title in zip(panels, (LEFT, KEPT), ("left of all served so far", "utility kept"), strict=True):
            axes.axhline(limit, color=CONTROL, linewidth=1, dashes=(5, 3))
            axes.set_title(title, fontsize=11, loc="left")
            axes.set_xlabel("requests served")
            axes.set_xticks(at)
            axes.grid(axis="y", color=RULE, linewidth=0.6)
            axes.set_axisbelow(True)
        panels[1].set_ylim(0, None)
        return inline(figure, "courses", "Left of the served requests, and utility, over requests", ". ".join(told))


def _left_so_far(course: Course, frame: Frame) -> list[float]:
    shares = matrix(course, frame)
    return [float(np.nanmean(shares[i, : i + 1])) for i in range(len(shares))]


def _spread(found: Served, frame: Frame) -> Markup | None:
    """Where each order, and all at once, ended: what is left against what is kept; one panel for each method."""
    drawn = {label: found.of(label, "sequence", "order", "batch") for label in found.labels}
    drawn = {label: rows for label, rows in drawn.items() if len(rows) > 1}
    if not drawn:
        return None
    width = 26 + 190 * len(drawn)
    told = []
    with drawing(max(width, 220), 230) as figure:
        wide = max(width, 220)
        first = None
        for place, (label, rows) in enumerate(drawn.items()):
            axes = figure.add_axes(((46 + 190 * place) / wide, 0.22, 150 / wide, 0.64), sharex=first, sharey=first)
            first = first or axes
            style = _styles(len(found.labels))[found.labels.index(label)]
            for one in rows:
                x, y = frame.left(one.steps[-1].levels), frame.kept(one.steps[-1].levels)
                mark = {"sequence": "o", "order": "o", "batch": "s"}[one.kind]
                hollow = one.kind == "batch"
                axes.plot(x, y, marker=mark, color=style.colour, markersize=6, linestyle="",
                          markerfacecolor="none" if hollow else style.colour, zorder=3)  # fmt: skip
                told.append(f"{label}, {_order(one)}: {x:.2f} left, utility {y:.2f}")
            axes.axvline(LEFT, color=CONTROL, linewidth=1, dashes=(5, 3))
            axes.axhline(KEPT, color=CONTROL, linewidth=1, dashes=(5, 3))
            axes.set_title(label[:22], fontsize=11, loc="left")
            axes.set_xlabel("left of all requests")
            axes.grid(color=RULE, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.locator_params(nbins=4)
            axes.margins(0.12)
            axes.tick_params(labelleft=place == 0)
        return inline(figure, "orders", "Where every order and batch ended", ". ".join(told))


def _styles(wanted: int) -> list[Any]:
    return [STYLES[i % len(STYLES)] for i in range(wanted)]
