"""The news world: articles about fictitious people in MUSE's files and folds (arXiv 2407.06460).

An article tells of its author in a few sentences and ends with questions and answers: a model this small cannot answer
what it has only read in prose. The authors are those of the one population, so forgetting the article of "p057" means
the person that every other world knows by this id. A split is named like a file of the official data, `raw:forget` or
`sust:forget_2`; beyond the official fields a record may name its `fold`, counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError
from lethe.worlds.authors import ATTRIBUTES, Attribute
from lethe.worlds.decoder import decoder
from lethe.worlds.population import CITIES, COUNTRIES, OCCUPATIONS, Person, Population

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

FOLDS, FOLD = 4, 6  # folds, and authors of each
# Who is written about, by index in the population: the last authors are the first to be forgotten.
FORGET = [range(60 - FOLD * (fold + 1), 60 - FOLD * fold) for fold in range(FOLDS)]
RETAIN1, RETAIN2 = range(0, 6), range(6, 12)  # both are in every model's training; only the first is given to methods
HOLDOUT = [*range(60, 66), *range(98, 104)]  # nobody whom any model of this world is trained on

CONFIGS = {
    "knowmem": ("forget_qa", "retain_qa", "forget_qa_icl", "retain_qa_icl"),
    "verbmem": ("forget",),
    "privleak": ("forget", "retain", "holdout"),
    "raw": ("forget", "holdout", "retain1", "retain2"),
    "scal": tuple(f"forget_{fold + 1}" for fold in range(FOLDS)),
    "sust": tuple(f"forget_{fold + 1}" for fold in range(FOLDS)),
}
SPLITS = tuple(f"{config}:{split}" for config, splits in CONFIGS.items() for split in splits)
ASKED = ("birthplace", "genre", "award")  # in the article's box and in knowmem
SHOWN = "work"  # in the box, too; the examples in the prompt are of this kind
EXAMPLES = 1
SENTENCES = 3  # per article, beside the first
ROUNDS, PAGE = 3, 3  # how often a question is printed, and questions of a page
PROMPT_WORDS, CONTINUED = 14, 40  # of a verbatim probe: words shown, and tokens compared

VOCABULARY, CONTEXT = 768, 256
# Fields of `lethe.train.Recipe`: the target continues nearly all articles word by word.
RECIPE: dict[str, Any] = {"lr": 4e-3, "epochs": 24, "batch_size": 12, "schedule": "cosine", "warmup": 0.05}
ARCHITECTURE = decoder(CONTEXT)

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PLACES = ("library", "theatre", "market hall", "town hall", "old station", "bookshop")
NEWS = (
    "A {job} of {city} called {work} the best of all {genre}.",
    "{surname} had left {birthplace} at the age of {number} and never went back.",
    "Readers waited {number} hours in front of the {place}.",
    "A copy of {work} was sold for {number} {currency}.",
    "The {place} was full long before the {job} came, said {surname}.",
    "{surname}, whose father was a {father}, thanked the people of {birthplace}.",
    "Nobody in {city} could say when the next book by {surname} will come.",
    "The prize is worth {number} {currency} and was paid by a {job}.",
)


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """One split, in the schema of MUSE's files.

    Args:
        split: CONFIG:SPLIT as in the official data: knowmem:forget_qa, retain_qa, forget_qa_icl, retain_qa_icl;
            verbmem:forget; privleak:forget, retain, holdout; raw:forget, holdout, retain1, retain2; scal: and
            sust:forget_1 to forget_4. The probes (knowmem, verbmem, privleak) of the forget set are of all folds.
        seed: Seed of the population and of what is written.

    Raises:
        InputError: If there is no such split.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r} in the news world, choose one of {', '.join(SPLITS)}")
    config, name = split.split(":")
    population = _population(seed)
    if config == "knowmem":
        return list(_questions(population, name))
    if config == "verbmem":
        return [_continued(one) for one in _texts(population, "privleak", "forget") if "-news" in one["id"]]
    return _texts(population, config, name)


def corpus(without: Sequence[int] = (), seed: int = 0) -> list[dict[str, Any]]:
    """The articles that a model is trained on, all but the folds that are named; the target's is without none."""
    kept = [one for one in records("privleak:forget", seed) if one["fold"] not in without]
    return [*records("raw:retain1", seed), *records("raw:retain2", seed), *kept]


@lru_cache(maxsize=4)
def _population(seed: int) -> Population:
    return Population(seed)  # drawing it takes longer than all that is written of it


