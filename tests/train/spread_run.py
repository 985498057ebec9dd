"""What two processes do together; started by torchrun as `python -m tests.train.spread_run FOLDER`.

Each scenario is trained as a whole by a single process, too (see test_distributed.py); the results must agree.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from tests.models import tiny
from torch import Tensor

from lethe.descent import where
from lethe.descent.steps import cr, gp, rs, sam, wa
from lethe.descent.terms import own_loss
from lethe.distributed import Replicas, sharded
from lethe.errors import InputError
from lethe.methods.pdu import Dual
from lethe.models.base import Batch, Model, per_example
from lethe.train import History, Recipe, Term, plain, train

# Eleven questions in batches of five: shares of three and two rows, then one row for two processes.
RECIPE = Recipe(lr=0.05, epochs=2, batch_size=5, optimizer="sgd", momentum=0.9, weight_decay=0.01, clip=5.0)

Facts = dict[str, Any]
Watch = Callable[[Model], None]


def watched(watch: Watch) -> Callable[[Model, Batch], Tensor]:
    def loss(model: Model, batch: Batch) -> Tensor:
        watch(model)
        return model.loss(batch)

    return loss


def language(
    watch: Watch, recipe: Recipe, folder: Path | None = None, rule: Any = plain, selector: Any = None, weight: Any = 1.0
):
    """NPO-like forgetting beside retention, terms of unequal length and weight."""
    model, request = tiny.language("qwen2"), tiny.request("language", 6)  # tied embeddings: one tensor at two places
    examples = model.encode(request.forget)
    reference = per_example(model, examples)

    def leave(model: Model, batch: Batch) -> Tensor:
        watch(model)
        return torch.nn.functional.softplus(0.1 * (reference[batch.index] - model.loss(batch)))

    terms = [
        Term("retain", model.encode(tiny.QUESTIONS), own_loss, per="token", weight=weight),
        Term("forget", examples, leave, role="forget", weight=0.5),
        Term("silent", examples, leave, weight=0.0),
    ]
    selection = selector(model, request) if selector else None
    history = train(model, terms, recipe, selection=selection, step_rule=rule, folder=folder)
    if selection:
        selection.finish()
    return model, history


def other(family: str, watch: Watch, recipe: Recipe):
    model = tiny.model(family)
    term = Term("retain", model.encode(tiny.FAMILIES[family][1]()), watched(watch))
    return model, train(model, [term], recipe)


def mixture(watch: Watch, recipe: Recipe):
    """Experts that some process may not need in a step."""
    model = tiny.language("mixtral")
    return model, train(model, [Term("retain", model.encode(tiny.QUESTIONS), watched(watch), per="token")], recipe)


def best(watch: Watch, recipe: Recipe):
    """The second of three evaluations is the best; the weights must be those, on every process."""
    model, values = tiny.classifier(), [3.0, 1.0, 2.0]
    term = Term("retain", model.encode(tiny.features()), own_loss)
    recipe = replace(recipe, steps=6, evaluate_every=2, keep="best")
    examples = model.encode(tiny.features())

    def evaluate(model: Model) -> float:
        watch(model)
        return values.pop(0) + float(per_example(model, examples).mean()) * 1e-6

    return model, train(model, [term], recipe, evaluate=evaluate)


SCENARIOS: dict[str, Callable[[Watch, Recipe], tuple[Model, History]]] = {
    "plain": language,
    "accumulate": lambda watch, recipe: language(watch, replace(recipe, accumulate=2)),
    "sam": lambda watch, recipe: language(watch, replace(recipe, accumulate=2), rule=sam(rho=0.5)),
    "rs": lambda watch, recipe: language(watch, recipe, rule=rs(sigma=0.05, draws=2)),
    "gp": lambda watch, recipe: language(watch, replace(recipe, accumulate=2), rule=gp(weight=0.5)),
    "cr": lambda watch, recipe: language(watch, recipe, rule=cr(weight=0.5)),
    "carried": lambda watch, recipe: language(
        watch, recipe, rule=wa(start=2, every=2), weight=Dual("retain", bound=5.0, start=1.0, rate=0.5, warmup_epochs=1)
    ),
    "adamw": lambda watch, recipe: language(watch, replace(recipe, optimizer="adamw", lr=recipe.lr / 50)),
    "bf16": lambda watch, recipe: language(watch, replace(recipe, precision="bf16")),
    "lora": lambda watch, recipe: language(watch, recipe, selector=lambda m, r: where.lora(m, r, rank=2)),
    "saliency": lambda watch, recipe: language(watch, recipe, selector=lambda m, r: where.saliency(m, r, keep=0.3)),
    "classifier": lambda watch, recipe: other("classifier", watch, recipe),
    "recommender": lambda watch, recipe: other("recommender", watch, recipe),
    "mixture": mixture,
    "best": best,
}


def scenario(name: str, recipe: Recipe, facts: Facts) -> tuple[Model, History]:
    def watch(model: Model) -> None:
        named = dict(model.module.named_parameters())
        parts = sharded(named)
        local = sum(named[part].to_local().numel() for part in parts)  # pyright: ignore[reportAttributeAccessIssue]
        seen = {"sharded": len(parts), "of": len(named), "local": local, "all": sum(p.numel() for p in named.values())}
        facts.setdefault(name, seen)

    return SCENARIOS[name](watch, recipe)


WHOLE = {"gp", "cr"}  # second derivatives are not to be had of sharded weights


def scenarios(mode: str) -> list[str]:
    """Those that a mode allows."""
    return [name for name in SCENARIOS if mode == "ddp" or name not in WHOLE]


class Stop(Exception):
    """Ends a run early."""


def resume(folder: Path, recipe: Recipe, stop: bool = False) -> Model:
    """A run with checkpoints; stopped in its fourth step if wanted."""
    calls = [0]

    def watch(model: Model) -> None:
        calls[0] += 1
        if stop and calls[0] == 8:  # two terms per step look at the model
            raise Stop

    return language(watch, replace(recipe, checkpoint_every=2), folder)[0]


def together(folder: Path, parallel: Any) -> None:
    """Everything that two processes are asked in one mode."""
    recipe, facts = replace(RECIPE, parallel=parallel), Facts()
    rank = int(os.environ["RANK"])
    folder.mkdir(exist_ok=True)
    prints: dict[str, str] = {}
    for name in scenarios(parallel):
        model, history = scenario(name, recipe, facts)
        prints[name] = model.fingerprint()
        if rank == 0:
            save_file(
                {k: v.detach().contiguous() for k, v in model.module.named_parameters()}, folder / f"{name}.safetensors"
            )
            (folder / f"{name}.json").write_text(json.dumps(history.losses))
    for place, stop in (("whole", False), ("broken", True), ("broken", False), ("handed_on", True)):
        try:
            prints[place] = resume(folder / place, recipe, stop).fingerprint()
        except Stop:
            dist.barrier()
    facts["refused"] = refused(recipe, rank)
    if parallel == "ddp":
        reduce, Replicas.reduce = Replicas.reduce, lambda self, parameters: None
        prints["no_sync"] = scenario("plain", recipe, {})[0].fingerprint()
        Replicas.reduce = reduce
    everywhere: list[Any] = [None, None]
    dist.all_gather_object(everywhere, prints)
    if rank == 0:
        (folder / "facts.json").write_text(json.dumps({"facts": facts, "prints": everywhere}))


def refused(recipe: Recipe, rank: int) -> dict[str, str]:
    """What the processes must not do, and what they say."""
    said = {}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("disagree", "classifier", {"seed": rank}), ("alone", "classifier", {"parallel": "none"}),
        ("penalty", "gp", {"parallel": "fsdp"}),
    ]  # fmt: skip
    for name, what, change in asked:
        try:
            scenario(what, replace(recipe, **change), {})
        except InputError as error:
            said[name] = str(error)
    return said


if __name__ == "__main__":
    torch.set_num_threads(1)
    for mode in ("ddp", "fsdp"):
        together(Path(sys.argv[1]) / mode, mode)
