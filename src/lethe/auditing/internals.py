"""N1 to N5: what can be found inside the model, always read against controls."""

from __future__ import annotations

from collections.abc import Sequence

from lethe.auditing.case import AuditInput, make, untested
from lethe.auditing.lines import (
    LEFT,
    Seen,
    absent,
    between,
    controls_told,
    limit_of,
    outcome_of,
    seeds_p,
    seen,
    share_left,
)  # fmt: skip
from lethe.findings import Check
from lethe.scoring.hypotheses import tail_p
from lethe.scoring.intervals import control_threshold
from lethe.scoring.recovery import MIN_SPAN

SPREAD_FLOOR = 0.01  # smallest spread of control distances to believe, as a share of the target's distance


def internals(case: AuditInput) -> list[Check]:
    """The five lines."""
    names = case.names
    asked = (("N1", names.probe), ("N2", names.lens), ("N3", names.trace))
    return [
        *(share_left(line, case, name, controlled=True) for line, name in asked),
        _closeness(case),
        _gradient(case),
    ]


def _gradient(case: AuditInput) -> Check:
    """Near 0 the records are fitted as training data are; far above a control they were pushed away, and wait there."""
    found = seen(case, case.names.gradient) if case.names.gradient else None
    if found is None:
        return untested("N5", absent(case.names.gradient))
    if found.few or not found.controls:
        return untested("N5", found.few or "needs a control")
    span = abs(found.target.value - found.base)
    if span < max(MIN_SPAN * abs(found.base), found.seed_error):
        return untested("N5", f"{found.name} does not tell the target from a control")
    gap = found.own.value - found.base
    value, limit = abs(gap) / span, limit_of(case, "N5", LEFT)
    by_seeds = seeds_p(case, "N5", value, found.seed_error / span, len(found.controls))
    p = min(1.0, 2 * max(found.items_p(1 if gap > 0 else -1), by_seeds))
    told = (
        f"{found.name} is {found.own.value:.2g}; the target's {found.target.value:.2g}, {controls_told(found.values)}"
    )
    outcome = outcome_of(value, LEFT, limit)
    told += between(outcome, limit)
    by = found.name if outcome == "FAIL" else ""
    what = "distance from the controls as a share of the target's"
    return make("N5", outcome, value, limit, told, statistic=what, p=p, tried=1, by=by)


def _closeness(case: AuditInput) -> Check:
    rows = [found for name in case.names.distances if (found := seen(case, name)) and len(found.controls) > 1]
    if not rows:
        return untested("N4")
    fewest = min(len(found.controls) for found in rows)
    threshold = control_threshold(fewest, len(rows))
    own = {found.name: _z(found, found.own.value, rows) for found in rows}
    target = max(_z(found, found.target.value, rows) for found in rows)
    if target <= threshold:
        told = "the controls are so far apart that the target would pass"
        return untested("N4", told, value=target, threshold=threshold)
    name = max(own, key=lambda each: own[each])
    told = f"{name} is {own[name]:.1f} control spreads too far from the controls, the target {target:.1f}"
    # As in the threshold: two-sided, over all distances, for one more control.
    p = min(1.0, 2 * len(rows) * tail_p(own[name], (1 + 1 / fewest) ** 0.5, fewest - 1)) if own[name] > 0 else 1.0
    outcome = "PASS" if own[name] <= threshold else "FAIL"
    by = ", ".join(each for each, z in own.items() if z > threshold)
    what = "control spreads beyond the controls"
    return make("N4", outcome, own[name], threshold, told, statistic=what, p=p, tried=len(rows), by=by)


def _z(found: Seen, value: float, rows: Sequence[Seen]) -> float:
    """Seed spreads by which a distance exceeds the controls' own; nearer than they are is no fault."""
    of_its_kind = (_beyond(one, one.target.value) for one in rows if one.own.metric == found.own.metric)
    spread = max(float(found.values.std(ddof=1)), SPREAD_FLOOR * max(of_its_kind))
    gap = _beyond(found, value)
    return gap / spread if spread > 0 else float("inf") if gap > 0 else 0.0


def _beyond(found: Seen, value: float) -> float:
    """How much farther than the controls a value lies; of a likeness more is nearer."""
    return max(0.0, (value - found.base) * (-1 if found.own.direction == "higher" else 1))
