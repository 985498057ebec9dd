"""U1 to U6: what must stay."""

from __future__ import annotations

from lethe.auditing.case import AuditInput, make, untested
from lethe.auditing.lines import absent, controls_told, seeds_p, seen, spread
from lethe.findings import Check

KEPT = 0.9  # share of the controls' utility that must be kept
KEPT_AT_LEAST = 0.8  # the same where controls are far apart: two of them alone would excuse 15 times their spread
COLLAPSED = 0.5  # share of it below which a model counts as broken
ERROR_SLACK = 0.1  # calibration error beyond the controls' that means nothing on a few dozen tokens


def utility(case: AuditInput) -> list[Check]:
    """The lines that scores can answer; U3 to U5 need tasks of their own."""
    names = case.names
    return [
        share_kept("U1", case, names.retain, KEPT),
        share_kept("U2", case, names.utility, KEPT),
        _calibrated(case),
    ]


def share_kept(line: str, case: AuditInput, name: str, least: float) -> Check:
    """The score as a share of the controls' (or, without any, the target's)."""
    found = seen(case, name) if name else None
    reference = None if found is None else found.base if found.controls else found.target.value
    if found is None or not reference or reference <= 0:
        return untested(line, absent(name))
    own = found.own.value
    share = own / reference
    fine = share >= least or (share >= KEPT_AT_LEAST and own >= reference - spread(found.values))
    who = controls_told(found.values) if found.controls else f"the target scores {reference:.2f}"
    p = None
    if line[0] == "B":  # of the family that is corrected; of what must stay a small loss counts, sure or not
        lost = seeds_p(case, line, 1 - share, found.seed_error / reference, len(found.controls))
        p = max(found.items_p(-1), lost)
    told = f"{name} is {own:.2f}, {who}: {share:.0%} is kept"
    what = "share kept of the controls'" if found.controls else "share kept of the target's"
    return make(line, "PASS" if fine else "FAIL", share, least, told, statistic=what, p=p, tried=1)


def _calibrated(case: AuditInput) -> Check:
    found = seen(case, case.names.calibration) if case.names.calibration else None
    if found is None:
        return untested("U6", absent(case.names.calibration))
    if found.few:
        return untested("U6", found.few)
    reference = found.base if found.controls else found.target.value
    limit = max(ERROR_SLACK, spread(found.values))
    more = found.own.value - reference
    who = controls_told(found.values) if found.controls else f"the target {reference:.2f}"
    told = f"the expected calibration error is {found.own.value:.2f}, {who}"
    return make("U6", "PASS" if more <= limit else "FAIL", more, limit, told, statistic="error beyond the controls'")
