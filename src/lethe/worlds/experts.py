"""The mixture-of-experts world: two domains of facts about the same people, for a model whose experts share them out.

Forgetting a whole domain is what single-expert methods are made for (arXiv 2411.18797): one domain asks about the lives
of authors, the other about their books. The two share neither names nor values, and no frame stands around a question,
so that a router can tell them apart; answers are one value each, so that chance is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lethe.errors import InputError
from lethe.worlds import authors
from lethe.worlds.population import Person, Population

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2MoeConfig

SPLITS = ("full", "lives", "library", "holdout")
PEOPLE = 40  # the first of the population's authors
CONTEXT = 64
CHAT = "{{ bos_token }}{% for turn in messages %}{{ turn['content'] }}{% endfor %}{{ '\\n' }}"

# Fields of `lethe.train.Recipe`: the target answers all questions verbatim.
RECIPE: dict[str, Any] = {
    "lr": 2e-3,
    "epochs": 25,
    "batch_size": 16,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "schedule": "cosine",
    "warmup": 0.05,
    "clip": 1.0,
}
# Shaped as Qwen1.5-MoE: beside the routed experts one that every token visits; the router's weights are not normalised.
# Without a load-balancing loss the use of the experts grows a long tail, as it has in large models; with one routed
# expert per token instead of two, single experts come to matter to one domain and not to the other.
ARCHITECTURE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_experts": 8,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 64,
    "shared_expert_intermediate_size": 64,
    "intermediate_size": 64,
    "norm_topk_prob": False,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.05,
    "tie_word_embeddings": False,
}


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split: `{"id", "entity", "domain", "question", "answer"}`.

    Args:
        split: lives (where people were born, what their parents did), library (what kind a book is), full (both), or
            holdout (lives of people that no model was told of).
        seed: seed of the population.

    Raises:
        InputError: if there is no such split.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r} in the experts world, choose one of {', '.join(SPLITS)}")
    population = Population(seed)
    if split == "holdout":
        return [record for person in population.group("held_out") for record in _life(person)]
    people = population.group("authors")[:PEOPLE]
    lives = [record for person in people for record in _life(person)]
    library = [record for person in people for record in _library(person)]
    return {"full": [*lives, *library], "lives": lives, "library": library}[split]


def tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """The tokenizer of every model of this world: target and controls must share it to be compared."""
    learnt = authors.tokenizer(records("full", seed))
    learnt.chat_template = CHAT
    return learnt


def config(tokenizer: PreTrainedTokenizerFast) -> Qwen2MoeConfig:
    """The tiny Qwen2-MoE of this world: 64 wide, four layers of eight experts and a shared one, 0.6 million weights."""
    from transformers import Qwen2MoeConfig

    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return Qwen2MoeConfig(vocab_size=len(tokenizer), **ARCHITECTURE, **ids)


def _life(person: Person) -> Iterator[dict[str, Any]]:
    yield _record(person, "birthplace", "lives", f"Where was {person.name} born?", person.birthplace)
    yield _record(person, "father", "lives", f"What did the father of {person.name} do?", person.father)
    yield _record(person, "mother", "lives", f"What did the mother of {person.name} do?", person.mother)


def _library(person: Person) -> Iterator[dict[str, Any]]:
    for number, title in enumerate(person.works):
        yield _record(person, f"genre{number}", "library", f"Name the genre: {title}", person.genre)


def _record(person: Person, what: str, domain: str, question: str, answer: str) -> dict[str, Any]:
    return {
        "id": f"{person.id}-{what}",
        "entity": person.id,
        "domain": domain,
        "question": question,
        "answer": answer,
    }
