"""RWKU's recall of short answers, by level and by kind of probe."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lethe.data.probes import cut
from lethe.errors import InputError
from lethe.evidence import Evidence
from lethe.registry import did_you_mean, metric
from lethe.score import Score, score_of_items
from lethe.scoring.rouge import rouge_l_rwku
from lethe.scoring.rwku import by_level


@metric(families={"language"}, needs={"generate"}, paper="2406.10890", variants=("all", "mean"))
def probe_recall(
    evidence: Evidence,
    controls: Sequence[Evidence] = (),
    *,
    set: str = "forget",
    variant: Literal["all", "mean"] = "all",
    level: str = "",
    kind: str = "",
) -> Score:
    """ROUGE-L recall of greedy answers up to their first line break, 0 to 1, averaged per target, then over targets.

    RWKU's definition: unique words, case kept, an empty answer is read as NOANSWER. The paper prints it x100. With a
    single target the interval is over its probes, else over the targets.

    Args:
        set: Probe set whose records hold `level`, `kind` and `entity` (the target).
        variant: all pools a target's probes, as published; mean is the plain mean of a target's levels.
        level: Only the probes of this level, 1 to 3; empty takes every one.
        kind: Only the probes of this kind, such as role playing; empty takes every one.

    Raises:
        InputError: If nothing was generated, or no probe has that level and kind.
    """
    said = evidence.generated(set)
    truths = [str(answer) for answer in evidence.column(set, "answer")]
    if len(said) != len(truths):
        raise InputError(f"probe_recall: nothing was generated for the set {set!r}; name it in the spec's `generate`.")
    recalls = rouge_l_rwku([cut(text) for text in said], truths)
    fields = {name: [str(one or "") for one in evidence.column(set, name)] for name in ("level", "kind", "entity")}
    wanted = {"level": level, "kind": kind}
    rows = [i for i in range(len(truths)) if all(not one or fields[name][i] == one for name, one in wanted.items())]
    if not rows:
        missing = next(name for name, one in wanted.items() if (one and one not in fields[name]) or name == "kind")
        near = did_you_mean(wanted[missing], sorted({*fields[missing]}))
        raise InputError(f"probe_recall: no probe of {set!r} has {missing} {wanted[missing]!r}{near}.")
    targets = _by_target(recalls, fields, rows)
    means = [by_level([levels]) for levels in targets]
    items = [m["all"] if variant == "all" else float(np.mean([m[one] for one in m if one != "all"])) for m in means]
    if len(targets) == 1 and (variant == "all" or len(targets[0]) == 1):
        items = recalls[rows]
    told = [f"level{level}"] * bool(level) + [kind] * bool(kind)
    named = ".".join(told) or variant
    direction = "control" if set.startswith(("forget", "holdout")) else "higher"
    return score_of_items(
        "probe_recall", items, variant=named if variant == "all" else ".".join([*told, variant]), set=set,
        direction=direction, range=(0, 1), targets=len(targets), probes=len(rows),
    )  # fmt: skip


def _by_target(recalls: np.ndarray, fields: dict[str, list[str]], rows: list[int]) -> list[dict[str, np.ndarray]]:
    """Per target the recalls of each level."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        levels = found.setdefault(fields["entity"][row], {})
        levels.setdefault(fields["level"][row] or "any", []).append(float(recalls[row]))
    return [{level: np.array(values) for level, values in levels.items()} for levels in found.values()]
