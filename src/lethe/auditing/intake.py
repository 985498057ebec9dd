"""What is asked before an audit (SoK, arXiv 2506.09227, section 4, I1 to I4), and what an attacker could try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

from lethe.auditing.case import make, untested
from lethe.data.schema import nearest
from lethe.errors import InputError
from lethe.findings import Check, Outcome
from lethe.request import Intent, Scope

Threat = Literal["api", "logits", "weights", "insider"]

# Lines of the checklist that each attacker could try, beyond those of the attacker before. R8 asks mixtures of experts.
REACH: dict[Threat, tuple[str, tuple[str, ...]]] = {
    "api": ("asks and reads answers", ("B1", "B2", "B3", "B4", "P3", "R1", "R2")),
    "logits": ("reads the probabilities of answers as well", ("B5", "P1", "P2")),
    "weights": ("holds the weights", ("R4", "R5", "R7", "R8", "R9")),
    "insider": (
        "holds the weights, the original's, and some of the forgotten records",
        ("R3", "R6", "N1", "N2", "N3", "N5"),
    ),
}
STRONGEST: Threat = "insider"


@dataclass(frozen=True)
class Intake:
    """A request as it was put; "" where nothing was stated.

    Args:
        intent: removal, suppression, or unsure, which is read as removal.
        scope: What is forgotten: sample, entity, topic, capability or copyright.
        threat: Who must not get it back: api, logits, weights or insider; not stated is read as insider.
        basis: Why the request must be met: a law, a contract, a policy.
        deadline: By when, YYYY-MM-DD.

    Raises:
        InputError: On an unknown intent, scope or threat, or a deadline that is no date.
    """

    intent: str = ""
    scope: str = ""
    threat: str = ""
    basis: str = ""
    deadline: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("intent", self.intent, Intent),
            ("scope", self.scope, Scope),
            ("threat model", self.threat, Threat),
        ):
            if value and value not in get_args(known):
                raise InputError(f"There is no {name} {value!r}; {nearest(value, get_args(known))}")
        if self.deadline and not _is_date(self.deadline):
            raise InputError(f"The deadline {self.deadline!r} is no date; write it as YYYY-MM-DD.")

    def checks(self) -> tuple[Check, ...]:
        """I1 to I4: passed where stated, and otherwise NOT TESTED with what it is read as."""
        threat = REACH[self.threat][0] if self.threat in REACH else ""
        legal = "; ".join(filter(None, (self.basis, self.deadline and f"by {self.deadline}")))
        lacking = " and ".join(
            name for name, value in (("basis", self.basis), ("deadline", self.deadline)) if not value
        )
        sure = self.intent if self.intent != "unsure" else ""
        return (
            _stated("I1", self.scope),
            _stated("I2", sure),
            _stated("I3", threat),
            _stated("I4", "" if lacking else legal, f"no {lacking} stated"),
        )

    def reach(self) -> tuple[str, ...]:
        """The lines of the checklist that the stated attacker could try; without one, those of the strongest."""
        order = list(REACH)
        strength = order.index(self.threat if self.threat in REACH else STRONGEST)
        return tuple(line for threat in order[: strength + 1] for line in REACH[threat][1])

    def within_reach(self, checks: Sequence[Check], outcome: Outcome) -> tuple[str, ...]:
        """The lines of that outcome that the stated attacker could try."""
        reach = self.reach()
        return tuple(check.id for check in checks if check.outcome == outcome and check.id in reach)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text  # which also reads 20261201
    except ValueError:
        return False


def _stated(line: str, told: str, otherwise: str = "") -> Check:
    return make(line, "PASS", reason=told) if told else untested(line, otherwise)
