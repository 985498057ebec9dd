"""Does a pre-trained influence encoder serve a request in a fraction of the time of retraining, and as well?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from lethe.evidence import Evidence, observe
from lethe.measure import compute
from lethe.models.base import Model
from lethe.registry import find, headline
from lethe.scoring.interactions import efficiency
from lethe.task import Task

CONTROLS = 3


@headline(
    paper="2505.22649",
    expects={
        "times faster than retraining, without fine-tuning": (">=", 10.0),
        "times faster than retraining, fine-tuned": (">=", 5.0),
        "recall off the retrained model's, share, without fine-tuning": ("<=", 0.05),
        "recall off the retrained model's, share, fine-tuned": ("<=", 0.05),
        "score distance cut, without fine-tuning": (">=", 0.5),
        "score distance cut, fine-tuned": (">=", 0.5),
    },
)
def unlearnrec_requests(*, seed: int) -> dict[str, float]:
    """A pre-trained encoder serves a request ten times as fast as retraining, and comes as near to it.

    LightGCN on the embedded shop is to forget half of the purchases of sixty people. Retraining draws all weights anew
    by the recipe of the target. The encoder is pre-trained once, apart, on requests drawn from the graph; then the
    request is served by one forward pass, or with a few epochs of fine-tuning. Times are seconds of one processor.
    Recall is that of held-out purchases at 20, against the mean of three retrained models; the score distance is the
    mean absolute difference of the forgotten purchases' scores to the mean of theirs. Cut: by what share it falls of
    the target's. What deleting the edges alone gives stands beside.
    """
    return requests_on(find("benchmark", "shop").function(seed=seed), seed)


def requests_on(task: Task, seed: int) -> dict[str, float]:
    """The figures of the claim on a task of a recommender whose presets hold `retrain` and `unlearnrec`."""
    assert task.control is not None
    target, request = task.target(seed), task.request
    controls = [seen(task, task.control(number)) for number in range(1, CONTROLS + 1)]
    serve = find("method", "unlearnrec").function
    _, retraining = timed(lambda: find("method", "retrain").function(target, request, **task.presets["retrain"]))
    deleted = target.copy()
    deleted.without(request.forget)
    with TemporaryDirectory() as place:
        options = {**task.presets["unlearnrec"], "encoder": str(Path(place) / "encoder")}
        serve(target, request, **{**options, "finetune": 0})
        told = json.loads((Path(place) / "encoder" / "config.json").read_text(encoding="utf-8"))["pretraining"]
        served = {
            "without fine-tuning": timed(lambda: serve(target, request, **{**options, "finetune": 0})),
            "fine-tuned": timed(lambda: serve(target, request, **options)),
        }
    start = seen(task, target)
    before = compute("score_distance:set=forget", start, controls).value
    usual = mean("recall:set=test", controls)
    figures = {
        "retraining, s": retraining,
        "pre-training, s": told["processor_seconds"],
        "recall of the target": compute("recall:set=test", start).value,
        "recall of retrained models": usual,
        "recall of the forgotten, target": compute("recall:set=forget", start).value,
        "recall of the forgotten, retrained": mean("recall:set=forget", controls),
        "score distance of the target": before,
        "score distance of a retrained model to the others": compute(
            "score_distance:set=forget", controls[0], controls[1:]
        ).value,
    }
    for label, model in {"edges deleted": deleted, **{label: model for label, (model, _) in served.items()}}.items():
        evidence = seen(task, model)
        recall = compute("recall:set=test", evidence).value
        apart = compute("score_distance:set=forget", evidence, controls).value
        figures |= {
            f"recall off the retrained model's, share, {label}": abs(recall - usual) / usual,
            f"score distance cut, {label}": 1 - apart / before,
            f"recall of the forgotten, {label}": compute("recall:set=forget", evidence).value,
        }
    for label, (_, seconds) in served.items():
        cost = efficiency(seconds, retraining, told["processor_seconds"])
        figures |= {
            f"request, s, {label}": seconds,
            f"times faster than retraining, {label}": cost.speedup,
            f"requests that pay for the pre-training, {label}": cost.break_even,
        }
    return figures


def seen(task: Task, model: Model) -> Evidence:
    """What is observed of a model."""
    return observe(model, task.probes, task.spec)


def mean(call: str, models: list[Evidence]) -> float:
    """The mean of a score over models."""
    return sum(compute(call, one).value for one in models) / len(models)


def timed(work: Callable[[], Model]) -> tuple[Model, float]:
    """A model, and the seconds of this process that it took; the best of three, since others share the machine."""
    best, model = float("inf"), None
    for _ in range(3):
        start = time.process_time()
        model = work()
        best = min(best, time.process_time() - start)
    assert model is not None
    return model, best
