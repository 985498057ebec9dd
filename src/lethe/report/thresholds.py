"""The table of a calibration of the checklist: how far each line strays on true controls, and what the audit says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lethe.auditing.case import TITLES
from lethe.report.numbers import interval, number, printable

HEAD = ("Line", "World", "Controls", "Root mean square", "Worst", "Limit")


def thresholds_table(found: Mapping[str, Any]) -> Table:
    """Every line in every world, under what the whole audit made of true controls and of models that hide."""
    table = Table(
        title=Text("\n".join(told(name, world) for name, world in found["worlds"].items()), "bold"),
        title_justify="left", box=SIMPLE_HEAD, padding=0, caption_justify="left",
        caption=Text("Limit: what one more control exceeds in 5 % of audits, over all lines together.", "dim"),
    )  # fmt: skip
    for head in HEAD:
        table.add_column(head, justify="left" if head in HEAD[:2] else "right")
    for line in dict.fromkeys(line for world in found["worlds"].values() for line in world["lines"]):
        for name, world in found["worlds"].items():
            if one := world["lines"].get(line):
                values = (number(one[key], 3) for key in ("rms", "worst", "limit"))
                table.add_row(
                    printable(f"{line} {TITLES[line.partition(chr(46))[0]][1]}"), name, str(one["models"]), *values
                )
    return table


def told(name: str, world: Mapping[str, Any]) -> str:
    """False alarms and power in one sentence."""
    hidden = "; ".join(f"{who} {one['exposed']} of {one['audits']}" for who, one in world["power"].items())
    low, high = world["interval"]
    return (
        f"{name}: {world['false_alarms']} false alarms in audits of {world['controls']} true controls "
        f"({world['rate']:.1%} {interval(low, high)}); exposed: {hidden}."
    )
