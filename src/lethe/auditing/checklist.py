"""The intention-aligned checklist (SoK, arXiv 2506.09227, section 4, in a first form): scores in, checks out.

Every line of the list is returned by every audit. What was not measured is NOT TESTED with the reason, and so is what
was measured without the power to fail: too few items, or controls so far apart that even the untouched target would
pass. Thresholds are this module's constants; they were set on tiny worlds, where controls stay well inside them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lethe.auditing.case import TITLES, AuditInput, make
from lethe.findings import Check, Outcome, Recovery
from lethe.scoring.intervals import control_threshold
from lethe.scoring.recovery import MIN_SPAN

LEFT = 0.2  # share of what the target knows beyond a control that may be left, or come back
LEFT_ALONE = 0.5  # the same without a control, where what anybody would know cannot be taken off
KEPT = 0.9  # share of the controls' utility that must be kept
KEPT_AT_LEAST = 0.8  # the same where controls are far apart: two of them alone would excuse 15 times their spread
COLLAPSED = 0.5  # share of it below which a model counts as broken
SPREAD_FLOOR = 0.01  # smallest spread of control distances to believe, as a share of the target's distance
AUC_SLACK = 0.05  # distance of membership AUCs that means nothing
WRAPPERS = ("decoding", "input", "output")
FEEDS = ("R3", "R6")  # attacks that feed knowledge in: what they bring back says nothing without a control
ENOUGH_SEEDS = 3
# Fewest items to decide by. One item's bootstrap interval has no width, and that of two is as narrow as they happen to
# agree. Among eight records the fifth (LEFT) that may still be known shows at least once in 1 - 0.8^8 = 83 % of draws.
ENOUGH_ITEMS = 8
SEVERITY: dict[Outcome, int] = {"NOT TESTED": 0, "PASS": 1, "FAIL": 2}


def checklist(case: AuditInput) -> tuple[Check, ...]:
    """Every line of the list, in its order."""
    names = case.names
    made = [
        _reference(case),
        _left("B1", case, names.knowledge),
        _left("B2", case, names.generation),
        _left("B5", case, names.probability),
        _avoided(case),
        _share_kept("B7", case, names.fluency, COLLAPSED),
        _share_kept("U1", case, names.retain, KEPT),
        _share_kept("U2", case, names.utility, KEPT),
        _seeds(case),
        _against_noise(case),
        *(_recovered(name, case) for name in dict.fromkeys(recovery.check for recovery in case.recoveries)),
        _wrapper(case),
        _closeness(case),
        _membership(case),
    ]
    found: dict[str, Check] = {name: make(name, "NOT TESTED", reason="not attempted") for name in TITLES}
    for check in [*case.given, *made]:
        known = found.get(check.id)
        if known is None or SEVERITY[check.outcome] >= SEVERITY[known.outcome]:
            found[check.id] = check
    return tuple(found.values())


def _values(case: AuditInput, name: str) -> tuple[float | None, float | None, np.ndarray]:
    """A score of the audited model, of the target, and of the controls that have it."""
    own, target = case.scores.get(name), case.target.get(name)
    controls = [control[name].value for control in case.controls if name in control]
    return own and own.value, target and target.value, np.array(controls)


def _few(case: AuditInput, name: str) -> str:
    """Why a score rests on too few items to decide anything; "" if it does not."""
    measured = [scores[name] for scores in (case.scores, case.target, *case.controls) if name in scores]
    return _only(min(min(score.n, score.detail.get("n_against", score.n)) for score in measured))


def _only(items: int) -> str:
    return f"only {items} item{'s' * (items != 1)}" if items < ENOUGH_ITEMS else ""


def _spread(controls: np.ndarray, metrics: int = 1) -> float:
    """Distance from the controls' mean at which one more control would still stand, 95 % over all metrics together."""
    return control_threshold(len(controls), metrics) * float(controls.std(ddof=1)) if len(controls) > 1 else 0.0


