"""How the request of an audit was put, and what was not stated and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lethe.auditing.intake import REACH, STRONGEST, Intake
from lethe.errors import InputError

NOT_STATED = "not stated"


@dataclass(frozen=True)
class Stated:
    """One line of the intake."""

    name: str
    told: str
    is_stated: bool


@dataclass(frozen=True)
class Asked:
    """The whole intake, with the attacker that it names or, where it names none, the strongest."""

    lines: tuple[Stated, ...]
    threat: str
    is_stated: bool

    @property
    def told(self) -> str:
        """Whom the model must withstand."""
        return _attacker(self.threat)


def intake_of(config: Mapping[str, Any]) -> Asked | None:
    """The intake of an audit from its configuration; None where the run was no audit."""
    if "audited" not in config:
        return None
    given = config.get("intake", config)
    put = {field.name: str(given.get(field.name, "")) for field in fields(Intake)}
    try:
        intake = Intake(**put)
    except InputError:  # results of another version, or changed by hand: told as they are
        lines = tuple(Stated(name.capitalize(), value or NOT_STATED, bool(value)) for name, value in put.items())
        return Asked(lines, put["threat"] or STRONGEST, bool(put["threat"]))
    who = intake.threat or STRONGEST
    sure = intake.intent not in ("", "unsure")
    return Asked(
        (
            _line("Scope", intake.scope, "read as entity"),
            _line("Intent", intake.intent, "read as removal") if sure else Stated(
                "Intent", f"{intake.intent or NOT_STATED}; read as removal", False
            ),
            _line("Attacker", intake.threat and _attacker(who), f"read as {_attacker(who)}"),
            _line("Basis", intake.basis, ""),
            _line("Deadline", intake.deadline, ""),
        ),
        who,
        bool(intake.threat),
    )  # fmt: skip


def _attacker(threat: str) -> str:
    """`api: asks and reads answers`."""
    return next((f"{name}: {can}" for name, (can, _) in REACH.items() if name == threat), threat)


def _line(name: str, told: str, otherwise: str) -> Stated:
    return Stated(name, told or "; ".join(filter(None, (NOT_STATED, otherwise))), bool(told))
