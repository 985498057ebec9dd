"""The report as one HTML file that asks nothing of the network and runs no script."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lethe.auditing.lines import LEFT
from lethe.report import trust
from lethe.report.heat import MARKS, SHADES
from lethe.report.numbers import number, printable, share
from lethe.report.panels import Tier, tiers
from lethe.report.plots import scatter, styles, variance
from lethe.report.profile import figure
from lethe.report.verdicts import MEANING, amounts, chance, small
from lethe.report.view import Section, View
from lethe.scoring.recovery import MIN_SPAN


def html(view: View) -> str:
    """The whole page; the same view gives the same text."""
    page = environment().get_template("report.html.j2")
    return page.render(
        view=view,
        meanings=MEANING,
        trust=trust.told,
        legend=trust.legend(),
        min_span=MIN_SPAN,
        limit=LEFT,
        marks=MARKS,
        shades=SHADES,
        figures={section.anchor: _scatter(section) for section in view.sections},
        tiers={section.anchor: _tiers(section) for section in view.sections},
        styles={section.anchor: styles(section.attacks, section.heat.labels) for section in view.sections},
        directions={section.anchor: _directions(section) for section in view.sections},
        profiles={section.anchor: _profiles(section) for section in view.sections},
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
    made.globals["meaning"] = MEANING.__getitem__
    made.filters["number"] = number
    made.filters["share"] = share
    made.filters["amounts"] = amounts
    made.filters["chance"] = chance
    made.filters["small"] = small
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


def _directions(section: Section) -> Markup | None:
    found = section.directions
    return None if isinstance(found, str) else variance(f"{section.anchor}-directions", found)


def _profiles(section: Section) -> list[tuple[str, Markup]]:
    """The side that each panel compares with, and the panel."""
    found = section.profile
    panels = found.panels if found else ()
    drawn = found.styles if found else {}
    return [(one.side, figure(one, drawn, f"{section.anchor}-profile-{one.side}")) for one in panels]


def _tiers(section: Section) -> list[Tier]:
    labels = section.heat.labels
    return tiers(section.anchor, section.attacks, labels, styles(section.attacks, labels))