def _reference(case: AuditInput) -> Check:
    _, target, controls = _values(case, case.names.knowledge)
    if target is None or not len(controls):
        return make("I5", "NOT TESTED", reason="there is no control, so nothing shows what was to be forgotten")
    if few := _few(case, case.names.knowledge):
        return make("I5", "NOT TESTED", reason=few)
    gap = target - float(controls.mean())
    limit = max(MIN_SPAN, float(controls.std(ddof=1)) if len(controls) > 1 else 0.0)
    told = f"the target scores {target:.2f}, {_controls(controls)}"
    if gap < limit:
        return make("I5", "FAIL", gap, limit, f"{told}: no more apart than chance or another seed brings")
    if len(controls) < 2:
        return make("I5", "NOT TESTED", gap, limit, f"{told}; one control shows no spread over seeds")
    return make("I5", "PASS", gap, limit, told)


def _left(line: str, case: AuditInput, name: str) -> Check:
    own, target, controls = _values(case, name)
    if own is None or target is None:
        return make(line, "NOT TESTED", reason=_absent(name))
    if few := _few(case, name):
        return make(line, "NOT TESTED", reason=few)
    base, limit = (float(controls.mean()), LEFT) if len(controls) else (0.0, LEFT_ALONE)
    if target - base < MIN_SPAN:
        return make(line, "NOT TESTED", reason=f"{name} does not tell the target from a control")
    left = (own - base) / (target - base)
    told = f"{name} is {own:.2f}; the target scores {target:.2f}, {_controls(controls)}"
    return make(line, "PASS" if left <= limit else "FAIL", left, limit, f"{told}: {left:.0%} is left")


def _avoided(case: AuditInput) -> Check:
    own, _, controls = _values(case, case.names.knowledge)
    if own is None or not len(controls):
        return make("B6", "NOT TESTED", reason="needs a control")
    if few := _few(case, case.names.knowledge):
        return make("B6", "NOT TESTED", reason=few)
    mean, limit = float(controls.mean()), max(MIN_SPAN, _spread(controls))
    if limit >= mean:
        return make("B6", "NOT TESTED", reason=f"{_controls(controls)}: too near 0 or too far apart to fall below")
    short = mean - own
    if short > limit and len(controls) == 1 and _overlap(case, case.names.knowledge):
        return make("B6", "NOT TESTED", short, limit, "below the one control, but within the items' chance")
    return make("B6", "FAIL" if short > limit else "PASS", short, limit, f"scores {own:.2f}, {_controls(controls)}")


def _overlap(case: AuditInput, name: str) -> bool:
    own, control = case.scores[name], next(control[name] for control in case.controls if name in control)
    return own.high >= control.low and control.high >= own.low


def _share_kept(line: str, case: AuditInput, name: str, least: float) -> Check:
    own, target, controls = _values(case, name)
    reference = float(controls.mean()) if len(controls) else target
    if own is None or not reference or reference <= 0:
        return make(line, "NOT TESTED", reason=_absent(name))
    share = own / reference
    fine = share >= least or (share >= KEPT_AT_LEAST and own >= reference - _spread(controls))
    who = _controls(controls) if len(controls) else f"the target scores {reference:.2f}"
    return make(line, "PASS" if fine else "FAIL", share, least, f"{name} is {own:.2f}, {who}: {share:.0%} is kept")


def _seeds(case: AuditInput) -> Check:
    fewest = min(case.seeds, len(case.controls))
    told = f"{case.seeds} of the method, {len(case.controls)} of the controls"
    return make("S1", "PASS" if fewest >= ENOUGH_SEEDS else "NOT TESTED", fewest, ENOUGH_SEEDS, told)


def _against_noise(case: AuditInput) -> Check:
    own, _, _ = _values(case, case.names.knowledge)
    noise = case.floors.get("noise", {}).get(case.names.knowledge)
    if own is None or noise is None:
        return make("S4", "NOT TESTED", reason="needs the noise floor")
    told = f"scores {own:.2f}, random noise at about the methods' retain loss {noise.value:.2f}"
    return make("S4", "PASS" if own <= noise.value - MIN_SPAN else "FAIL", own, noise.value - MIN_SPAN, told)


def _recovered(line: str, case: AuditInput) -> Check:
    tried = [_one_recovery(recovery) for recovery in case.recoveries if recovery.check == line]
    worst = max(tried, key=lambda check: (check.outcome == "FAIL", check.outcome != "PASS", check.value or 0.0))
    if len(tried) == 1:
        return worst
    return replace(worst, reason=f"{worst.reason}; the worst of {len(tried)} tried")


