"""The trust figure beside every metric: how well its value alone told small models that know from models that do not.

The figures are data of the package, made by the command that `calibration.json` names; `lethe bench calibrate` makes
such a file anew. A metric of another family, on another set, or under another variant has none.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from lethe.report.numbers import interval, number
from lethe.runs.calibrate import Calibration, Trust, load_calibration

NONE = "not calibrated"


@functools.cache
def calibration() -> Calibration:
    """The calibration that comes with the package."""
    return load_calibration(json.loads(Path(__file__).with_name("calibration.json").read_text(encoding="utf-8")))


def trust(family: str, name: str) -> Trust | None:
    """The figure of a score's qualified name or of an attack, or None where it was not calibrated."""
    found = calibration().of(name) if family == calibration().family else None
    return None if found is None or found.auc is None else found


def told(family: str, name: str) -> str:
    """`AUC 0.97 [0.91, 0.99]`, or that there is none."""
    found = trust(family, name)
    return NONE if found is None else f"AUC {number(found.auc, 2)} {interval(found.low, found.high, 2)}"


def legend() -> str:
    """What the figure means, in one sentence, with the models that it was measured on."""
    of = calibration()
    return (
        "Trust: how well the value alone tells models that know from models that never saw the data "
        f"(1 always, 0.5 never), over {of.models} + {of.models} tiny {of.family} models; {NONE} where there is none."
    )
