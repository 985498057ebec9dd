"""The few directions in which methods differ under all attacks: what one attack says, another may only repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lethe.errors import InputError
from lethe.report.heat import Heat, Spot
from lethe.report.numbers import finite
from lethe.report.tables import Column, Group
from lethe.scoring.tampering import Subspace, subspace, unlearning_score

LEAST = 3  # methods and attacks; of fewer the first directions say nothing that the table does not


@dataclass(frozen=True)
class Directions:
    """Principal components of the recovery, methods as rows and attacks as columns."""

    methods: tuple[str, ...]
    attacks: tuple[str, ...]
    found: Subspace
    weighted: bool  # by the methods' unlearning scores

    @property
    def shown(self) -> int:
        """Components worth a line: the first three, or as many as there are."""
        return min(3, len(self.found.shares))

    @property
    def told(self) -> str:
        """`The first 2 of 4 directions hold 93 % of the variance.`."""
        shares = self.found.shares[: self.shown]
        return f"{', '.join(f'{share:.0%}' for share in shares)}; together {float(shares.sum()):.0%}"


def directions(
    table: Heat, lines: Sequence[Group], knowledge: Column | None, utility: Column | None
) -> Directions | str:
    """The components, or why there are none; "" where nobody would ask.

    An attack counts at the worst setting. Methods count by their unlearning score, where target and control are known:
    one with nothing to bring back says nothing of attacks.

    Args:
        table: Recovery of every attack on every group.
        lines: The groups in the order of the columns' cells.
        knowledge: Knowledge of the forget set, with the control's.
        utility: What must stay.
    """
    recovery = np.array([[_value(strip.spots[i]) for strip in table.strips] for i in range(len(table.labels))])
    if min(recovery.shape, default=0) < LEAST or recovery.ndim < 2:
        return ""
    methods = [i for i in range(len(table.labels)) if np.isfinite(recovery[i]).sum() >= LEAST]
    attacks = [j for j in range(len(table.strips)) if methods and np.isfinite(recovery[methods, j]).all()]
    if len(methods) < LEAST or len(attacks) < LEAST:
        return f"Not shown: needs {LEAST} methods that are all measured under the same {LEAST} attacks."
    labels = tuple(table.labels[i] for i in methods)
    weights = _weights(labels, [line.label for line in lines], knowledge, utility)
    try:
        found = subspace(recovery[np.ix_(methods, attacks)], weights)
    except InputError as error:
        return f"Not shown: {error}"
    return Directions(labels, tuple(table.strips[j].attack for j in attacks), found, weights is not None)


def _value(spot: Spot) -> float:
    value = None if spot.curve is None else finite(spot.curve.adjusted)
    return float("nan") if value is None else value


def _weights(
    labels: Sequence[str], lines: Sequence[str], knowledge: Column | None, utility: Column | None
) -> list[float] | None:
    """Unlearning scores, none below 0; None where they cannot be told or leave fewer than two methods."""
    if knowledge is None or utility is None or knowledge.control.value is None:
        return None
    known, useful = (dict(zip(lines, (cell.value for cell in one.cells), strict=True)) for one in (knowledge, utility))
    original, before = known.get("target"), useful.get("target")
    if original is None or before is None:
        return None
    weights = []
    for label in labels:
        left, kept = known.get(label), useful.get(label)
        if left is None or kept is None:
            return None
        try:
            score = unlearning_score(
                original=original, unlearned=left, chance=knowledge.control.value, utility=kept, utility_before=before
            )
        except InputError:
            return None
        weights.append(max(0.0, score))
    return weights if sum(weight > 0 for weight in weights) > 1 else None
