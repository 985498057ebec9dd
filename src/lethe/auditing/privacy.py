"""P1 to P3: what an attacker learns of who was in the data, and what can be had verbatim."""

from __future__ import annotations

from lethe.auditing.case import AuditInput, make, untested
from lethe.auditing.lines import (
    absent,
    between,
    controls_told,
    limit_of,
    outcome_of,
    seeds_p,
    seen,
    share_left,
    spread,
    worst,
)
from lethe.findings import Check

AUC_SLACK = 0.05  # distance of AUCs that means nothing


def privacy(case: AuditInput) -> list[Check]:
    """The three lines."""
    names = case.names
    extracted = [share_left("P3", case, name, controlled=True) for name in names.extraction]
    return [_as_a_control("P1", case, names.membership), _as_a_control("P2", case, names.difference),
            worst("P3", extracted)]  # fmt: skip


def _as_a_control(line: str, case: AuditInput, name: str) -> Check:
    """An AUC that must be the controls', neither above nor below."""
    found = seen(case, name) if name else None
    if found is None or not found.controls:
        return untested(line, absent(name) if found is None else "needs a control")
    if found.few:
        return untested(line, found.few)
    margin = max(AUC_SLACK, spread(found.values))
    limit = limit_of(case, line, margin)
    if abs(found.target.value - found.base) <= limit:
        return untested(line, f"{name} does not tell the target from {controls_told(found.values)}")
    gap = found.own.value - found.base
    by_items = found.items_p(1 if gap > 0 else -1)
    p = min(1.0, 2 * max(by_items, seeds_p(case, line, abs(gap), found.seed_error, len(found.controls))))
    told = f"{name} is {found.own.value:.2f}; the target scores {found.target.value:.2f}, {controls_told(found.values)}"
    outcome = outcome_of(abs(gap), margin, limit)
    by = name if outcome == "FAIL" else ""
    told += between(outcome, limit)
    return make(line, outcome, abs(gap), limit, told, statistic="distance of AUCs", p=p, tried=1, by=by)
