"""The report as Markdown: the same verdicts and tables, without figures and answers."""

from __future__ import annotations

import html
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lethe.report import trust
from lethe.report.numbers import number, printable, share
from lethe.report.verdicts import MEANING, amounts, chance
from lethe.report.view import View


def markdown(view: View) -> str:
    """The whole report; the same view gives the same text."""
    text = (
        environment()
        .get_template("report.md.j2")
        .render(view=view, meaning=MEANING, trust=trust.told, legend=trust.legend())
    )
    return text.rstrip() + "\n"


def environment() -> Environment:
    """Templates for Markdown, in which every inserted string stands as plain text on one line."""
    made = Environment(
        loader=PackageLoader("lethe.report"),
        autoescape=False,  # not HTML: `plain` escapes for Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: plain(value) if isinstance(value, str) and not isinstance(value, Verbatim) else value,
    )
    made.filters["number"] = number
    made.filters["share"] = share
    made.filters["amounts"] = amounts
    made.filters["chance"] = chance
    made.filters["verbatim"] = Verbatim
    made.filters["fenced"] = fenced
    return made


class Verbatim(str):
    """Text that already is Markdown."""


def plain(text: Any) -> str:
    """Text as it is, in Markdown: no markup of its own, no HTML, no line breaks, no end of a table's cell."""
    line = re.sub(r"\s+", " ", printable(str(text)))
    return re.sub(r"([\\`*\[\]|~#$]|(?<!\w)_|_(?!\w))", r"\\\1", html.escape(line, quote=False))


def fenced(text: str, language: str = "") -> Verbatim:
    """A code block that nothing in the text can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Verbatim(f"{fence}{language}\n{printable(text)}\n{fence}")
