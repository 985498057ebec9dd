"""What the report says of a membership split that was also scored without any model."""

from __future__ import annotations

from lethe.report.numbers import interval, number
from lethe.runs.results import Blind

MEANING = {
    "confounded": "Confounded split: members and non-members can be told apart without any model, so membership AUCs "
    "on it say nothing of forgetting.",
    "undecided": "Whether the split can be told apart without a model is undecided: too few texts.",
    "clean": "No classifier of the texts alone tells members from non-members.",
    "not tested": "Whether the split can be told apart without a model was not tested.",
}


def told(blind: Blind | None) -> str:
    """The verdict on the split with the AUC of every blind classifier; "" where membership is not measured on texts."""
    if blind is None:
        return ""
    areas = [f"{name} {number(auc, 2)} {interval(low, high, 2)}" for name, (auc, low, high) in blind.baselines.items()]
    known = f" Blind AUC: {', '.join(areas)}." if areas else f" {blind.reason}"
    return f"{MEANING[blind.verdict]}{known}"
