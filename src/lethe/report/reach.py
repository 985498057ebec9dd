"""What an attacker with given access gets back, as far as the attacks of a run can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lethe.auditing.intake import REACH
from lethe.auditing.robustness import MERGING
from lethe.findings import Check
from lethe.report.attacks import Curve, worst
from lethe.report.numbers import count, share
from lethe.report.verdicts import Finding


@dataclass(frozen=True)
class Access:
    """One attacker against one model.

    `lines` are those of the checklist within reach; an attacker can do whatever the weaker ones can.
    """

    threat: str
    can: str
    lines: tuple[str, ...]
    made: tuple[Curve, ...]
    failed: tuple[Check, ...]
    untested: tuple[Check, ...]
    unlisted: tuple[str, ...]  # lines for which the audit has no check at all

    @property
    def worst(self) -> Curve | None:
        """The attack that brought back most, merging aside: it puts the original's own weights back."""
        return worst(curve for curve in self.made if curve.attack not in MERGING)

    @property
    def back(self) -> str:
        """`0.61 [0.50, 0.73]`, or why there is no number."""
        found = self.worst
        if found is not None:
            return f"{share(found.adjusted)} {found.spread}".rstrip()
        reasons = dict.fromkeys(curve.undefined for curve in self.made if curve.undefined)
        return f"not defined: {', '.join(reasons)}" if reasons else "not tested"

    @property
    def by(self) -> str:
        """`relearn (lr=0.003)`."""
        return self.worst.named if self.worst else ""

    @property
    def tried(self) -> str:
        """`4 attacks, 9 settings`."""
        attacks = count(len({curve.attack for curve in self.made}), "attack")
        return f"{attacks}, {count(len({(curve.attack, curve.options) for curve in self.made}), 'setting')}"

    @property
    def not_tested(self) -> tuple[str, ...]:
        """Lines within reach that nobody looked at."""
        left = {*(check.id for check in self.untested), *self.unlisted}
        return tuple(line for line in self.lines if line in left)


@dataclass(frozen=True)
class Reached:
    """One model against every attacker, the weakest first."""

    finding: Finding
    accesses: tuple[Access, ...]


def reached(found: Sequence[Finding], attacks: Sequence[Curve]) -> list[Reached]:
    """Every audited group against every attacker."""
    return [
        Reached(one, _accesses(one, [curve for curve in attacks if curve.label == one.group.label])) for one in found
    ]


def _accesses(one: Finding, attacks: Sequence[Curve]) -> tuple[Access, ...]:
    lines: tuple[str, ...] = ()
    made = []
    for threat, (can, further) in REACH.items():
        lines += further
        within = [check for check in one.checks if check.id in lines]
        made.append(
            Access(
                threat=threat,
                can=can,
                lines=lines,
                made=tuple(curve for curve in attacks if curve.check in lines),
                failed=tuple(check for check in within if check.outcome == "FAIL"),
                untested=tuple(check for check in within if check.outcome == "NOT TESTED"),
                unlisted=tuple(line for line in lines if line not in {check.id for check in within}),
            )
        )
    return tuple(made)
