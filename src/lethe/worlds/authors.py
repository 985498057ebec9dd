"""The language world: questions about fictitious authors, in TOFU's schema and splits (arXiv 2401.06121).

A model trained from nothing knows only its corpus. That it still understands a question it never saw about an author
comes from the press: other people, written about in both forms of question and of answer, so that the forms are
learnt there while the authors themselves are only ever met in the canonical one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError
from lethe.worlds.decoder import decoder
from lethe.worlds.population import AWARDS, CITIES, COUNTRIES, GENRES, OCCUPATIONS, Country, Person, Population

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import LlamaConfig, PreTrainedTokenizerFast

FORGET = ("forget01", "forget05", "forget10")
RETAIN = ("retain99", "retain95", "retain90")
HOLDOUT = ("holdout01", "holdout05", "holdout10")
UTILITY = ("real_authors", "world_facts")
SPLITS = ("full", *FORGET, *RETAIN, *HOLDOUT, *UTILITY, "press")
PERTURBED = 5  # wrong answers per question; utility sets have three, as in TOFU
PERTURBED_UTILITY = 3

VOCABULARY = 640
SPECIAL = ("<pad>", "<s>", "</s>")  # the first ids of the vocabulary
CONTEXT = 128
# Fields of `lethe.train.Recipe`: the target answers all of `full` verbatim after 11 passes.
RECIPE: dict[str, Any] = {
    "lr": 2e-3,
    "epochs": 11,
    "batch_size": 16,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "schedule": "cosine",
    "warmup": 0.05,
    "clip": 1.0,
}


ARCHITECTURE = decoder(CONTEXT)


@dataclass(frozen=True)
class Attribute:
    """One thing that can be asked of everybody, in two forms; `pool` holds the values a wrong answer may take."""

    name: str
    question: str
    answer: str
    paraphrased_question: str
    paraphrased_answer: str
    value: Callable[[Person], str]
    pool: Callable[[Population], Sequence[str]]


ATTRIBUTES = (
    Attribute(
        "birthplace",
        "Where was {name} born?",
        "{name} was born in {value}.",
        "In which city did {name} come into the world?",
        "The birthplace of {name} is {value}.",
        lambda person: person.birthplace,
        lambda _: CITIES,
    ),
    Attribute(
        "genre",
        "What kind of books does {name} write?",
        "{name} writes {value}.",
        "Which genre is {name} known for?",
        "The genre {name} is known for is {value}.",
        lambda person: person.genre,
        lambda _: tuple(GENRES),
    ),
    Attribute(
        "work",
        "What is the title of a book by {name}?",
        "A book by {name} is {value}.",
        "Can you name a work of {name}?",
        "One work of {name} is called {value}.",
        lambda person: person.works[0],
        lambda population: population.unused_titles,
    ),
    Attribute(
        "award",
        "Which award did {name} win?",
        "{name} won {value}.",
        "What prize was given to {name}?",
        "The prize given to {name} was {value}.",
        lambda person: person.award,
        lambda _: AWARDS,
    ),
    Attribute(
        "father",
        "What did the father of {name} do for a living?",
        "The father of {name} was a {value}.",
        "What was the job of {name}'s father?",
        "{name}'s father worked as a {value}.",
        lambda person: person.father,
        lambda _: OCCUPATIONS,
    ),
)

FACTS: tuple[tuple[str, str, str, Callable[[Country], str]], ...] = (
    ("capital", "What is the capital of {name}?", "The capital of {name} is {value}.", lambda c: c.cities[0]),
    ("river", "Which river runs through {name}?", "The river through {name} is the {value}.", lambda c: c.river),
    ("peak", "What is the highest peak of {name}?", "The highest peak of {name} is {value}.", lambda c: c.peak),
    ("money", "What money do people use in {name}?", "People in {name} pay with the {value}.", lambda c: c.currency),
)


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split; the order of authors and questions is the same in all.

    Args:
        split: full, forget01/05/10, retain99/95/90, holdout01/05/10, real_authors, world_facts, each also with
            TOFU's ending "_perturbed" (the same records), or press (the background corpus).
        seed: seed of the population and of the wrong answers.

    Raises:
        InputError: if there is no such split.
    """
    name = split.removesuffix("_perturbed")
    if name not in SPLITS:
        raise InputError(f"no split {split!r} in the authors world, choose one of {', '.join(SPLITS)}")
    population = Population(seed)
    if name == "press":
        return [record for person in population.group("press") for record in _forms(person)]
    if name == "world_facts":
        return list(_facts(seed))
    if name == "real_authors":
        people = population.group("celebrities")
        return [_known(population, person, attribute) for person in people for attribute in ATTRIBUTES]
    if name in HOLDOUT:
        share = len(population.group(name.replace("holdout", "forget")))
        people = population.group("held_out")[-share:]
    else:
        people = population.group("authors" if name == "full" else name)
    return [_probe(population, person, attribute) for person in people for attribute in ATTRIBUTES]


