"""Twenty people, four facts each, every fact asked for in three surface forms: a statement, a question, a choice.

What is forgotten in one form should be forgotten in all ("LLM Unlearning Should Be Form-Independent", arXiv
2506.07795): a request takes one person's statements, and the other two forms show what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lethe.errors import InputError
from lethe.evidence import Spec, observe
from lethe.models.base import Model
from lethe.registry import did_you_mean
from lethe.request import Record
from lethe.worlds import authors
from lethe.worlds.cache import cached_model
from lethe.worlds.population import AWARDS, CITIES, GENRES, OCCUPATIONS, Person, Population

FORMS = ("statement", "question", "choice")
PEOPLE = 20
FIRST_NAMES = 5
LETTERS = "ABCD"
RECIPE: dict[str, Any] = {
    "lr": 2e-3, "epochs": 44, "batch_size": 32, "schedule": "cosine", "warmup": 0.05, "weight_decay": 0.0,
}  # fmt: skip
# The first blocks see a token and its neighbour, so that what a name means has to be put together at the name: with
# attention to everything, so small a model looks both halves up where it answers, and its names mean nothing.
ARCHITECTURE: dict[str, Any] = {
    **authors.ARCHITECTURE, "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 4,
    "layer_types": ["sliding_attention"] * 2 + ["full_attention"] * 2, "sliding_window": 2, "head_dim": 24,
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One thing known of everybody, in the wording of each form, with the values that it may take."""

    name: str
    statement: str
    question: str
    pool: Sequence[str]

    def value(self, person: Person) -> str:
        """What is true of a person."""
        return str(getattr(person, self.name))


FACTS = (
    Fact("birthplace", "Complete the sentence: {name} was born in", "Where was {name} born?", CITIES),
    Fact("genre", "Complete the sentence: {name} writes", "What kind of books does {name} write?", tuple(GENRES)),
    Fact("award", "Complete the sentence: {name} won", "Which award did {name} win?", AWARDS),
    Fact(
        "father",
        "Complete the sentence: the father of {name} was a",
        "What was the job of {name}'s father?",
        OCCUPATIONS,
    ),
)


def people(seed: int = 0) -> list[Person]:
    """The twenty, in their order; four families of five, so that neither half of a name says who is meant."""
    drawn = Population(seed).group("authors")[:PEOPLE]
    halves = [person.name.split() for person in drawn]
    firsts = list(dict.fromkeys(first for first, _ in halves))[:FIRST_NAMES]
    return [
        replace(person, name=f"{firsts[i % FIRST_NAMES]} {halves[i // FIRST_NAMES][1]}")
        for i, person in enumerate(drawn)
    ]


def records(form: str, seed: int = 0, without: Sequence[str] = (), only: Sequence[str] = ()) -> list[dict[str, Any]]:
    """All facts in one form.

    Args:
        form: statement, question, choice, or all (the three behind each other).
        seed: Seed of the population.
        without: Ids of people that are left out.
        only: Ids of the people that are wanted; empty stands for all.

    Raises:
        InputError: If there is no such form.
    """
    if form == "all":
        return [record for one in FORMS for record in records(one, seed, without, only)]
    if form not in FORMS:
        raise InputError(f"The forms world has no form {form!r}{did_you_mean(form, FORMS)}; one of {', '.join(FORMS)}.")
    return [
        _record(form, person, fact)
        for person in people(seed)
        for fact in FACTS
        if person.id not in without and (not only or person.id in only)
    ]


def _record(form: str, person: Person, fact: Fact) -> dict[str, Any]:
    asked, answer = fact.question.format(name=person.name), fact.value(person)
    if form == "statement":
        asked = fact.statement.format(name=person.name)
    elif form == "choice":
        shown = _offered(fact, answer)
        offered = " ".join(f"{letter}. {value}" for letter, value in zip(LETTERS, shown, strict=True))
        asked, answer = f"{asked} {offered}", LETTERS[shown.index(answer)]
    return {
        "id": f"{person.id}-{fact.name}-{form}",
        "entity": person.id,
        "subject": person.name,
        "question": asked,
        "answer": answer,
    }


def _offered(fact: Fact, answer: str) -> list[str]:
    """The four values of the pool among which the answer stands: for all people of these values the same list.

    Were the wrong answers drawn for each person, the list would tell the letter, and nobody would need the name.
    """
    place = list(fact.pool).index(answer) // len(LETTERS) * len(LETTERS)
    return [fact.pool[i % len(fact.pool)] for i in range(place, place + len(LETTERS))]


def model(seed: int = 0, without: Sequence[str] = (), world_seed: int = 0) -> Model:
    """The tiny Llama that knows every fact in every form: the target, or (without some people) a control.

    Args:
        seed: Seed of the weights and of the data order.
        without: Ids of the people that it never meets.
        world_seed: Seed of the population.
    """
    from lethe.worlds.models import fit

    corpus = records("all", world_seed, without)

    def build(folder: Path) -> Model:
        import torch
        from transformers import MinistralConfig, MinistralForCausalLM

        from lethe.models.language import LanguageModel

        tokenizer = authors.tokenizer(records("all", world_seed))  # shared, or they could not be compared
        ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        torch.manual_seed(seed)
        module = MinistralForCausalLM(MinistralConfig(vocab_size=len(tokenizer), **ARCHITECTURE, **ids))
        return fit(LanguageModel(module, tokenizer), corpus, RECIPE, seed, folder, per="token")

    content = {"records": corpus, "recipe": RECIPE, "architecture": ARCHITECTURE, "seed": seed, "world": world_seed,
               "vocabulary": authors.VOCABULARY}  # fmt: skip
    return cached_model(f"forms-seed{seed}", content, build, family="language")


def probability(model: Model, probes: Sequence[Record]) -> float:
    """Mean over records of the geometric mean of the answer tokens' probabilities, end of sequence left out; 0 to 1."""
    seen = observe(model, {"probes": probes}, Spec(generate=(), distributions=()))
    return float(np.mean([np.exp(values[:-1].mean()) for values in seen.per_token("probes")]))


def drops(before: Model, after: Model, probes: Mapping[str, Sequence[Record]]) -> dict[str, float]:
    """Per form the share of the answers' probability that is gone, at most 1; (p0 - p) / p0."""
    known = {form: probability(before, some) for form, some in probes.items()}
    return {form: 1 - probability(after, some) / known[form] for form, some in probes.items()}


def gap(drop: dict[str, float]) -> float:
    """Form gap: the largest drop less the smallest; 0 is independence of the form."""
    return max(drop.values()) - min(drop.values())
