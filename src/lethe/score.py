"""A score is data: the number with everything that is needed to read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lethe.scoring.intervals import bootstrap

Direction = Literal["lower", "higher", "control"]


@dataclass(frozen=True)
class Score:
    """One measured number.

    `direction` says where the ideal lies: "lower", "higher", or "control" (the value of a model never trained on the
    forget set). `low` and `high` bound a 95 % interval (bootstrap over items unless `detail` says otherwise).
    """

    metric: str
    variant: str
    set: str
    value: float
    low: float
    high: float
    n: int
    direction: Direction
    range: tuple[float, float]
    unit: str = ""
    reference: float | None = None  # the control's value, where there is one
    seed: int | None = None
    items: tuple[float, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Qualified name such as `rougeL_recall.stem@forget`; numbers of different names never share a column."""
        return f"{self.metric}{'.' + self.variant if self.variant else ''}@{self.set}"


def score_of_items(
    metric: str,
    items: Sequence[float] | np.ndarray,
    *,
    set: str,
    direction: Direction,
    range: tuple[float, float],
    variant: str = "",
    unit: str = "",
    reference: float | None = None,
    seed: int = 0,
    **detail: Any,
) -> Score:
    """The mean of per-item values with its percentile-bootstrap interval over the items."""
    values = np.asarray(items, dtype=np.float64)
    low, high = bootstrap(values, seed=seed)
    return Score(
        metric, variant, set, float(values.mean()), low, high, len(values), direction, range, unit,
        reference=reference, items=tuple(values.tolist()), detail=detail,
    )  # fmt: skip
