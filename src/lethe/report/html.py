"""The report as one HTML file that asks nothing of the network and runs no script."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lethe.report import trust
from lethe.report.attacks import Curve, span
from lethe.report.numbers import number, printable
from lethe.report.plots import curve, scatter
from lethe.report.verdicts import MEANING
from lethe.report.view import Section, View
from lethe.scoring.recovery import MIN_SPAN


@dataclass(frozen=True)
class Panels:
    """All curves of one attack, one small multiple per method."""

    attack: str
    options: str
    measure: str
    drawn: list[tuple[Curve, Markup]]


def html(view: View) -> str:
    """The whole page; the same view gives the same text."""
    page = environment().get_template("report.html.j2")
    return page.render(
        view=view,
        meaning=MEANING,
        trust=trust.told,
        legend=trust.legend(),
        min_span=MIN_SPAN,
        figures={section.anchor: _scatter(section) for section in view.sections},
        panels={section.anchor: _panels(section) for section in view.sections},
    )


def environment() -> Environment:
    """Templates for HTML, in which every inserted string is escaped and disturbs nothing around it."""
    made = Environment(
        loader=PackageLoader("lethe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_safe,
    )
    made.filters["number"] = number
    made.filters["breakable"] = breakable
    return made


def _safe(value: Any) -> Any:
    """Nothing that a model wrote reaches the page unescaped, or with characters that act on the text around them."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def breakable(name: str) -> Markup:
    """A long name that may be broken after its underscores and dots."""
    escaped = str(Markup.escape(printable(name)))
    return Markup(escaped.replace("_", "_<wbr>").replace(".", ".<wbr>"))


def _scatter(section: Section) -> Markup | None:
    by_name = {column.name: column for column in section.columns}
    knowledge, utility = by_name.get(section.data.knowledge), by_name.get(section.data.utility)
    if knowledge is None or utility is None:
        return None
    return scatter(f"{section.anchor}-scatter", section.lines, knowledge, utility)


def _panels(section: Section) -> list[Panels]:
    """One set per attack that was made at more than one strength; a single strength is a line of the table."""
    kinds = Counter((one.attack, one.options) for one in section.attacks if len(one.recoveries[0].points) > 1)
    found = []
    for place, (attack, options) in enumerate(kinds):
        drawn = [one for one in section.attacks if (one.attack, one.options) == (attack, options)]
        limits = span(drawn)
        panels = [(one, curve(f"{section.anchor}-a{place}-{i}", one, *limits)) for i, one in enumerate(drawn)]
        found.append(Panels(attack, options, drawn[0].recoveries[0].measure, panels))
    return found
