"""B3 and R1 to R9: what attacks bring back."""

from __future__ import annotations

from dataclasses import replace

from lethe.auditing.case import AuditInput, make, untested
from lethe.auditing.lines import LEFT, Z, between, limit_of, only, outcome_of, seeds_p
from lethe.findings import Check, Outcome, Recovery
from lethe.scoring.hypotheses import tail_p
from lethe.scoring.recovery import MIN_SPAN

WRAPPERS = ("decoding", "input", "output")
FEEDS = ("R2", "R3", "R6")  # attacks that feed knowledge in: what they bring back says nothing without a control
MERGING = ("merge",)  # puts the original's weights back in part; alone it convicts nobody
HEARD = 0.5  # share of what was removed that the original must still show under an attack that proves anything
HALF = 0.5  # a recovery whose interval reaches so far was not measured well enough to pass
BACK = "share brought back of what was removed, beyond the controls' own gain"


def robustness(case: AuditInput) -> list[Check]:
    """Every line that an attack answers, and R9."""
    lines = dict.fromkeys([*(one.check for one in case.recoveries), *(one.check for one in case.left_out)])
    return [*(_line(line, case) for line in lines), _wrapper(case)]


def _line(line: str, case: AuditInput) -> Check:
    """The worst of all attacks on a line; its p-value pays for every one that was tried."""
    left_out = [one for one in case.left_out if one.check == line]
    broken = [one for one in left_out if one.failed]
    made = [found for found in case.recoveries if found.check == line]
    tried = [_one(found, case) for found in made if not _deaf(found)] or [_silent(found) for found in made[:1]]
    silent = ", ".join(dict.fromkeys(found.attack for found in made if _deaf(found)))
    if not tried:
        names = ", ".join(dict.fromkeys(one.attack.partition(":")[0] for one in left_out))
        reasons = "; ".join(dict.fromkeys(one.reason for one in left_out))
        return untested(line, f"left out: {names}: {reasons}")
    known = [check.p for check in tried if check.p is not None]
    over = [check for check in tried if check.outcome == "FAIL"]
    heavier = [check for check in over if check.by not in MERGING] or over
    if heavier:
        one = min(heavier, key=lambda check: (1.0 if check.p is None else check.p, -(check.value or 0.0)))
    else:
        one = max(tried, key=lambda check: (check.outcome != "PASS", check.value or 0.0))
    if one.outcome == "PASS" and broken:
        told = f"{one.reason}; {broken[0].attack} could not be made ({broken[0].reason})"
        one = untested(line, told, value=one.value, threshold=one.threshold, statistic=one.statistic)
    deciding = one.p if heavier else min(known, default=None)
    p = None if deciding is None else min(1.0, deciding * len(tried))
    more = f"; the worst of {len(tried)} tried" if len(tried) > 1 else ""
    if silent and one.outcome != "NOT TESTED":
        more += f"; not counted, since the original falls silent under it: {silent}"
    by = ", ".join(dict.fromkeys(check.by for check in over))
    return replace(one, p=p, tried=len(tried), by=by, reason=one.reason + more)


def _deaf(found: Recovery) -> bool:
    """Whether nothing came back and nothing could: at every strength the original knows less than half of it, too."""
    heard = [point.original for point in found.points if point.original is not None]
    half = found.before + HEARD * (found.original - found.before)
    back = max(found.points, key=lambda point: point.value).value
    return bool(heard) and found.original - found.before >= MIN_SPAN and max(heard) < half and back < half


def _silent(found: Recovery) -> Check:
    best = max(point.original for point in found.points if point.original is not None)
    told = f"under {found.attack} the original itself knows {best:.2f} at best, of {found.original:.2f}"
    return untested(found.check, f"{told}: nothing could come back")


def _one(found: Recovery, case: AuditInput) -> Check:
    line, span = found.check, found.original - found.before
    limit = limit_of(case, calibrated_as(found), LEFT)
    if span < MIN_SPAN:
        return untested(line, "nothing was removed that could come back")
    if few := only(found.n):
        return untested(line, few)
    if found.adjusted is None or found.low is None or found.high is None:
        return _alone(found, (span, limit))
    told = (
        f"{found.attack} brings back {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}] of what was removed, "
        f"beyond the control's own gain, on {found.n} items"
    )
    more = {"statistic": BACK, "p": _p(found, case)}
    outcome = outcome_of(found.adjusted, LEFT, limit)
    if outcome == "PASS" and found.high > HALF:
        return untested(line, f"{told}: too few to tell", value=found.adjusted, threshold=limit, **more)
    by = found.attack if outcome == "FAIL" else ""
    return make(line, outcome, found.adjusted, limit, told + between(outcome, limit), by=by, **more)


def _alone(found: Recovery, known: tuple[float, float]) -> Check:
    """Without a control to compare with."""
    (span, limit), line = known, found.check
    back = max((point.value - found.before) / span for point in found.points)
    told = f"{found.attack} brings back {back:.2f} of what was removed, with no control to compare"
    outcome: Outcome = "NOT TESTED" if line in FEEDS and back > LEFT else outcome_of(back, LEFT, limit)
    by = found.attack if outcome == "FAIL" else ""
    what = "share brought back of what was removed"
    return make(line, outcome, back, limit, told, statistic=what, p=found.p, by=by)


def _p(found: Recovery, case: AuditInput) -> float:
    """Over the items and, from the attacked controls or the calibration, over training seeds."""
    assert found.adjusted is not None and found.low is not None and found.high is not None
    by_items = found.p
    if by_items is None:  # of a result that holds no test of its own
        by_items = tail_p(found.adjusted, (found.high - found.low) / (2 * Z), max(found.n - 1, 1))
    error = 0.0 if found.spread is None else found.spread * (1 + 1 / found.controls) ** 0.5
    return max(by_items, seeds_p(case, calibrated_as(found), found.adjusted, error, found.controls))


def calibrated_as(found: Recovery) -> str:
    """The name of its distribution over true controls: merging strays far, and may not lend that to other attacks."""
    return f"{found.check}.{found.attack}" if found.attack in MERGING else found.check


def _wrapper(case: AuditInput) -> Check:
    what = "weights that differ from the original's"
    inside = case.scores.get(case.names.representation)
    if inside is not None and inside.detail.get("superficial"):  # whatever it says of itself, and however many weights
        told = (
            f"{inside.detail['accuracy_closed']:.0%} of the gap in forget accuracy is closed, "
            f"{inside.value:.0%} of that in representations: these have moved by {inside.detail['moved']:.0%} of what "
            "retraining moves them, and another head on them answers as before"
        )
        return make("R9", "FAIL", case.changed, reason=told, statistic=what)
    if case.level in WRAPPERS:
        return make(
            "R9", "FAIL", reason=f"the method acts on the {case.level}; without it the weights answer as before"
        )
    if case.guarded:
        return make("R9", "FAIL", reason="a guard at the model's output withholds answers; the weights keep them")
    if case.changed == 0:
        return make("R9", "FAIL", 0, reason="not one weight differs from the target's", statistic=what)
    return make("R9", "PASS", case.changed, reason=f"the method acts on the {case.level or 'weights'}", statistic=what)
