"""O8 and S1 to S5: whether the audit can be repeated, and what its numbers rest on."""

from __future__ import annotations

from lethe.auditing.case import AuditInput, make, untested
from lethe.auditing.lines import Seen, seen
from lethe.findings import Check
from lethe.scoring.recovery import MIN_SPAN

ENOUGH_SEEDS = 3


def operations(case: AuditInput) -> list[Check]:
    """The lines that one audit can answer; O1 to O7 need several requests."""
    artefact = make("O8", "PASS", reason=case.artefact) if case.artefact else untested("O8")
    return [artefact, _seeds(case), _paired(case), _against_noise(case), _failed(case)]


def _seeds(case: AuditInput) -> Check:
    fewest = min(case.seeds, len(case.controls))
    told = f"{case.seeds} of the method, {len(case.controls)} of the controls"
    outcome = "PASS" if fewest >= ENOUGH_SEEDS else "NOT TESTED"
    return make("S1", outcome, fewest, ENOUGH_SEEDS, told, statistic="seeds, of method or controls the fewer")


def _paired(case: AuditInput) -> Check:
    found = [one for name in case.scores if (one := seen(case, name)) is not None]
    pairs = [one for one in found if one.paired]
    if not any(one.controls for one in found):
        return untested("S2", "needs a control")
    if not pairs:
        return untested("S2", "no score has an item for every record, in the model and in the controls")
    told = f"{len(pairs)} of {len(found)} scores are compared item by item with {_most(pairs)} controls"
    return make("S2", "PASS", len(pairs), reason=told, statistic="scores compared in pairs")


def _most(pairs: list[Seen]) -> int:
    return max(len(one.controls) for one in pairs)


def _against_noise(case: AuditInput) -> Check:
    own = case.scores.get(case.names.knowledge)
    noise = case.floors.get("noise", {}).get(case.names.knowledge)
    if own is None or noise is None:
        return untested("S4")
    told = f"scores {own.value:.2f}, random noise at about the methods' retain loss {noise.value:.2f}"
    limit = noise.value - MIN_SPAN
    outcome = "PASS" if own.value <= limit else "FAIL"
    return make("S4", outcome, own.value, limit, told, statistic="knowledge of the forget set")


def _failed(case: AuditInput) -> Check:
    if case.failed is None:
        return untested("S5")
    told = f"{case.failed} of the run's models failed, and every one stands in its table"
    return make("S5", "PASS", case.failed, reason=told, statistic="failed runs")
