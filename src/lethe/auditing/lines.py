"""What the lines of the checklist are made of: a score of a model, of its target and its controls, and how sure it is.

A line's statistic is read twice: against its threshold (is it large?), and by its p-value (could a control show as
much?). The p-value is the larger of two: that of the items, the same ones in model and controls, and that of the
training seeds, from the spread of the controls at hand or, where it is wider, of true controls in the calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lethe.auditing.case import AuditInput, make, untested
from lethe.auditing.thresholds import nulls
from lethe.findings import Check, Outcome
from lethe.score import Score
from lethe.scoring.hypotheses import paired_p, tail_p
from lethe.scoring.intervals import control_threshold
from lethe.scoring.recovery import MIN_SPAN

LEFT = 0.2  # share of what the target knows beyond a control that may be left, or come back
LEFT_ALONE = 0.5  # the same without a control, where what anybody would know cannot be taken off
# Fewest items to decide by. One item's bootstrap interval has no width, and that of two is as narrow as they happen to
# agree. Among eight records the fifth (LEFT) that may still be known shows at least once in 1 - 0.8^8 = 83 % of draws.
ENOUGH_ITEMS = 8
Z = 1.96  # half the width of a 95 % interval, in standard errors
SHARE_LEFT = "share left of what the target has beyond the controls"


@dataclass(frozen=True)
class Seen:
    """One score of the audited model, of the model before unlearning, and of the controls that have it."""

    name: str
    own: Score
    target: Score
    controls: tuple[Score, ...]

    @property
    def values(self) -> np.ndarray:
        """The controls' values."""
        return np.array([one.value for one in self.controls])

    @property
    def base(self) -> float:
        """The controls' mean, 0 without any."""
        return float(self.values.mean()) if self.controls else 0.0

    @property
    def few(self) -> str:
        """Why the score rests on too few items to decide anything; "" if it does not."""
        measured = (self.own, self.target, *self.controls)
        return only(min(min(one.n, one.detail.get("n_against", one.n)) for one in measured))

    @property
    def seed_error(self) -> float:
        """Standard error of one more model against the controls' mean, over training seeds; 0 with less than two."""
        if len(self.controls) < 2:
            return 0.0
        return float(self.values.std(ddof=1)) * (1 + 1 / len(self.controls)) ** 0.5

    @property
    def paired(self) -> bool:
        """Whether the same items stand in the model and in its controls."""
        sizes = {len(one.items) for one in (self.own, *self.controls)}
        return bool(self.controls) and len(sizes) == 1 and min(sizes) > 1

    def items_p(self, sign: int) -> float:
        """One-sided p over the items: above the controls (sign 1) or below them (-1)."""
        if self.paired:
            others = np.mean([one.items for one in self.controls], axis=0)
            return paired_p(sign * (np.array(self.own.items) - others))
        errors = [(one.high - one.low) / (2 * Z) for one in self.controls]
        error = (
            ((self.own.high - self.own.low) / (2 * Z)) ** 2 + np.square(errors).sum() / max(len(errors), 1) ** 2
        ) ** 0.5
        return tail_p(sign * (self.own.value - self.base), float(error), max(self.own.n - 1, 1))


def seen(case: AuditInput, name: str) -> Seen | None:
    """A score with what it is read against; None where the model or the target has none."""
    own, target = case.scores.get(name), case.target.get(name)
    if own is None or target is None or not np.isfinite([own.value, target.value]).all():
        return None
    controls = (one[name] for one in case.controls if name in one)
    return Seen(name, own, target, tuple(one for one in controls if np.isfinite(one.value)))


def limit_of(case: AuditInput, line: str, margin: float) -> float:
    """What must be exceeded to fail: the tolerance, or what true controls reach in the calibration, if that is more."""
    null = (nulls() if case.nulls is None else case.nulls).get(line)
    return max(margin, null.limit) if null else margin


def outcome_of(value: float, margin: float, limit: float) -> Outcome:
    """PASS within the tolerance, FAIL beyond the limit; in between a true control may show as much, so neither."""
    return "PASS" if value <= margin else "FAIL" if value > limit else "NOT TESTED"


