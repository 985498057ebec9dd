"""What ULD costs, and what it leaves alone, beside methods that train the model itself."""

import time
from typing import Any

import torch

from lethe.models.base import Model
from lethe.registry import find, headline
from lethe.request import Request
from lethe.worlds import facts
from lethe.worlds.models import facts_model

FORGOTTEN = 0.3  # share of the forget facts' values that each method has to come down to
LOST = 0.02  # share of the other facts' values that may go with them where nothing else is to be lost
MOST = 400  # steps
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "GradDiff": ("grad_diff", {}),
    "NPO": ("npo", {"retain": "nll"}),
    "ULD": ("uld", {"weight": -1.0, "top": 0.0, "augment": 0}),
}


@headline(
    paper="2406.08607",
    expects={
        "seconds of training, NPO over ULD": (">=", 3.0),
        "seconds of training, GradDiff over ULD": (">=", 3.0),
        "retain accuracy lost by ULD": ("<=", 0.0),
        "forget accuracy of ULD at weight -1": ("<=", 0.3),
        "forget accuracy of ULD at weight -1.5": ("<=", 0.0),
        "retain accuracy lost by GA": (">=", 0.85),
    },
)
def uld_cost(*, seed: int) -> dict[str, float]:
    """ULD forgets as much in a third of the training time, and loses none of the rest.

    A hundred facts, ten to be forgotten, lr 1e-3, all ten and ten others in every step. Accuracy is the share of value
    tokens, 0 to 1; steps and CPU seconds (one thread) are those until forget accuracy is 0.3 or less, at most 400
    steps; losses of retain accuracy are counted there. Steps without loss are those until, besides, no more than 0.02
    of retain accuracy is lost. ULD trains the first of three blocks with embedding and head, all weights, and is then
    also trained to the end and read at two weights. GA, 100 steps, is what forgetting without a retain term loses.
    """
    target = facts_model("full", seed, world_seed=seed)
    request = Request(facts.records("forget", seed), facts.records("retain", seed), seed=seed)
    start = _accuracy(target, request.retain)
    figures: dict[str, float] = {}
    for name, (method, options) in METHODS.items():
        steps, unharmed = _steps(target, request, method, options, start - LOST)
        begun = time.process_time()
        made = _run(target, request, method, steps, options)
        figures[f"seconds of training, {name}"] = time.process_time() - begun
        figures[f"steps, {name}"] = steps
        figures[f"seconds per step, {name}"] = figures[f"seconds of training, {name}"] / steps
        figures[f"steps without loss, {name}"] = unharmed
        figures[f"seconds without loss, {name}"] = figures[f"seconds per step, {name}"] * unharmed
        figures[f"trained parameters, {name}"] = _trained(made)
        figures[f"forget accuracy of {name}"] = _accuracy(made, request.forget)
        figures[f"retain accuracy lost by {name}"] = start - _accuracy(made, request.retain)
    for name in ("NPO", "GradDiff"):
        for what in ("seconds of training", "seconds per step", "seconds without loss"):
            figures[f"{what}, {name} over ULD"] = figures[f"{what}, {name}"] / figures[f"{what}, ULD"]
    whole = _run(target, request, "uld", MOST, METHODS["ULD"][1])
    for weight in (-1.0, -1.5):
        whole.module.config.weights = [weight]  # pyright: ignore
        figures[f"forget accuracy of ULD at weight {weight:g}"] = _accuracy(whole, request.forget)
    lost = start - _accuracy(whole, request.retain)
    figures["retain accuracy lost by ULD"] = max(lost, figures["retain accuracy lost by ULD"])
    ruined = _run(target, request, "ga", 100, {})
    return {**figures, "retain accuracy lost by GA": start - _accuracy(ruined, request.retain)}


def _run(target: Model, request: Request, method: str, steps: int, options: dict[str, Any]) -> Model:
    """All forget facts in every step, so that a step is an epoch."""
    return find("method", method).function(
        target, request, lr=1e-3, epochs=steps, batch_size=len(request.forget), **options
    )


def _steps(target: Model, request: Request, method: str, options: dict[str, Any], kept: float) -> tuple[int, int]:
    """The first step after which little enough is known, and the first after which `kept` of the rest is, too.

    400 stands for never.
    """
    looks: list[tuple[float, float]] = []

    def look(model: Model) -> float:
        looks.append((_accuracy(model, request.forget), _accuracy(model, request.retain)))
        return 0.0

    for budget in (50, 150, MOST):
        looks.clear()
        _run(target, request, method, budget, options | {"evaluate": look, "evaluate_every": 1})
        if any(forget <= FORGOTTEN and retain >= kept for forget, retain in looks):
            break
    forgotten = [step for step, (forget, _) in enumerate(looks, 1) if forget <= FORGOTTEN]
    unharmed = [step for step in forgotten if looks[step - 1][1] >= kept]
    return next(iter(forgotten), MOST), next(iter(unharmed), MOST)


def _trained(made: Model) -> int:
    """Parameters that training could move: a wrapped model's are those of its assistant."""
    own = 0 if made.inner is made.module else sum(parameter.numel() for parameter in made.inner.parameters())
    return sum(parameter.numel() for parameter in made.module.parameters()) - own


def _accuracy(model: Model, records: Any) -> float:
    """Share of the value tokens that are the likeliest; the end of the answer is no knowledge and does not count."""
    with model.evaluating():
        hits = torch.cat([
            model.logits(batch)[:, -4:-1].argmax(-1) == batch.labels[:, -4:-1]
            for batch in model.batches(model.encode(records), 100)
        ])  # fmt: skip
    return float(hits.float().mean())
