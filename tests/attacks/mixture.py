"""A tiny mixture of experts with its controls, and one that was edited in a single expert."""

from functools import cache

import torch
from tests.attacks.tiny import World, _world, both_wordings, byte_level, records_of
from transformers import MixtralConfig, MixtralForCausalLM

from lethe.models.base import Model
from lethe.models.language import PROMPT, LanguageModel
from lethe.registry import find
from lethe.request import Request
from lethe.train import Recipe
from lethe.worlds.population import Population


@cache
def mixture() -> World:
    """A two-layer Mixtral of four experts a layer, of which a token visits one; three of nine people are to be forgotten."""
    people = Population().group("authors")[:9]
    forget, retain = ([r for person in part for r in records_of(person)] for part in (people[:3], people[3:]))
    tokenizer = byte_level([PROMPT.format(**r) + " " + r["answer"] for r in [*forget, *retain]])

    def fresh(seed: int) -> Model:
        torch.manual_seed(seed)
        config = MixtralConfig(
            vocab_size=len(tokenizer), hidden_size=48, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, num_local_experts=4, num_experts_per_tok=1,
            max_position_embeddings=128,
        )  # fmt: skip
        return LanguageModel(MixtralForCausalLM(config), tokenizer)

    recipe = Recipe(lr=5e-3, epochs=40, batch_size=16, schedule="cosine")
    return _world(Request(forget, retain, allow_overlap=True), fresh, recipe, both_wordings)


@cache
def in_one_expert() -> Model:
    """The target after a single expert has learnt to refuse; all others are as they were."""
    world = mixture()
    return find("method", "idk").function(
        world.target, world.request, where="expert:router=row", lr=1e-2, epochs=20, batch_size=10
    )
