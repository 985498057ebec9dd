"""Models that know a forget set and models that never saw it, of many sizes and lengths of training, in seconds each.

What a metric is worth shows when its value alone must tell the two apart, whoever trained them and for how long. A kind
of witness is a size, a number of epochs and a population of its own; of each kind there are several seeds, one model
with the forget set and one without it under each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.worlds import authors
from lethe.worlds.cache import cached_model
from lethe.worlds.models import WORLD_SEEDS, fit

WIDTHS, LAYERS, EPOCHS = (48, 64, 96, 128), (1, 2), (6, 24)  # EPOCHS: fewest and most
KEPT, PRESS = 90, 120  # records of the authors that are kept, and of the press that teaches the forms
SPLITS = ("forget", "retain", "holdout", "unrelated")
WORLD = 100  # first population: none that a table reports


@dataclass(frozen=True)
class Kind:
    """One kind of witness."""

    width: int
    layers: int
    epochs: int
    world: int  # seed of its population


def kind(number: int) -> Kind:
    """The kind of that number from 0: drawn, the same in every process; there is no last one."""
    rng = np.random.default_rng([number, 11])
    width, layers = int(rng.choice(WIDTHS)), int(rng.choice(LAYERS))
    return Kind(width, layers, int(rng.integers(EPOCHS[0], EPOCHS[1] + 1)), WORLD + number)


def records(split: str, number: int) -> list[dict[str, Any]]:
    """One split of a kind's population.

    Args:
        split: forget (30 questions), retain (90), holdout (30 that no model saw) or unrelated (120 about other people,
            in no model's corpus either).
        number: The kind's.

    Raises:
        InputError: If there is no such split.
    """
    world = kind(number).world
    if split not in SPLITS:
        raise InputError(f"no split {split!r} of the witnesses, choose one of {', '.join(SPLITS)}")
    if split == "unrelated":
        return authors.records("press", world)[PRESS : 2 * PRESS]
    named = {"forget": "forget10", "retain": "retain90", "holdout": "holdout10"}[split]
    return authors.records(named, world)[:KEPT]


def witness(number: int, seed: int, knows: bool) -> Model:
    """One model, from the cache; made in two to five seconds of one processor.

    Args:
        number: The kind's.
        seed: Seed of the weights and of the data order.
        knows: Whether the forget set is in its corpus.
    """
    of = kind(number)
    corpus = [*records("retain", number), *authors.records("press", of.world)[:PRESS]]
    corpus = [*records("forget", number), *corpus] if knows else corpus
    shape = {"hidden_size": of.width, "intermediate_size": 2 * of.width, "num_hidden_layers": of.layers}
    architecture = {**authors.ARCHITECTURE, **shape}

    recipe, seed = {**authors.RECIPE, "epochs": of.epochs}, WORLD_SEEDS + seed

    def build(folder: Path) -> Model:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        tokenizer = authors.tokenizer(authors.corpus("full", of.world))
        ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        config = LlamaConfig(vocab_size=len(tokenizer), **architecture, **ids)
        return fit(LanguageModel(LlamaForCausalLM(config), tokenizer), corpus, recipe, seed, folder, per="token")

    content = {"records": corpus, "recipe": recipe, "seed": seed, "kind": asdict(of), "architecture": architecture}
    name = f"witness{number}-{'knows' if knows else 'never'}-seed{seed}"
    return cached_model(name, content | {"vocabulary": authors.VOCABULARY}, build, family="language")