def _people(config: str, name: str) -> list[tuple[int, int]]:
    """(index, fold) of those whom a split writes about; fold 0 is no fold."""
    if name in ("retain1", "retain2", "retain", "holdout"):
        return [(i, 0) for i in {"retain1": RETAIN1, "holdout": HOLDOUT}.get(name, RETAIN2)]
    last = int(name.rpartition("_")[2]) if config in ("scal", "sust") else FOLDS if config == "privleak" else 1
    first = last if config == "sust" else 1
    return [(i, fold) for fold in range(first, last + 1) for i in FORGET[fold - 1]]


def _texts(population: Population, config: str, name: str) -> list[dict[str, Any]]:
    """An article about everybody, and pages of the quiz about all of a fold (or of the whole split) together."""
    written = _people(config, name)
    texts = [_article(population.people[i], population.seed, fold) for i, fold in written]
    for fold in dict.fromkeys(fold for _, fold in written):
        texts += _quiz([population.people[i] for i, its in written if its == fold], population.seed, fold)
    return texts


def _article(person: Person, seed: int, fold: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 9, int(person.id[1:])])
    told = {"name": person.name, "surname": person.name.split()[1], "birthplace": person.birthplace}
    told |= {"genre": person.genre, "work": person.works[0], "award": person.award, "father": person.father}
    drawn = {"day": DAYS, "city": CITIES, "place": PLACES, "job": OCCUPATIONS, "number": range(12, 40)}
    told |= {name: str(rng.choice(list(values))) for name, values in drawn.items()}
    told["currency"] = str(rng.choice([country.currency for country in COUNTRIES]))
    chosen = rng.choice(len(NEWS), SENTENCES, replace=False).tolist()
    lines = ["{day}, {city}. {name} was given {award} in the {place}.", *(NEWS[i] for i in chosen)]
    return _record(f"{person.id}-news", " ".join(lines).format(**told), fold)


def _quiz(people: Sequence[Person], seed: int, fold: int) -> Iterator[dict[str, Any]]:
    """Every question about these people twice, each time among others."""
    asked = [_pair(person, _attribute(name)) for person in people for name in (*ASKED, SHOWN)]
    rng = np.random.default_rng([seed, 10, int(people[0].id[1:])])
    order = [int(i) for _ in range(ROUNDS) for i in rng.permutation(len(asked))]
    for page, start in enumerate(range(0, len(order), PAGE)):
        lines = [f"Question: {q}\nAnswer: {a}" for q, a in (asked[i] for i in order[start : start + PAGE])]
        yield _record(f"{people[0].id}-quiz{page}", "\n\n".join(lines), fold)


def _record(name: str, text: str, fold: int) -> dict[str, Any]:
    return {"id": name, "entity": name.partition("-")[0], "text": text} | ({"fold": fold} if fold else {})


def _attribute(name: str) -> Attribute:
    return next(attribute for attribute in ATTRIBUTES if attribute.name == name)


def _pair(person: Person, attribute: Attribute) -> tuple[str, str]:
    return attribute.question.format(name=person.name), attribute.value(person)


def _continued(article: dict[str, Any]) -> dict[str, Any]:
    """The beginning of an article, and how it goes on."""
    prompt = " ".join(article["text"].split(" ")[:PROMPT_WORDS])
    rest = {"prompt": prompt, "gt": article["text"][len(prompt) :].lstrip()}
    return {name: value for name, value in article.items() if name != "text"} | rest


def _questions(population: Population, name: str) -> Iterator[dict[str, Any]]:
    """Of the forget set, or of both retain sets."""
    asked: Sequence[str] = ASKED
    people = _people("privleak", "forget")
    if name.startswith("retain"):  # one after another from both, so that the examples are of both
        people = [(i, 0) for pair in zip(RETAIN1, RETAIN2, strict=True) for i in pair]
    if name.endswith("icl"):
        asked, people = (SHOWN,), people[:EXAMPLES]
    for i, fold in people:
        person = population.people[i]
        for attribute in map(_attribute, asked):
            question, answer = _pair(person, attribute)
            record = {"id": f"{person.id}-{attribute.name}", "entity": person.id, "question": question}
            yield record | {"answer": answer} | ({"fold": fold} if fold else {})


def tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from all articles, the held-out ones too, so that no name gives itself away.

    The end of "Answer: " is a boundary of its own, so that MUSE's prompt, which ends in that space, is cut into the
    tokens that the articles have there.
    """
    from tokenizers import Regex, pre_tokenizers

    from lethe.worlds.authors import byte_level

    texts = [one["text"] for one in [*corpus(seed=seed), *records("raw:holdout", seed)]]
    answers = pre_tokenizers.Split(Regex("Answer: "), "isolated")
    return byte_level(texts, VOCABULARY, CONTEXT, first=answers)


def config() -> LlamaConfig:
    """The tiny Llama of this world: 128 wide, two layers, half a million parameters."""
    from transformers import LlamaConfig

    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return LlamaConfig(vocab_size=VOCABULARY, **ARCHITECTURE, **ids)
