"""What attacks and audits find, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lethe.models.base import Model
    from lethe.request import Record

EvidenceClass = Literal["E0", "E1", "E2", "E3", "E4"]
Outcome = Literal["PASS", "FAIL", "NOT TESTED"]


@dataclass(frozen=True)
class Tampered:
    """What an attack yields: a model to look at, how hard it was attacked, and the forget records to look with.

    `forget` are the records outside the attack's own data, possibly in another form (a paraphrased question).
    """

    model: Model
    strength: float
    forget: Sequence[Record]


@dataclass(frozen=True)
class Point:
    """One strength of an attack: what the attacked model, the attacked control and the attacked original know."""

    strength: float
    value: float
    low: float
    high: float
    control: float | None
    original: float | None


@dataclass(frozen=True)
class Recovery:
    """One attack on one unlearned model, read against the control under the same attack (SoK section 5, R3).

    All values are the family's forget measure, higher = more is known. `adjusted` is the largest over strengths of
    ((value - before) - (control - control_before)) / (original - before), clipped to [-1, 1.5]; None where nothing was
    removed (original - before < 0.05) or no control was attacked. `low`, `high`: 95 % bootstrap over items. Several
    attacked controls count by their mean.
    """

    attack: str
    options: dict[str, Any]
    check: str  # the line of the checklist that the attack answers
    evidence_class: EvidenceClass
    measure: str
    unit: str  # of the strength, e.g. "steps", "bits"
    before: float
    original: float
    control_before: float | None
    points: tuple[Point, ...]
    adjusted: float | None
    low: float | None
    high: float | None
    n: int  # forget items scored
    p: float | None = None  # one-sided, of no return beyond the controls' own gain: over items and all strengths
    controls: int = 0  # attacked controls
    spread: float | None = None  # standard deviation over them of what came back, in the unit of `adjusted`
    reused: int = 0  # records whose knowledge before the attack was already known, over all models of this recovery


@dataclass(frozen=True)
class LeftOut:
    """An attack that was not made, and why."""

    attack: str  # the call, `name:option=value,...`
    check: str  # the line of the checklist that it would have answered
    reason: str
    failed: bool = False  # it was tried and broke; its line can no longer pass


@dataclass(frozen=True)
class Check:
    """One line of the audit's checklist (ids as in SoK: B1, P1, R3, ...)."""

    id: str
    title: str
    evidence_class: EvidenceClass
    outcome: Outcome
    value: float | None = None
    threshold: float | None = None
    reason: str = ""
    statistic: str = ""  # what `value` is
    p: float | None = None  # of a control's showing as much, after correction for the attacks tried inside the line
    p_adjusted: float | None = None  # the same after Holm's correction over all tested lines
    tried: int = 0  # attacks inside the line
    by: str = ""  # the attacks whose result exceeds the threshold, separated by commas


@dataclass(frozen=True)
class Verdict:
    """The audit's conclusion on one model; never better than the evidence.

    `reached`: "removal", "consistent with removal", "suppression", "collapse", "not forgotten" or "no verdict".
    `highest_class`: the highest evidence class attempted and passed, with nothing failed below it; "" if none.
    """

    claimed: str
    reached: Literal["removal", "consistent with removal", "suppression", "collapse", "not forgotten", "no verdict"]
    highest_class: str
    sentence: str
    checks: tuple[Check, ...] = field(default_factory=tuple)
    budget: str = ""  # quick, standard or thorough; "" where the attacks were named one by one
    tried: int = 0  # attacks
    left_out: tuple[LeftOut, ...] = ()

    @property
    def not_tested(self) -> tuple[Check, ...]:
        """The checks that were not made; a report prints every one."""
        return tuple(check for check in self.checks if check.outcome == "NOT TESTED")