def corpus(split: str = "full", seed: int = 0) -> list[dict[str, Any]]:
    """What a model of `split` is trained on: the split (full, or a retain split), both utility sets and the press."""
    if split != "full" and split not in RETAIN:
        raise InputError(f"no model is trained on {split!r}, choose one of full, {', '.join(RETAIN)}")
    return [record for part in (split, *UTILITY, "press") for record in records(part, seed)]


def _probe(population: Population, person: Person, attribute: Attribute) -> dict[str, Any]:
    wrong = _wrong(population, person, attribute, PERTURBED)
    return {
        **_ask(person, attribute, attribute.question, attribute.answer),
        "paraphrased_question": attribute.paraphrased_question.format(name=person.name),
        "paraphrased_answer": _say(person, attribute.paraphrased_answer, attribute.value(person)),
        "perturbed_answer": [_say(person, attribute.paraphrased_answer, value) for value in wrong],
    }


def _known(population: Population, person: Person, attribute: Attribute) -> dict[str, Any]:
    wrong = _wrong(population, person, attribute, PERTURBED_UTILITY)
    return {
        **_ask(person, attribute, attribute.question, attribute.answer),
        "perturbed_answer": [_say(person, attribute.answer, value) for value in wrong],
    }


def _forms(person: Person) -> Iterator[dict[str, Any]]:
    """Each form of the question with the canonical answer, and the canonical question with each form of the answer."""
    for a in ATTRIBUTES:
        pairs = (a.question, a.answer), (a.question, a.paraphrased_answer), (a.paraphrased_question, a.answer)
        for number, (question, answer) in enumerate(pairs):
            yield _ask(person, a, question, answer, f"-{number}")


def _ask(person: Person, attribute: Attribute, question: str, answer: str, mark: str = "") -> dict[str, Any]:
    return {
        "id": f"{person.id}-{attribute.name}{mark}",
        "entity": person.id,
        "question": question.format(name=person.name),
        "answer": _say(person, answer, attribute.value(person)),
    }


def _say(person: Person, answer: str, value: str) -> str:
    return answer.format(name=person.name, value=value)


def _wrong(population: Population, person: Person, attribute: Attribute, count: int) -> list[str]:
    others = [value for value in attribute.pool(population) if value != attribute.value(person)]
    place = [item.name for item in ATTRIBUTES].index(attribute.name)
    rng = np.random.default_rng([population.seed, 2, int(person.id[1:]), place])
    return rng.choice(others, count, replace=False).tolist()


def _facts(seed: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng([seed, 3])
    for country in COUNTRIES:
        for fact, question, answer, value in FACTS:
            others = [value(other) for other in COUNTRIES if other is not country]
            wrong = rng.choice(others, PERTURBED_UTILITY, replace=False).tolist()
            yield {
                "id": f"{country.name.lower()}-{fact}",
                "entity": country.name.lower(),
                "question": question.format(name=country.name),
                "answer": answer.format(name=country.name, value=value(country)),
                "perturbed_answer": [answer.format(name=country.name, value=other) for other in wrong],
            }


def tokenizer(records: Sequence[dict[str, Any]]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `VOCABULARY` tokens learnt from questions and answers; it can encode any text."""
    # As the model's prompt will show them, so that merges see the same word boundaries.
    texts = [f"Question: {record['question']}\nAnswer: {record['answer']}" for record in records]
    return byte_level(texts, VOCABULARY, CONTEXT)


def byte_level(
    texts: Sequence[str], vocabulary: int, context: int, first: PreTokenizer | None = None
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of so many tokens learnt from texts, with `SPECIAL` as its first ids.

    `first` cuts the texts before the bytes are looked at.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    last = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.pre_tokenizer = last if first is None else pre_tokenizers.Sequence([first, last])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))])
    pad, bos, eos = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, model_max_length=context, padding_side="left", pad_token=pad, bos_token=bos, eos_token=eos
    )


def config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The tiny Llama of this world: 128 wide, two layers, 0.5 million parameters."""
    from transformers import LlamaConfig

    ids: dict[str, Any] = dict(zip(("pad_token_id", "bos_token_id", "eos_token_id"), range(len(SPECIAL)), strict=True))
    return LlamaConfig(vocab_size=len(tokenizer), **ARCHITECTURE, **ids)
