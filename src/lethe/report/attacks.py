"""What attacks brought back, per method and attack, over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from lethe.findings import EvidenceClass, Recovery
from lethe.report.numbers import finite, number, share
from lethe.report.tables import Group, settings
from lethe.scoring.recovery import MIN_SPAN

# Units whose strengths number kinds of input, in no order: no line joins them.
CATEGORIES = {"", "form", "language", "template"}


@dataclass(frozen=True)
class Curve:
    """One attack on one group: the recovery of each seed, and the references that all share."""

    label: str
    attack: str
    options: str
    recoveries: tuple[Recovery, ...]
    setting: str = ""  # the options that tell this setting of the attack from others of the same run

    @property
    def check(self) -> str:
        """The line of the checklist that the attack answers."""
        return self.recoveries[0].check

    @property
    def evidence_class(self) -> EvidenceClass:
        """The attack's evidence class."""
        return self.recoveries[0].evidence_class

    @property
    def named(self) -> str:
        """`relearn (lr=0.003)`; the name alone where there was one setting."""
        return f"{self.attack} ({self.setting})" if self.setting else self.attack

    @property
    def is_ordered(self) -> bool:
        """Whether strengths are amounts; templates, languages and the like are only told apart by their numbers."""
        return self.unit not in CATEGORIES

    @property
    def unit(self) -> str:
        """Unit of the strength."""
        return self.recoveries[0].unit

    @property
    def controls(self) -> list[float | None]:
        """The control before the attack and at every strength, mean over seeds."""
        first = [recovery.control_before for recovery in self.recoveries]
        return [_mean(first), *(_mean(column) for column in self._over_seeds("control"))]

    @property
    def originals(self) -> list[float | None]:
        """The original before the attack and at every strength, mean over seeds."""
        first = [recovery.original for recovery in self.recoveries]
        return [_mean(first), *(_mean(column) for column in self._over_seeds("original"))]

    @property
    def values(self) -> list[float | None]:
        """The group itself before the attack and at every strength, mean over seeds."""
        first = [recovery.before for recovery in self.recoveries]
        return [_mean(first), *(_mean(column) for column in self._over_seeds("value"))]

    def _over_seeds(self, name: str) -> list[list[float | None]]:
        shortest = min(len(recovery.points) for recovery in self.recoveries)
        return [[getattr(recovery.points[i], name) for recovery in self.recoveries] for i in range(shortest)]

    @property
    def strengths(self) -> str:
        """`2, 8, 32 steps`."""
        told = ", ".join(f"{point.strength:g}" for point in self.recoveries[0].points)
        return f"{told} {self.unit}".strip()

    @property
    def highest(self) -> float | None:
        """What the group knows at its worst strength, mean over seeds."""
        return _mean([max(known, default=None) for known in map(_values, self.recoveries)])

    @property
    def highest_control(self) -> float | None:
        """What the control knows at its worst strength."""
        return max((value for value in self.controls[1:] if value is not None), default=None)

    @property
    def adjusted(self) -> float | None:
        """Share of the removed knowledge that came back beyond the control's own gain, mean over seeds."""
        return _mean([recovery.adjusted for recovery in self.recoveries])

    @property
    def back(self) -> float:
        """What is known to have come back: adjusted, or of what was removed where no control was attacked."""
        if self.adjusted is not None:
            return self.adjusted
        before, original, highest = finite(self.values[0]), finite(self.originals[0]), self.highest
        if before is None or original is None or highest is None or original - before < MIN_SPAN:
            return 0.0
        return (highest - before) / (original - before)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval over items of a single seed."""
        low, high = finite(self.recoveries[0].low), finite(self.recoveries[0].high)
        return (low, high) if len(self.recoveries) == 1 and low is not None and high is not None else None

    @property
    def spread(self) -> str:
        """`[low, high]` of one seed, `± sd` of several."""
        known = [value for value in (finite(recovery.adjusted) for recovery in self.recoveries) if value is not None]
        if len(known) > 1:
            return f"± {share(stdev(known))}"
        return f"[{share(self.bounds[0])}, {share(self.bounds[1])}]" if self.bounds else ""

    @property
    def undefined(self) -> str:
        """Why there is no adjusted recovery, where there is none."""
        one = self.recoveries[0]
        if self.adjusted is not None:
            return ""
        if finite(one.control_before) is None:
            return "no control was attacked"
        before, original = finite(one.before), finite(one.original)
        if before is not None and original is not None and original - before < MIN_SPAN:
            return "nothing was removed"
        return "not measured"

    @property
    def told(self) -> str:
        """The curve in words, for who does not see it."""
        series = (("model", self.values), ("control", self.controls), ("original", self.originals))
        told = [f"{name} {', '.join(number(value, 3) for value in values)}" for name, values in series]
        return f"{self.recoveries[0].measure} before the attack and at {self.strengths}: {'; '.join(told)}."


def curves(lines: Sequence[Group]) -> list[Curve]:
    """Every attack on every group, in the order of the groups."""
    found: list[Curve] = []
    given: dict[str, list[dict[str, str]]] = {}  # attack -> options of each of its settings
    for line in lines:
        alike: dict[tuple[str, str], list[Recovery]] = {}
        for recovery in (recovery for row in line.rows for recovery in row.recoveries):
            alike.setdefault((recovery.attack, _told(_options(recovery))), []).append(recovery)
            known = given.setdefault(recovery.attack, [])
            known += [options for options in [_options(recovery)] if options not in known]
        found += [Curve(line.label, attack, options, tuple(each)) for (attack, options), each in alike.items()]
    return [replace(one, setting=_told(_telling(_options(one.recoveries[0]), given[one.attack]))) for one in found]


def _options(recovery: Recovery) -> dict[str, str]:
    return {name: value for name, value in settings(recovery.options).items() if name != "seed"}


def _telling(own: dict[str, str], others: Sequence[dict[str, str]]) -> dict[str, str]:
    return {name: own[name] for name in own if any(other.get(name) != own[name] for other in others)}


def _told(options: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def worst(attacks: Iterable[Curve]) -> Curve | None:
    """The curve of which most came back beyond the control's gain; None where that is defined for none."""
    known = [one for one in attacks if one.adjusted is not None]
    return max(known, key=lambda one: one.adjusted or 0.0, default=None)


def span(drawn: Sequence[Curve]) -> tuple[float, float]:
    """Common limits of the knowledge axis: all panels of one attack can be read against each other."""
    values = [value for one in drawn for series in (one.values, one.controls, one.originals) for value in series]
    ends = [finite(end) for one in drawn for r in one.recoveries for p in r.points for end in (p.low, p.high)]
    known = [value for value in [*values, *ends] if value is not None]
    low, high = min([0.0, *known]), max(known, default=1.0)  # from nothing known
    margin = (high - low) * 0.06 or 0.05
    return low - margin, high + margin


def _values(recovery: Recovery) -> list[float]:
    return [value for value in (finite(point.value) for point in recovery.points) if value is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in map(finite, values) if value is not None]
    return fmean(known) if known else None
