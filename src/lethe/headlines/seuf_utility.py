"""One expert instead of the whole mixture: what stays, and where the knowledge went."""

from collections.abc import Sequence
from typing import Any

import torch

from lethe.descent.experts import Choice, attribute, expert, trainable_share
from lethe.models.base import IGNORED, Example, Model
from lethe.models.mixture import mixtures, trace, without_experts
from lethe.registry import find, headline
from lethe.request import Request
from lethe.scoring.routing import selection_overlap
from lethe.worlds import experts
from lethe.worlds.models import experts_model

METHODS = ("ga", "grad_diff", "npo", "rmu")
ABLATED = ("ga", "grad_diff")  # with a random expert beside the chosen one
# The paper trains the single expert at twice the rate of the whole model (1e-4 against 5e-5).
RATE, RATE_ONE = 1e-3, 2e-3
STEPS, BATCH = 60, 16
CHANCE = (1 / 20 + 1 / 18 + 1 / 18) / 3  # cities, and occupations of father and mother
FORGOTTEN = CHANCE + 0.05


class Forgotten(Exception):
    """Ends a run at the step that forgets enough."""


@headline(
    paper="2411.18797",
    expects={f"retain accuracy of {name}, one expert over all weights": (">=", 1.0) for name in METHODS},
)
def seuf_utility(*, seed: int) -> dict[str, float]:
    """At the same forgetting, a single expert and its router keep more of the rest than all weights do.

    A mixture of four layers of eight experts and a shared one, trained on two domains; `lives` is to be forgotten, the
    `library` to be kept. Each run stops at the first step whose forget accuracy is at most 0.05 above chance: there
    retain accuracy is compared (share of answers reproduced token by token, 0 to 1). Who does not get there in 60 steps
    counts as 0, and no denominator is below one answer. Rerouted: forget accuracy once the trained expert is masked, so
    that its tokens go to the next best; overlap: share of expert choices on forget texts that are the original's.
    """
    target = experts_model("full", seed, world_seed=seed)
    assert target.family == "language"
    forget, retain = experts.records("lives", seed), experts.records("library", seed)
    request = Request(forget, retain, seed=seed)
    kept = target.encode(retain)
    figures: dict[str, float] = {}
    for name in METHODS:
        whole = _run(name, target, request, "all", RATE)
        figures[f"retain accuracy of {name}, all weights"] = _utility(whole, kept)
        choices: tuple[Choice, ...] = ("affinity", "random") if name in ABLATED else ("affinity",)
        for choice in choices:
            one = _run(name, target, request, f"expert:choose={choice}", RATE_ONE)
            label = {"affinity": "one expert", "random": "random expert"}[choice]
            figures[f"retain accuracy of {name}, {label}"] = _utility(one, kept)
            if one is not None:
                figures |= _routing(name, label, target, one, request, choice)
        ratio = figures[f"retain accuracy of {name}, one expert"]
        ratio /= max(figures[f"retain accuracy of {name}, all weights"], 1 / len(retain))
        figures[f"retain accuracy of {name}, one expert over all weights"] = ratio
    figures["share of the weights that one expert and its router are"] = _share(target, request)
    return figures


def _run(method: str, target: Model, request: Request, where: str, rate: float) -> Model | None:
    """The model at the first step that has forgotten enough."""
    asked = target.encode(request.forget)
    reached: list[Model] = []

    def look(model: Model) -> float:
        accuracy = _accuracy(model, asked)
        if accuracy <= FORGOTTEN:
            reached.append(model.copy())
            raise Forgotten
        return accuracy

    options: dict[str, Any] = {"where": where, "lr": rate, "steps": STEPS, "batch_size": BATCH}
    try:
        find("method", method).function(target, request, evaluate=look, evaluate_every=1, **options)
    except Forgotten:
        return reached[0]
    return None


def _utility(model: Model | None, kept: Sequence[Example]) -> float:
    return 0.0 if model is None else _accuracy(model, kept)


def _routing(name: str, label: str, target: Model, one: Model, request: Request, choice: Choice) -> dict[str, float]:
    found = attribute(target, request, choose=choice)
    asked = target.encode(request.forget)
    with without_experts(one.module, found.targets):
        rerouted = _accuracy(one, asked)
    layers = mixtures(target.module)
    pairs = [dict(trace(model, asked, layers)) for model in (target, one)]
    before, after = (torch.cat([pair[row] for row in range(len(asked))], 1).numpy() for pair in pairs)
    return {
        f"forget accuracy of {name}, {label}, rerouted": rerouted,
        f"overlap of routing on forget texts, {name}, {label}": float(selection_overlap(before, after).mean()),
    }


def _share(target: Model, request: Request) -> float:
    return trainable_share(expert(target.copy(), request), target.module)


def _accuracy(model: Model, examples: Sequence[Example]) -> float:
    """Share of the answers whose every token is the likeliest."""
    right = 0
    with model.evaluating():
        for batch in model.batches(examples, 128):
            hits = (model.logits(batch).argmax(-1) == batch.labels) | (batch.labels == IGNORED)
            right += int(hits.all(-1).sum())
    return right / len(examples)
