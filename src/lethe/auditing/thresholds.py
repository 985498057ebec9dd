"""How far each line of the checklist strays on models that truly never knew: data, with the command that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lethe.scoring.hypotheses import tail_p

FILE = "thresholds.json"
ALPHA = 0.05  # of one false alarm among all lines of a whole audit


@dataclass(frozen=True)
class Null:
    """One line's statistic on true controls, each audited as if it were an unlearned model.

    Args:
        models: Controls that were audited, all trained with seeds of their own.
        rms: Root of the mean square of the statistic, whose ideal is 0.
        limit: What one more control would exceed in a share ALPHA over the number of lines.
    """

    models: int
    rms: float
    limit: float

    def p(self, value: float, error: float = 0.0) -> float:
        """One-sided p of a statistic among true controls; a larger spread of the controls at hand counts instead."""
        return tail_p(value, max(self.rms, error), self.models - 1)


def stored() -> Mapping[str, Any]:
    """The whole file: command, distributions of every line per world, false alarms and power of the whole audit."""
    place = files("lethe.auditing") / FILE
    return json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {"lines": {}}


def in_force(lines: Mapping[str, Mapping[str, Any]]) -> dict[str, Null]:
    """The file's lines as distributions."""
    return {line: Null(**{key: one[key] for key in ("models", "rms", "limit")}) for line, one in lines.items()}


@cache
def nulls() -> Mapping[str, Null]:
    """The distributions in force, by line; none where a line was never calibrated."""
    return in_force(stored()["lines"])