def between(outcome: Outcome, limit: float) -> str:
    """What is added to the reason of a value between tolerance and limit."""
    return f"; true controls reach up to {limit:.2f}: too coarse to tell" if outcome == "NOT TESTED" else ""


def seeds_p(case: AuditInput, line: str, value: float, error: float, controls: int) -> float:
    """One-sided p of a line's statistic over training seeds.

    Args:
        case: Its calibration is read.
        line: Of the checklist.
        value: The statistic, 0 for a perfect control.
        error: Its standard error over the controls at hand, 0 where there are less than two.
        controls: Their number.
    """
    null = (nulls() if case.nulls is None else case.nulls).get(line)
    if null is not None:
        return null.p(value, error)
    return tail_p(value, error, controls - 1) if controls > 2 else 0.0  # two alone show next to nothing of a spread


def share_left(line: str, case: AuditInput, name: str, *, controlled: bool = False) -> Check:
    """How much of what the target has beyond the controls the model still has.

    Args:
        line: Of the checklist.
        case: What the audit reads.
        name: Of the score, high where more is known.
        controlled: Whether without a control nothing can be said.
    """
    found = seen(case, name) if name else None
    if found is None:
        return untested(line, absent(name))
    if found.few:
        return untested(line, found.few)
    if controlled and not found.controls:
        return untested(line, "needs a control: what anybody would know cannot be taken off")
    margin = LEFT if found.controls else LEFT_ALONE
    limit = max(margin, limit_of(case, line, margin))
    span = found.target.value - found.base
    if span < max(MIN_SPAN, found.seed_error if controlled else 0.0):
        return untested(line, f"{name} does not tell the target from a control")
    value = (found.own.value - found.base) / span
    p = max(found.items_p(1), seeds_p(case, line, value, found.seed_error / span, len(found.controls)))
    told = f"{name} is {found.own.value:.2f}; the target scores {found.target.value:.2f}, {controls_told(found.values)}"
    outcome = outcome_of(value, margin, limit)
    by = name if outcome == "FAIL" else ""
    reason = f"{told}: {value:.0%} is left{between(outcome, limit)}"
    return make(line, outcome, value, limit, reason, statistic=SHARE_LEFT, p=p, tried=1, by=by)


def worst(line: str, checks: Sequence[Check]) -> Check:
    """Of several scores that answer one line the worst; its p-value pays for all of them."""
    tested = [check for check in checks if check.value is not None]
    if not tested:
        return checks[0] if checks else untested(line)
    one = max(tested, key=lambda check: (check.outcome == "FAIL", check.outcome != "PASS", check.value or 0.0))
    failing = [check.p for check in tested if check.outcome == one.outcome and check.p is not None]
    p = min(1.0, min(failing) * len(tested)) if failing else None
    more = f"; the worst of {len(tested)} read" if len(tested) > 1 else ""
    by = ", ".join(check.by for check in tested if check.by)
    return replace(one, p=p, tried=len(tested), by=by, reason=one.reason + more)


def spread(controls: np.ndarray, metrics: int = 1) -> float:
    """Distance from the controls' mean at which one more control would still stand, 95 % over all metrics together."""
    return control_threshold(len(controls), metrics) * float(controls.std(ddof=1)) if len(controls) > 1 else 0.0


def only(items: int) -> str:
    """Why so few items decide nothing; "" where they are enough."""
    return f"only {items} item{'s' * (items != 1)}" if items < ENOUGH_ITEMS else ""


def controls_told(controls: np.ndarray) -> str:
    """The controls' values in words."""
    if not len(controls):
        return "there is no control"
    if len(controls) == 1:
        return f"a control {controls[0]:.2f}"
    return f"{len(controls)} controls {controls.mean():.2f} ± {controls.std(ddof=1):.2f}"


def absent(name: str) -> str:
    """Why there is no such score; "" where none was asked for, which the line's own words explain."""
    return f"{name} was not measured" if name else ""
