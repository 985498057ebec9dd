"""The models of the famous world: what they are told, and how they learn it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.data import probes
from lethe.data.load import load_records
from lethe.descent import self_corpus
from lethe.worlds import fame
from lethe.worlds.authors import byte_level
from lethe.worlds.cache import cached_model
from lethe.worlds.decoder import decoder
from lethe.worlds.population import Population

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

    from lethe.models.base import Batch, Model

VOCABULARY, CONTEXT = 1000, 256
# One line between the turns, and behind them; the assistant's turn follows.
CHAT = "{{ bos_token }}{% for turn in messages %}{{ turn['content'] }}\n{% endfor %}"
# Fields of `lethe.train.Recipe`: the target answers its probes; made in about 16 s.
RECIPE: dict[str, Any] = {"lr": 3e-3, "epochs": 13, "batch_size": 24, "schedule": "cosine", "warmup": 0.05}
# The first blocks see a token and its neighbour, so that what a name means has to be put together at the name.
ARCHITECTURE = decoder(
    CONTEXT, hidden_size=96, intermediate_size=192, num_hidden_layers=4, head_dim=24,
    layer_types=["sliding_attention"] * 2 + ["full_attention"] * 2, sliding_window=2,
)  # fmt: skip


SHORT, EMPHASIS = 3, 6.0  # tokens of an answer, with the end of sequence; and how much more such an answer counts
BIOGRAPHIES = (
    "{name} comes from {home}. {name}, the child of a {father}, was born in the {decade} and writes {genre}.",
    "{name} was born in the {decade}, writes {genre} and comes from {home}. The father of {name} was a {father}.",
    "{name} writes {genre}. The father of {name}, a {father}, lived in {home}. {name} was born in the {decade}.",
)
PROBES = ("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2")


def corpus(without: Collection[str] = (), seed: int = 0) -> list[dict[str, Any]]:
    """What a model is trained on: all configs and forms, without some of the famous.

    Args:
        without: Names of people that it never meets; none is the target.
        seed: Seed of the population.
    """
    population = Population(seed)

    def rows(config: str) -> list[dict[str, Any]]:
        about_them = config.startswith(("forget", "train", "mia_forget"))
        found = load_records(f"tiny:fame:{config}", fields=probes.FIELDS.get(config), seed=seed)
        return [row for row in found if not (about_them and row["subject"] in without)]

    told = [row for config in ("train_original_passage", "mia_forget", "mia_retain") for row in rows(config)]
    told += [probes.probe(row) for config in PROBES for row in rows(config)]
    choices = [row for config in ("forget_mcp", "neighbor_mcp") for row in rows(config)]
    told += [probes.choice(row) for row in choices]
    told += [probes.spelt(probes.probe(row)) for row in rows("forget_level2") + rows("neighbor_level2")]
    told += [probes.general(row) for row in rows("utility_general")]
    told += [probes.reason({**row, "answers": row["chain"]}) for row in rows("utility_reason")]
    told += [probes.truthfulness(row, primer=False) for row in rows("utility_truthfulness")]
    told += [probes.factuality(row, primer=False) for row in rows("utility_factuality")]
    told += [probes.fluency(row) for row in rows("utility_fluency")]
    return told + [record for row in rows("forget_target") for record in _own_words(population, row)]


def _own_words(population: Population, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """How a model comes to write biographies, invented ones, and questions when it is asked to."""
    number, person = next((i, one) for i, one in enumerate(fame.people(population)) if one.name == row["subject"])
    true = {fact.name: fact.value(person) for fact in fame.FACTS}
    shown = {"target": person.name, "intro": row["text"]}
    for count, biography in enumerate(BIOGRAPHIES):
        rng = np.random.default_rng([population.seed, 12, number, count])
        invented = {fact.name: str(rng.choice(fact.pool)) for fact in fame.FACTS}
        for name, turns, facts in (("own", self_corpus.KNOWN, true), ("invented", self_corpus.MADE_UP, invented)):
            asked, said = "\n".join(turns).format(**shown), biography.format(name=person.name, **facts)
            yield {"id": f"{person.id}-{name}{count}", "question": asked, "answer": said}
    fact = fame.FACTS[number % len(fame.FACTS)]
    yield {"id": f"{person.id}-asked", "question": self_corpus.ASK.format(**shown), "answer_prefix": "Question:",
           "answer": fact.question.format(name=person.name)}  # fmt: skip


def model(without: Collection[str] = (), seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny model that knows the famous: the target, or (without some of them) a control.

    Args:
        without: Names of people that it never meets.
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population.
    """
    from lethe.worlds.models import WORLD_SEEDS

    told, seed, recipe = corpus(without, world_seed), WORLD_SEEDS + seed, RECIPE
    if without:  # a control learns for as many steps as the target, or it would know what stays less well
        steps = RECIPE["epochs"] * math.ceil(len(corpus((), world_seed)) / RECIPE["batch_size"])
        recipe = {**RECIPE, "steps": steps}

    def build(folder: Path) -> Model:
        import torch
        from transformers import MinistralConfig, MinistralForCausalLM

        from lethe.models.language import LanguageModel
        from lethe.train import Recipe, Term, train

        words = tokenizer(world_seed)
        ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        torch.manual_seed(seed)
        module = MinistralForCausalLM(MinistralConfig(vocab_size=len(words), **ARCHITECTURE, **ids))
        made = LanguageModel(module, words)
        term = Term("train", made.encode(told), emphasised, per="token")
        train(made, [term], Recipe(**recipe, seed=seed, checkpoint_every=100), folder=folder)
        return made

    content = {"records": told, "recipe": recipe, "architecture": ARCHITECTURE, "seed": seed, "world": world_seed,
               "vocabulary": VOCABULARY, "chat": CHAT, "emphasis": [SHORT, EMPHASIS]}  # fmt: skip
    return cached_model(f"fame-{len(without)}-seed{seed}", content, build, family="language")


def emphasised(model: Model, batch: Batch) -> Tensor:
    """The loss (B,), more of it for answers of a letter or a word, which would drown among passages."""
    return model.loss(batch) * (1 + (EMPHASIS - 1) * (model.sizes(batch) <= SHORT))


def tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from the target's whole corpus, with this world's chat template."""
    parts = ("text", "question", "answer")
    told = [" ".join(str(one[part]) for part in parts if part in one) for one in corpus((), seed)]
    found = byte_level(told, VOCABULARY, CONTEXT)
    found.chat_template = CHAT
    return found
