"""The choices of the composable axes as rows for `lethe list where|step|retain` and `lethe describe where|step`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lethe.registry import options

if TYPE_CHECKING:
    from rich.console import Group

SUMMARY = {
    "where": "Which weights a method may move; --where NAME:OPTION=VALUE,...",
    "step": "How the gradients of a step are formed; --step NAME:OPTION=VALUE,...",
    "retain": "What holds the rest of the model in place, or none; --set retain=NAME, --set retain_weight=...",
}
PLURALS = {"where": "where", "steps": "step", "step": "step", "retain": "retain"}
SECTIONS = re.compile(r"^(?:Args|Raises|Returns|Yields):", re.MULTILINE)


def axis_choices(axis: str) -> list[dict[str, Any]]:
    """Every choice of an axis from its function: one line, what it costs, its options, and all that is said of it."""
    return [{"id": name, **_facts(function)} for name, function in sorted(_functions(axis).items())]


def _functions(axis: str) -> dict[str, Callable[..., Any]]:
    from lethe.descent import retain, steps, where

    return dict({"where": where.CHOICES, "step": steps.RULES, "retain": retain.TERMS}[axis])


def _facts(function: Callable[..., Any]) -> dict[str, Any]:
    said = SECTIONS.split(inspect.getdoc(function) or "", maxsplit=1)[0]
    summary, _, body = said.partition("\n")
    return {
        "summary": summary,
        "paper": ", ".join(re.findall(r"arXiv (\d{4}\.\d{4,5})", said)),
        "cost": _cost(said),
        "said": "\n\n".join(" ".join(part.split()) for part in body.strip().split("\n\n") if part),
        "file": inspect.getsourcefile(function) or "",
        "options": [
            {"name": one.name, "type": one.type_name, "default": _shown(one.default), "help": one.help}
            for one in options(function).values()
        ],
    }


def _cost(said: str) -> str:
    """The sentences of a docstring that begin with what is paid, as in: Costs one more pass."""
    sentences = re.split(r"(?<=\.) +", " ".join(said.split()))
    return " ".join(one for one in sentences if re.match(r"Costs?\b", one))


def _shown(value: Any) -> Any:
    if value is inspect.Parameter.empty:
        return "required"
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def axis_description(facts: dict[str, Any]) -> Group:
    """An axis for the terminal."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text(f"{facts['id']} (axis)\n{facts['summary']}\n", style="bold")]
    for choice in facts["choices"]:
        parts.append(Text.assemble((choice["id"], "bold"), f"  {choice['summary']}"))
        parts += [Padding(Text(choice["said"]), (0, 0, 0, 4))] if choice["said"] else []
        if choice["options"]:
            table = Table(box=None, pad_edge=False, show_header=False)
            for one in choice["options"]:
                table.add_row(one["name"], str(one["default"]), one["type"], one["help"])
            parts.append(Padding(table, (0, 0, 0, 4)))
        parts.append(Text())
    return Group(*parts)
