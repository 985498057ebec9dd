"""I5 and B1 to B7: what the model says."""

from __future__ import annotations

from lethe.auditing.case import AuditInput, make, untested
from lethe.auditing.lines import between, controls_told, limit_of, outcome_of, seeds_p, seen, share_left, spread, worst
from lethe.auditing.utility import share_kept
from lethe.findings import Check
from lethe.scoring.recovery import MIN_SPAN

CHOICES = "multiple_choice"
GIBBERISH = 0.5  # share of the controls' fluency below which answers count as no text


def behaviour(case: AuditInput) -> list[Check]:
    """The lines of this page but B3, which attacks answer."""
    names = case.names
    return [
        _reference(case),
        share_left("B1", case, names.knowledge),
        _generated(case),
        worst("B4", [share_left("B4", case, name) for name in names.leaks]),
        share_left("B5", case, names.probability),
        _avoided(case),
        share_kept("B7", case, names.fluency, GIBBERISH),
    ]


def _reference(case: AuditInput) -> Check:
    found = seen(case, case.names.knowledge)
    if found is None or not found.controls:
        return untested("I5")
    if found.few:
        return untested("I5", found.few)
    gap = found.target.value - found.base
    limit = max(MIN_SPAN, float(found.values.std(ddof=1)) if len(found.controls) > 1 else 0.0)
    told = f"the target scores {found.target.value:.2f}, {controls_told(found.values)}"
    what = "what the target scores beyond the controls"
    if gap < limit:
        reason = f"{told}: no more apart than chance or another seed brings"
        return make("I5", "FAIL", gap, limit, reason, statistic=what)
    if len(found.controls) < 2:
        return untested("I5", f"{told}; one control shows no spread over seeds", value=gap, threshold=limit)
    return make("I5", "PASS", gap, limit, told, statistic=what)


def _generated(case: AuditInput) -> Check:
    if case.names.generation:
        return share_left("B2", case, case.names.generation)
    knowledge = case.scores.get(case.names.knowledge)
    if knowledge is not None and knowledge.metric == CHOICES:
        told = "only multiple choice was asked, which a lost letter passes; give questions that are answered openly"
        return make("B2", "FAIL", reason=told, by=CHOICES)
    return untested("B2")


def _avoided(case: AuditInput) -> Check:
    found = seen(case, case.names.knowledge)
    if found is None or not found.controls:
        return untested("B6", "needs a control")
    if found.few:
        return untested("B6", found.few)
    margin = max(MIN_SPAN, spread(found.values))
    limit = limit_of(case, "B6", margin)
    if limit >= found.base:
        return untested("B6", f"{controls_told(found.values)}: too near 0 or too far apart to fall below")
    short = found.base - found.own.value
    p = max(found.items_p(-1), seeds_p(case, "B6", short, found.seed_error, len(found.controls)))
    told = f"scores {found.own.value:.2f}, {controls_told(found.values)}"
    what = "how far the score falls below the controls"
    outcome = outcome_of(short, margin, limit)
    return make("B6", outcome, short, limit, told + between(outcome, limit), statistic=what, p=p, tried=1)
