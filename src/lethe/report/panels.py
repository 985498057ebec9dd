"""One panel per attack and setting: all methods over the strength, those that brought something back first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lethe.auditing.lines import LEFT
from lethe.findings import EvidenceClass
from lethe.report.attacks import Curve, span
from lethe.report.numbers import share
from lethe.report.plots import Style, budget
from lethe.report.verdicts import CLASSES

FEW = 6  # panels that are all shown, whatever they show


@dataclass(frozen=True)
class Panel:
    """One attack in one setting."""

    drawn: tuple[Curve, ...]
    untested: tuple[str, ...]  # methods that it was not made on
    figure: Markup

    @property
    def first(self) -> Curve:
        """A curve that stands for the attack."""
        return self.drawn[0]

    @property
    def highest(self) -> Curve:
        """The method from which most came back; one for which that is not defined only where it is for none."""
        return max(self.drawn, key=lambda one: (one.adjusted is not None, one.back))

    @property
    def told(self) -> str:
        """The most that came back, in words."""
        most = self.highest
        if most.undefined:
            return f"not defined: {most.undefined}"
        whom = f" ({most.label})" if len(self.drawn) > 1 else ""
        return f"{'at most ' if whom else ''}{share(most.adjusted)} {most.spread} came back{whom}"


@dataclass(frozen=True)
class Tier:
    """The attacks of one evidence class: what is shown, and what is folded away because little came back."""

    evidence_class: EvidenceClass
    shown: tuple[Panel, ...]
    folded: tuple[Panel, ...]

    @property
    def names(self) -> str:
        """The folded attacks."""
        return ", ".join(panel.first.named for panel in self.folded)


def tiers(anchor: str, attacks: Sequence[Curve], methods: Sequence[str], styles: dict[str, Style]) -> list[Tier]:
    """Every attack in every setting, by evidence class and within it from what brought back most.

    Where there are many, only the worst setting of an attack is shown, and only if it brought back more than the audit
    lets pass.

    Args:
        anchor: Keeps ids apart from those of other benchmarks.
        attacks: All curves.
        methods: Labels that an attack should have been made on.
        styles: Of the methods.
    """
    alike: dict[tuple[str, str], list[Curve]] = {}
    for one in attacks:
        alike.setdefault((one.attack, one.options), []).append(one)
    measured: dict[str, list[Curve]] = {}
    for one in attacks:
        measured.setdefault(one.recoveries[0].measure, []).append(one)
    limits = {measure: span(ones) for measure, ones in measured.items()}
    panels = [
        Panel(
            tuple(drawn),
            tuple(label for label in methods if label not in {one.label for one in drawn}),
            budget(f"{anchor}-a{place}", drawn, styles, *limits[drawn[0].recoveries[0].measure]),
        )
        for place, drawn in enumerate(alike.values())
    ]
    panels.sort(key=lambda panel: (panel.first.evidence_class, -panel.highest.back))
    worst = {panel.first.attack: panel for panel in reversed(panels)}
    return [
        _tier(name, [panel for panel in panels if panel.first.evidence_class == name], worst, len(panels) <= FEW)
        for name in CLASSES
        if any(panel.first.evidence_class == name for panel in panels)
    ]


def _tier(name: EvidenceClass, panels: Sequence[Panel], worst: dict[str, Panel], all_shown: bool) -> Tier:
    shown = [
        panel for panel in panels if all_shown or (panel is worst[panel.first.attack] and panel.highest.back > LEFT)
    ]
    return Tier(name, tuple(shown), tuple(panel for panel in panels if panel not in shown))
