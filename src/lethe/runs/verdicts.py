"""Rows with their verdicts: the audit sees each method beside the target, the controls and the floors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lethe.auditing.case import AuditInput, Names, by_name
from lethe.auditing.verdict import audit
from lethe.findings import Check, LeftOut, Verdict
from lethe.runs.results import Row
from lethe.score import Score

CLOSE = ("cka.control@forget",)  # read along with the distances: near in another sense


def judged(
    rows: Sequence[Row],
    knowledge: str,
    utility: str,
    required: str = "removal",
    given: Sequence[Check] = (),
    *,
    budget: str = "",
    left_out: Sequence[LeftOut] = (),
) -> list[Row]:
    """The rows, each method and floor with its verdict.

    Args:
        rows: All rows of a benchmark.
        knowledge: Qualified name of the knowledge score on the forget set.
        utility: Qualified name of the utility score.
        required: Intent of the request: removal, suppression, or unsure, which is read as removal.
        given: Checks made elsewhere, such as those of the intake.
        budget: What was paid for attacks; "" where they were named one by one.
        left_out: Attacks that no row was given.
    """
    target = next(row for row in rows if row.role == "target")
    runs = Counter(_without_seed(row) for row in rows if not row.failure)
    shared = AuditInput(
        claimed="",
        level="",
        names=names_of(target.scores, knowledge, utility),
        scores={},
        target=by_name(target.scores),
        controls=[by_name(row.scores) for row in rows if row.role == "control"],
        floors={row.method: by_name(row.scores) for row in rows if row.role == "floor"},
        given=given,
        required=required,
        budget=budget,
    )

    def verdict(row: Row) -> Verdict:
        return audit(
            replace(
                shared,
                claimed=row.card.get("intent", ""),
                level=row.card.get("level", ""),
                scores=by_name(row.scores),
                floors={name: scores for name, scores in shared.floors.items() if name != row.method},
                recoveries=row.recoveries,
                changed=row.changed,
                seeds=runs[_without_seed(row)],
                guarded=row.card.get("guard") == "yes",
                left_out=(*left_out, *row.left_out),
                artefact=row.card.get("artefact", ""),
                failed=sum(bool(other.failure) for other in rows) if row.card.get("made") == "here" else None,
            )
        )

    return [
        replace(row, verdict=verdict(row)) if row.role in ("method", "floor") and not row.failure else row
        for row in rows
    ]


def names_of(scores: Sequence[Score], knowledge: str, utility: str) -> Names:
    """Which of a benchmark's scores answers which question of the checklist; the first of its kind counts."""

    def first(metric: str, of: str) -> str:
        return next((score.name for score in scores if score.metric == metric and score.set == of), "")

    def having(of: str, *metrics: str) -> tuple[str, ...]:
        return tuple(score.name for score in scores if score.set == of and score.metric in metrics)

    def named(of: str, *starts: str) -> tuple[str, ...]:
        return tuple(score.name for score in scores if score.set == of and score.name.startswith(starts))

    return Names(
        knowledge=knowledge,
        utility=utility,
        generation=first("rouge", "forget"),
        probability=first("probability", "forget"),
        retain=first("probability", "retain") or first("accuracy", "retain") or first("recall", "retain"),
        fluency=first("fluency", "forget"),
        membership=first("membership", "forget"),
        distances=tuple(score.name for score in scores if score.metric == "distance" or score.name in CLOSE),
        leaks=having("forget", "leak"),
        calibration=first("calibration_error", "retain"),
        difference=first("membership_difference", "forget"),
        extraction=having("forget", "extraction_strength", "exact_memorization"),
        probe="".join(named("forget", "linear_probe.selectivity")[:1]),
        lens="".join(named("forget", "lens.reciprocal_rank")[:1]),
        trace="".join(named("forget", "concept_trace.retention", "concept_trace.jaccard")[:1]),
        gradient="".join(named("forget", "gradient_mass.forget")[:1]),
        representation="".join(named("forget", "representation_gap.cka")[:1]),
    )


def _without_seed(row: Row) -> str:
    return row.id.rpartition("-seed")[0]
