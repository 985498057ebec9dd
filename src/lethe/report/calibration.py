"""The page of a calibration: every metric and attack, from the most to the least telling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lethe.report.numbers import count, interval, number, printable
from lethe.report.pages import write_pages
from lethe.runs.calibrate import SEEDS, Calibration, Trust

HEAD = ("Name", "Looked for", "AUC", "Drift")
READING = (
    "AUC is the share of pairs of models, one that knows the forget set and one that never saw it, in which the value "
    "alone puts the right one first. Its orientation was fixed beforehand: below 0.5 it misleads. The interval is "
    "Newcombe's score interval, 95 %, as if the models were independent, though those of one kind share their data. "
    "Drift is how far a harmless fine-tuning (20 steps on people in nobody's corpus) moves a metric, on average over "
    "all models, in units of the gap between the means of the two sides: at 1 the noise is as large as what is "
    "measured. Its interval is a bootstrap over models. An attack's value is the highest probability of the forget "
    "answers after it."
)


def write_calibration(found: Calibration, folder: str | Path) -> Path:
    """Write `calibration.html` and `calibration.md`; the same figures give the same bytes.

    Returns:
        The path of `calibration.html`.

    Raises:
        InputError: If the folder cannot be written to.
    """
    told = {
        "found": found, "headline": headline(found), "reading": READING, "head": HEAD, "models": models(found),
        "lines": [(part, [line(one) for one in ordered(found, part)]) for part in ("metric", "attack")],
        "without": [one for one in found.figures if one.auc is None],
    }  # fmt: skip
    return write_pages("calibration", told, folder)


def headline(found: Calibration) -> str:
    """What was calibrated on what, in one sentence."""
    known = [one for one in found.figures if one.auc is not None]
    tell = sum(one.low is not None and one.low > 0.5 for one in known)
    return (
        f"{tell} of {count(len(known), 'figure')} tell {found.models} models that know from {found.models} that "
        "never saw the data."
    )


def models(found: Calibration) -> str:
    """The models in one sentence."""
    kinds = "; ".join(
        f"{kind['layers']} layer{'s' if kind['layers'] > 1 else ''} of {kind['width']}, {kind['epochs']} epochs"
        for kind in found.kinds
    )
    return f"{count(len(found.kinds), 'kind')} of model, {SEEDS} seeds of each on either side: {kinds}."


def ordered(found: Calibration, kind: str) -> Sequence[Trust]:
    """The figures of a kind, the most telling first; of equal ones the steadiest."""
    known = [one for one in found.figures if one.kind == kind and one.auc is not None]
    return sorted(known, key=lambda one: (-(one.auc or 0), one.drift if one.drift is not None else 0, one.name))


def line(one: Trust) -> tuple[str, ...]:
    """Name, what was looked for, AUC and drift, as text."""
    return (
        one.name,
        "high" if one.sign > 0 else "low",
        f"{number(one.auc, 3)} {interval(one.low, one.high)}",
        f"{number(one.drift, 2)} {interval(one.drift_low, one.drift_high, 2)}".strip(),
    )


def calibration_table(found: Calibration) -> Any:
    """All figures for a terminal."""
    table = Table(
        title=Text(headline(found), "bold"), title_justify="left", box=SIMPLE_HEAD, padding=0,
        caption=Text(models(found), "dim"), caption_justify="left",
    )  # fmt: skip
    for name in HEAD:
        table.add_column(name, overflow="fold", justify="right" if name in HEAD[2:] else "left")
    for part in ("metric", "attack"):
        for one in ordered(found, part):
            table.add_row(*map(printable, line(one)))
        table.add_section()
    for one in found.figures:
        if one.auc is None:
            table.add_row(printable(one.name), "", Text(printable(one.reason), "dim"), "")
    return table
