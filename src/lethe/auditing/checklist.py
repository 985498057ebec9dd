"""The intention-aligned checklist (SoK, arXiv 2506.09227, section 4): scores and recoveries in, checks out.

Every line of the list is returned by every audit. What was not measured is NOT TESTED with what it would take, and so
is what was measured without the power to fail: too few items, or controls so far apart that even the untouched target
would pass. A failure that could be chance among so many lines (Holm's correction) is NOT TESTED as well, never passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lethe.auditing.behaviour import behaviour
from lethe.auditing.case import TITLES, AuditInput, untested
from lethe.auditing.internals import internals
from lethe.auditing.operations import operations
from lethe.auditing.privacy import privacy
from lethe.auditing.robustness import robustness
from lethe.auditing.thresholds import ALPHA
from lethe.auditing.utility import utility
from lethe.findings import Check, Outcome
from lethe.scoring.hypotheses import holm

FAMILY = "BPRN"  # lines that are corrected together; what must stay fails without proof, and the rest is no test
SEVERITY: dict[Outcome, int] = {"NOT TESTED": 0, "PASS": 1, "FAIL": 2}


def checklist(case: AuditInput) -> tuple[Check, ...]:
    """Every line of the list, in its order."""
    made = [*behaviour(case), *utility(case), *privacy(case), *robustness(case), *internals(case), *operations(case)]
    found: dict[str, Check] = {name: untested(name) for name in TITLES}
    for check in [*case.given, *corrected(made)]:
        known = found.get(check.id)
        if known is None or SEVERITY[check.outcome] >= SEVERITY[known.outcome]:
            found[check.id] = check
    return tuple(found.values())


def corrected(checks: Sequence[Check]) -> list[Check]:
    """The checks after Holm's correction over all tested lines of behaviour, privacy, robustness and internals."""
    tested = [
        check for check in checks if check.id[0] in FAMILY and check.outcome != "NOT TESTED" and check.p is not None
    ]
    adjusted = {check.id: float(p) for check, p in zip(tested, holm([check.p or 0.0 for check in tested]), strict=True)}
    return [_sure(check, adjusted.get(check.id), len(tested)) for check in checks]


def _sure(check: Check, p: float | None, lines: int) -> Check:
    if p is None:
        return check
    if check.outcome == "FAIL" and p > ALPHA:
        told = f"{check.reason}; p = {p:.2g} over {lines} lines: it may be chance"
        return replace(check, outcome="NOT TESTED", p_adjusted=p, reason=told)
    return replace(check, p_adjusted=p)
