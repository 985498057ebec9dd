"""Attack against method: what came back at the worst setting of each, as cells that can be coloured."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from lethe.auditing.lines import LEFT
from lethe.findings import EvidenceClass
from lethe.report.attacks import Curve, worst
from lethe.report.numbers import DASH, count, share
from lethe.report.tables import Group
from lethe.report.verdicts import left_out

SHADES = (0.05, LEFT, 0.4, 0.6, 0.8)  # their upper ends, that of the last open; the second is the audit's tolerance
MARKS = {
    "not tested": DASH,
    "no control was attacked": "?",
    "nothing was removed": "∅",
    "the attack broke": "×",
    "not measured": "…",
}


@dataclass(frozen=True)
class Spot:
    """One attack on one group at its worst setting; without a number, `state` says why."""

    curve: Curve | None
    state: str  # "" where there is a number
    settings: int = 0
    reason: str = ""

    @property
    def text(self) -> str:
        """The number or the mark."""
        return share(self.curve.adjusted) if self.curve and not self.state else MARKS[self.state]

    @property
    def shade(self) -> int:
        """0, nothing came back, to 5, all of it."""
        value = self.curve.adjusted if self.curve else None
        return bisect_left(SHADES, value or 0.0)

    @property
    def key(self) -> str:
        """The class of the cell's background."""
        return f"shade-{self.shade}" if not self.state else "unknown" if self.curve is None else "undefined"

    @property
    def told(self) -> str:
        """The cell in words."""
        if self.state or self.curve is None:
            return f"{self.state}: {self.reason}" if self.reason else self.state
        tried = f", the worst of {count(self.settings, 'setting')}" if self.settings > 1 else ""
        return f"{self.curve.named} {self.text} {self.curve.spread}{tried}, n = {self.curve.recoveries[0].n}"


@dataclass(frozen=True)
class Strip:
    """One attack over all groups."""

    attack: str
    check: str
    evidence_class: EvidenceClass
    spots: tuple[Spot, ...]

    @property
    def settings(self) -> int:
        """Most settings that were tried on a group."""
        return max((spot.settings for spot in self.spots), default=0)


@dataclass(frozen=True)
class Heat:
    """All attacks against all groups, attacks in order of evidence class and then of what they brought back."""

    labels: tuple[str, ...]
    strips: tuple[Strip, ...]


def heat(lines: Sequence[Group], attacks: Sequence[Curve]) -> Heat:
    """The map: every method and every other group that was attacked against every attack that was made."""
    attacked = {curve.label for curve in attacks}
    shown = [line for line in lines if line.role == "method" or line.label in attacked]
    shown.sort(key=lambda line: line.role != "method")
    strips = []
    for name in dict.fromkeys(curve.attack for curve in attacks):
        made = [curve for curve in attacks if curve.attack == name]
        spots = tuple(_spot(line, name, [curve for curve in made if curve.label == line.label]) for line in shown)
        strips.append(Strip(name, made[0].check, made[0].evidence_class, spots))
    strips.sort(key=lambda one: (one.evidence_class, one.check, -_highest(one)))
    return Heat(tuple(line.label for line in shown), tuple(strips))


def _spot(line: Group, attack: str, made: Sequence[Curve]) -> Spot:
    if (found := worst(made)) is not None:
        return Spot(found, "", len(made))
    if made:
        return Spot(made[0], made[0].undefined, len(made))
    left = [one for one in left_out([line]) if one.attack.partition(":")[0] == attack]
    if not left:
        return Spot(None, "not tested", reason=line.first.failure)
    return Spot(None, "the attack broke" if any(one.failed for one in left) else "not tested", reason=left[0].reason)


def _highest(strip: Strip) -> float:
    return max((spot.curve.back for spot in strip.spots if spot.curve), default=0.0)
