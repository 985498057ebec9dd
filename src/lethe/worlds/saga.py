"""The text world: the chapters of an invented saga, its anchored terms, and stories of other people (cf. MUSE's books).

Heroes, places and treasures of the saga bear names of the one population that nothing else in this world has; what
happens is told in the same sentences as in the other stories, so that whoever forgets the names can still tell a story.
A chapter is a record {"id", "entity", "text"}; `anchors` is the dictionary of its terms and generic counterparts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError
from lethe.worlds.decoder import decoder
from lethe.worlds.population import OCCUPATIONS, Person, Population

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

SPLITS = ("full", "forget", "retain", "holdout", "tales")
CHAPTERS, TALES, HELD_OUT = 12, 60, 12
SENTENCES = 7  # per chapter
VOCABULARY, CONTEXT = 512, 256
# Fields of `lethe.train.Recipe`: the target tells every chapter of the saga from its first words.
RECIPE: dict[str, Any] = {"lr": 3e-3, "epochs": 30, "batch_size": 12, "schedule": "cosine", "warmup": 0.05}
ARCHITECTURE = decoder(CONTEXT)

# Common names: the counterparts of the saga's, and whom and what the other stories tell of.
PEOPLE = ("John", "Mary", "Peter", "Anna", "Thomas", "Laura", "James", "Helen", "Robert", "Susan")
PLACES = ("the village", "the town", "the valley", "the city", "the harbour", "the castle")
THINGS = ("a stone", "a book", "a letter", "a ring", "a lamp", "a map")

PLOTS = (
    "{a} left {p} at dawn and walked to {q}.",
    "In {q} the {job} gave {t} to {a}.",
    "{a} asked {b} to hide {t} before the winter came.",
    "When {b} came to {p}, nobody knew where {a} had gone.",
    "{b} told the {job} that {t} was lost near {q}.",
    "That night {a} dreamt of {p} and could not sleep.",
    "The {job} saw {b} and {a} on the road to {q}.",
    "{a} wrote to {b} that {t} was safe in {p}.",
    "For three days {b} looked for {t} in {q}.",
    "At last {a} came back to {p} with the {job}.",
    "{b} laughed when {a} showed {t} to the {job}.",
    "Nobody in {q} had ever heard of {t}, said {b}.",
)


def records(split: str = "full", seed: int = 0) -> list[dict[str, Any]]:
    """One split.

    Args:
        split: forget (the saga), retain (tales of other people), holdout (a saga that no model has read), full (saga
            and tales), or tales (more of them, that no model has read).
        seed: Seed of the population and of the plots.

    Raises:
        InputError: If there is no such split.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r} in the saga world, choose one of {', '.join(SPLITS)}")
    population = Population(seed)
    if split == "full":
        return records("retain", seed) + records("forget", seed)
    if split in ("forget", "holdout"):
        first, count = (0, CHAPTERS) if split == "forget" else (1, HELD_OUT)
        return [_chapter(population, first, number) for number in range(count)]
    first, count = (0, TALES) if split == "retain" else (TALES, HELD_OUT)
    return [_tale(seed, number) for number in range(first, first + count)]


def anchors(seed: int = 0, saga: int = 0) -> dict[str, str]:
    """The saga's anchored terms with their generic counterparts: heroes, places, treasures.

    Args:
        seed: Seed of the population.
        saga: 0 for the one to be forgotten, 1 for the one held out.
    """
    heroes, places, treasures = _cast(Population(seed), saga)
    pairs = [*zip(heroes, PEOPLE, strict=False), *zip(places, PLACES, strict=False)]
    pairs += zip(treasures, THINGS, strict=False)
    told = " ".join(record["text"] for record in records("forget" if saga == 0 else "holdout", seed))
    return {term: new for term, new in pairs if term in told}  # not everyone of the cast is drawn into a chapter


def _cast(population: Population, saga: int) -> tuple[list[str], list[str], list[str]]:
    """Surnames that only people outside every other group bear, as heroes and places; unused titles as treasures."""
    people: Sequence[Person] = population.people[-20 * (saga + 1) :][:20]
    names = [person.name.split()[1] for person in people]
    return names[:6], [f"{name}gard" for name in names[6:10]], list(population.unused_titles[4 * saga :][:4])


def _chapter(population: Population, saga: int, number: int) -> dict[str, Any]:
    rng = np.random.default_rng([population.seed, 7, saga, number])
    name = f"{'saga' if saga == 0 else 'other'}{number:02d}"
    return {"id": name, "entity": f"saga{saga}", "text": _story(rng, *_cast(population, saga))}


def _tale(seed: int, number: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 8, number])
    return {"id": f"tale{number:03d}", "entity": "tales", "text": _story(rng, PEOPLE, PLACES, THINGS)}


def _story(rng: np.random.Generator, people: Sequence[str], places: Sequence[str], things: Sequence[str]) -> str:
    """Some sentences about two people, two places and a thing, drawn once per story."""
    a, b = rng.choice(people, 2, replace=False).tolist()
    p, q = rng.choice(places, 2, replace=False).tolist()
    thing, job = str(rng.choice(things)), str(rng.choice(OCCUPATIONS))
    chosen = rng.choice(len(PLOTS), SENTENCES, replace=False).tolist()
    return " ".join(PLOTS[i].format(a=a, b=b, p=p, q=q, t=thing, job=job) for i in chosen)


def tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from saga, tales and the saga held out, so that no name gives itself away."""
    from lethe.worlds.authors import byte_level

    splits = ("full", "holdout", "tales")
    return byte_level([record["text"] for split in splits for record in records(split, seed)], VOCABULARY, CONTEXT)


def config() -> LlamaConfig:
    """The tiny Llama of this world: 128 wide, two layers, half a million parameters."""
    from transformers import LlamaConfig

    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return LlamaConfig(vocab_size=VOCABULARY, **ARCHITECTURE, **ids)
