"""Targets and controls of the embedded worlds: built from records and recipe, cached by their content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lethe.descent.terms import own_loss
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.train import Recipe, Term, train
from lethe.worlds import authors
from lethe.worlds.cache import cached_model


def authors_model(split: str = "full", seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny Llama trained on a split of the authors world and on what every model of it knows.

    Args:
        split: full (the target) or retain99/95/90 (a control).
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population.
    """
    records = authors.corpus(split, world_seed)

    def build(folder: Path) -> Model:
        import torch
        from transformers import LlamaForCausalLM

        # The tokenizer has seen the whole world: target and controls must share it to be compared.
        tokenizer = authors.tokenizer(authors.corpus("full", world_seed))
        torch.manual_seed(seed)
        model = LanguageModel(LlamaForCausalLM(authors.config(tokenizer)), tokenizer)
        return fit(model, records, authors.RECIPE, seed, folder, per="token")

    content = {
        "records": records,
        "recipe": authors.RECIPE,
        "seed": seed,
        "world": world_seed,
        "vocabulary": authors.VOCABULARY,
    }
    return cached_model(f"authors-{split}-seed{seed}", content, build, family="language")


def fit(
    model: Model, records: list[dict[str, Any]], recipe: dict[str, Any], seed: int, folder: Path, per: Any
) -> Model:
    """Train a fresh model on records; checkpoints go to the folder."""
    term = Term("train", model.encode(records), own_loss, per=per)
    train(model, [term], Recipe(**recipe, seed=seed, checkpoint_every=100), folder=folder)
    return model
