"""Do reverse and forward BPR together forget withdrawn items as retraining does, and sooner?"""

from __future__ import annotations

import numpy as np

from lethe.evidence import Evidence
from lethe.headlines.unlearnrec_requests import CONTROLS, mean, seen, timed
from lethe.measure import compute
from lethe.registry import find, headline
from lethe.task import Task


@headline(
    paper="2405.15328",
    expects={
        "distance of the gap closed from 1, MMRecUn": ("<=", 0.2),
        "times faster than retraining, MMRecUn": (">=", 1.3),
        "recall of held-out purchases over the retrained model's, MMRecUn": (">=", 0.95),
        "rank of withdrawn items less the retrained model's, share of the catalogue, MMRecUn": (">=", -0.05),
        "gain in recall over reverse alone, share": (">=", 0.0),
        "gain in recall over ascent, share": (">=", 0.0),
    },
)
def mmrecun_gap(*, seed: int) -> dict[str, float]:
    """Reverse and forward BPR together close the gap to retraining on withdrawn items, sooner than retraining does.

    VBPR on the shop whose items show covers and blurbs is to forget a twentieth of its items. Recall is at 20, of the
    withdrawn purchases (the gap closed is the fall of it, over the fall to the mean of three retrained models) and of
    held-out purchases of the other items. Reverse alone is the same recipe with alpha = 1, ascent the same with BPR
    ascended on the withdrawn purchases alone. Times are seconds of one processor.
    """
    return gap_on(find("benchmark", "mmrec").function(split="items", seed=seed), seed)


def gap_on(task: Task, seed: int) -> dict[str, float]:
    """The figures of the claim on a task of a recommender whose presets hold `retrain` and `mmrecun`."""
    assert task.control is not None
    target, request, preset = task.target(seed), task.request, dict(task.presets["mmrecun"])
    controls = [seen(task, task.control(number)) for number in range(1, CONTROLS + 1)]
    recipe = {name: value for name, value in preset.items() if name not in ("alpha", "rebuild_graph")}
    ways = {
        "MMRecUn": ("mmrecun", preset),
        "reverse alone": ("mmrecun", {**preset, "alpha": 1.0}),
        "ascent": ("ga", {**recipe, "retain": "none"}),
        "fine-tuning": ("finetune", recipe),
    }
    _, retraining = timed(lambda: find("method", "retrain").function(target, request, **task.presets["retrain"]))
    start, catalogue = seen(task, target), target.net.items  # pyright: ignore[reportAttributeAccessIssue]
    known, unknown = compute("recall:set=forget", start).value, mean("recall:set=forget", controls)
    usual, low = mean("recall:set=test", controls), float(np.mean([ranks(one) for one in controls]))
    figures = {
        "retraining, s": retraining,
        "recall of withdrawn purchases, target": known,
        "recall of withdrawn purchases, retrained": unknown,
        "recall of held-out purchases, target": compute("recall:set=test", start).value,
        "recall of held-out purchases, retrained": usual,
    }
    recalls: dict[str, float] = {}
    for label, (name, options) in ways.items():
        method = find("method", name).function
        model, seconds = timed(lambda method=method, options=options: method(target, request, **options))
        evidence = seen(task, model)
        left, recalls[label] = (compute(f"recall:set={name}", evidence).value for name in ("forget", "test"))
        closed = (known - left) / (known - unknown)
        figures |= {
            f"recall of withdrawn purchases, {label}": left,
            f"gap closed, {label}": closed,
            f"distance of the gap closed from 1, {label}": abs(1 - closed),
            f"recall of held-out purchases over the retrained model's, {label}": recalls[label] / usual,
            f"rank of withdrawn items less the retrained model's, share of the catalogue, {label}": (
                ranks(evidence) - low
            ) / catalogue,
            f"times faster than retraining, {label}": retraining / seconds,
        }  # fmt: skip
    for label in ("reverse alone", "ascent"):
        figures[f"gain in recall over {label}, share"] = recalls["MMRecUn"] / max(recalls[label], 1e-9) - 1
    return figures


def ranks(evidence: Evidence) -> float:
    """Mean place of the withdrawn items in their users' lists."""
    return compute("forget_rank", evidence).value