def _one_recovery(found: Recovery) -> Check:
    line, span = found.check, found.original - found.before
    if span < MIN_SPAN:
        return make(line, "NOT TESTED", reason="nothing was removed that could come back")
    if few := _only(found.n):
        return make(line, "NOT TESTED", reason=few)
    if found.adjusted is None or found.low is None or found.high is None:
        back = max((point.value - found.before) / span for point in found.points)
        told = f"{found.attack} brings back {back:.2f} of what was removed, with no control to compare"
        outcome = "PASS" if back <= LEFT else "NOT TESTED" if line in FEEDS else "FAIL"
        return make(line, outcome, back, LEFT, told)
    told = (
        f"{found.attack} brings back {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}] of what was removed, "
        f"beyond the control's own gain, on {found.n} items"
    )
    if found.adjusted > LEFT and found.low > 0:
        return make(line, "FAIL", found.adjusted, LEFT, told)
    if found.adjusted > LEFT or found.high > 0.5:
        return make(line, "NOT TESTED", found.adjusted, LEFT, f"{told}: too few to tell")
    return make(line, "PASS", found.adjusted, LEFT, told)


def _wrapper(case: AuditInput) -> Check:
    if case.level in WRAPPERS:
        told = f"the method acts on the {case.level}; without it the weights answer as before"
        return make("R9", "FAIL", reason=told)
    if case.guarded:
        told = "a guard at the model's output withholds answers; the weights keep them"
        return make("R9", "FAIL", reason=told)
    if case.changed == 0:
        return make("R9", "FAIL", 0, reason="not one weight differs from the target's")
    return make("R9", "PASS", case.changed, reason=f"the method acts on the {case.level or 'weights'}")


def _closeness(case: AuditInput) -> Check:
    rows = [(name, *_values(case, name)) for name in case.names.distances]
    known = [
        (name, own, target, c) for name, own, target, c in rows if own is not None and target is not None and len(c) > 1
    ]
    if not known:
        return make("N4", "NOT TESTED", reason="needs distances to at least two controls, and of those to each other")
    threshold = control_threshold(min(len(controls) for *_, controls in known), len(known))
    least = SPREAD_FLOOR * max(target - float(controls.mean()) for _, _, target, controls in known)
    own = {name: _z(value, controls, least) for name, value, _, controls in known}
    target = max(_z(value, controls, least) for _, _, value, controls in known)
    if target <= threshold:
        return make("N4", "NOT TESTED", target, threshold, "the controls are so far apart that the target would pass")
    name = max(own, key=lambda each: own[each])
    told = f"{name} is {own[name]:.1f} control spreads too far from the controls, the target {target:.1f}"
    return make("N4", "PASS" if own[name] <= threshold else "FAIL", own[name], threshold, told)


def _z(value: float, controls: np.ndarray, least: float) -> float:
    """Seed spreads by which a distance exceeds the controls' own; nearer than they are is no fault."""
    gap = max(0.0, value - float(controls.mean()))
    spread = max(float(controls.std(ddof=1)), least)
    return gap / spread if spread > 0 else float("inf") if gap > 0 else 0.0


def _membership(case: AuditInput) -> Check:
    name = case.names.membership
    own, target, controls = _values(case, name)
    if own is None or target is None or not len(controls):
        return make("P1", "NOT TESTED", reason=_absent(name) if len(controls) else "needs a control")
    if few := _few(case, name):
        return make("P1", "NOT TESTED", reason=few)
    mean, limit = float(controls.mean()), max(AUC_SLACK, _spread(controls))
    if abs(target - mean) <= limit:
        return make("P1", "NOT TESTED", reason=f"{name} does not tell the target from {_controls(controls)}")
    gap = abs(own - mean)
    told = f"{name} is {own:.2f}; the target scores {target:.2f}, {_controls(controls)}"
    if gap > limit and len(controls) == 1 and _overlap(case, name):
        return make("P1", "NOT TESTED", gap, limit, f"{told}: within the items' chance")
    return make("P1", "PASS" if gap <= limit else "FAIL", gap, limit, told)


def _controls(controls: np.ndarray) -> str:
    if not len(controls):
        return "there is no control"
    if len(controls) == 1:
        return f"a control {controls[0]:.2f}"
    return f"{len(controls)} controls {controls.mean():.2f} ± {controls.std(ddof=1):.2f}"


def _absent(name: str) -> str:
    return f"{name} was not measured" if name else "not attempted"
