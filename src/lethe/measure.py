"""Metric calls of the form `name:option=value,...` applied to evidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import bind, find, parse_call
from lethe.score import Score


def measure(
    calls: Iterable[str], evidence: Evidence, controls: Sequence[Evidence] = (), original: Evidence | None = None
) -> tuple[Score, ...]:
    """Every metric that can be measured, once; those that compare with a control are left out where there is none.

    Args:
        calls: Metric calls such as `truth_ratio:set=forget,variant=geometric`.
        evidence: What was observed of the model.
        controls: Evidence of models trained without the forget set, for metrics that compare.
        original: Evidence of the model before unlearning, for metrics that say what has changed.
    """
    return tuple(compute(call, evidence, controls, original) for call in measurable(calls, bool(controls)))


def measurable(calls: Iterable[str], control: bool) -> list[str]:
    """The calls that need no control, or all of them if there is one."""
    return [call for call in calls if control or "control" not in find("metric", parse_call(call)[0]).requires]


def compute(
    call: str, evidence: Evidence, controls: Sequence[Evidence] = (), original: Evidence | None = None
) -> Score:
    """One metric call.

    Raises:
        InputError: On an unknown metric or option, or evidence that does not hold what the metric reads.
    """
    name, given = parse_call(call)
    card = find("metric", name)
    if card.families and evidence.family not in card.families:
        raise InputError(f"The metric {name} is for {', '.join(card.families)}, not for a {evidence.family} model.")
    options = bind(card.function, given)
    wanted = options.get("set", card.options()["set"].default)
    if wanted != "utility" and wanted not in evidence.index:
        raise InputError(f"{call} reads the set {wanted!r}; observed were {', '.join(evidence.sets())}.")
    beside = (controls, original) if "original" in card.requires else (controls,)
    return card.function(evidence, *beside, **options)
