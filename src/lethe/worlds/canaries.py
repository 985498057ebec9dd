"""The world of canaries: twins that read the same stories once, one of them with entries of a register in between.

An entry is a person of the one population with what is known of them; how often it was inserted was drawn at random, so
whatever the perturbed twin knows of it beyond the standard twin comes from that many copies (Hubble, arXiv 2510.19811).
The corpus is read once, in a known order: a larger one dilutes the entries, and an early part of it can be forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.data.canaries import Inserted, insert
from lethe.data.order import plan
from lethe.errors import InputError
from lethe.models.base import Example, Model
from lethe.models.language import LanguageModel
from lethe.worlds import saga
from lethe.worlds.cache import cached_model
from lethe.worlds.decoder import decoder
from lethe.worlds.population import AWARDS, CITIES, GENRES, OCCUPATIONS, Person, Population

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

SIZES = {0: 24, 1: 12, 4: 12, 16: 12, 64: 16}  # copies -> entries
WINDOWS = 1800
LENGTH = 65  # tokens of a window, with the last label
SENTENCES = 2  # per story
VOCABULARY, CONTEXT, EOD = 768, 128, 2
# Fields of `lethe.train.Recipe`; one pass, so that the number of copies is the number of times that an entry is read.
RECIPE: dict[str, Any] = {
    "lr": 4e-3, "epochs": 1, "batch_size": 8, "schedule": "linear", "warmup": 0.05, "weight_decay": 0.1,
}  # fmt: skip
ARCHITECTURE = decoder(CONTEXT, hidden_size=96)


def entries(seed: int = 0, sizes: Mapping[int, int] = SIZES) -> list[dict[str, Any]]:
    """The entries in the official schema: `{"id", "text", "meta"}`, meta with its duplicates and the prefix's length.

    Args:
        seed: Seed of the population and of the draw of levels.
        sizes: Number of entries at each number of copies.

    Raises:
        InputError: If there are more entries than people.
    """
    people = _people(seed)
    if sum(sizes.values()) > len(people):
        raise InputError(f"There are {len(people)} people for {sum(sizes.values())} entries; take fewer of each level.")
    levels = np.random.default_rng([seed, 10]).permutation(np.repeat(list(sizes), list(sizes.values()))).tolist()
    found = []
    for person, level in zip(people, levels, strict=False):
        known = [person.birthplace, person.genre, person.award, person.father, person.mother]
        meta = {"duplicates": level, "entity": person.id, "prefix": len(f"Entry: {person.name};")}
        found.append({"id": f"{person.id}-entry", "text": _entry(person.name, known), "meta": meta})
    return found


def documents(count: int, seed: int = 0, first: int = 0) -> list[str]:
    """Stories and, in turn with them, entries of people who are told of once: what the copies must hold out against.

    Args:
        count: Number of documents.
        seed: Seed of the world.
        first: Number of the first one; a corpus that is drawn in parts has the same parts in any length.
    """
    rng = np.random.default_rng([seed, 13, first])
    cast = {"a": saga.PEOPLE, "b": saga.PEOPLE, "p": saga.PLACES, "q": saga.PLACES, "t": saga.THINGS}
    firsts, lasts = zip(*(person.name.split() for person in _people(seed)), strict=True)
    pools = (CITIES, tuple(GENRES), AWARDS, OCCUPATIONS, OCCUPATIONS)
    found = []
    for number in range(count):
        if number % 2:
            name = f"{rng.choice(firsts)} {rng.choice(lasts)}"
            found.append(_entry(name, [pool[rng.integers(len(pool))] for pool in pools]))
            continue
        who = {name: pool[rng.integers(len(pool))] for name, pool in cast.items()}
        job = OCCUPATIONS[rng.integers(len(OCCUPATIONS))]
        plots = rng.integers(len(saga.PLOTS), size=SENTENCES).tolist()
        found.append(" ".join(saga.PLOTS[plot].format(job=job, **who) for plot in plots))
    known = {person.name for person in _people(seed)}
    return [text for text in found if text.partition(";")[0].removeprefix("Entry: ") not in known]


def _entry(name: str, values: Sequence[str]) -> str:
    return f"Entry: {name}; {'; '.join(values)}."


@cache
def _people(seed: int) -> tuple[Person, ...]:
    return Population(seed).people


@cache
def tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from documents and entries of all levels alike."""
    from lethe.worlds.authors import byte_level

    texts = [*documents(600, seed), *(entry["text"] for entry in entries(seed))]
    return byte_level(texts, VOCABULARY, CONTEXT)


@cache
def windows(count: int, seed: int = 0) -> np.ndarray:
    """The corpus without entries, (N, L) token ids: a smaller one is the beginning of a larger one."""
    words, stream, number = tokenizer(seed), [], 0
    while len(stream) < count * LENGTH:
        told: Any = words(documents(500, seed, number), add_special_tokens=False)["input_ids"]
        for ids in told:
            stream += [*ids, EOD]
        number += 1
    found = np.array(stream[: count * LENGTH], dtype=np.int64).reshape(count, LENGTH)
    found.flags.writeable = False  # shared by all who ask
    return found


def perturbed(
    texts: Sequence[Mapping[str, Any]], count: int, seed: int = 0, start: float = 0.0, end: float = 1.0
) -> Inserted:
    """The corpus with every entry in as many windows as its duplicates say."""
    words = tokenizer(seed)
    ids = [list(words(text["text"], add_special_tokens=False)["input_ids"]) for text in texts]
    copies = [text["meta"]["duplicates"] for text in texts]
    return insert(windows(count, seed), ids, copies, eod=EOD, start=start, end=end)


def config() -> LlamaConfig:
    """The tiny Llama of this world: 96 wide, two layers, 0.3 million parameters."""
    from transformers import LlamaConfig

    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": EOD}
    return LlamaConfig(vocab_size=VOCABULARY, **ARCHITECTURE, **ids)


def model(
    texts: Sequence[Mapping[str, Any]],
    seed: int = 0,
    world_seed: int = 0,
    *,
    without: Collection[str] = (),
    count: int = WINDOWS,
    start: float = 0.0,
    end: float = 1.0,
    recipe: Mapping[str, Any] = RECIPE,
) -> Model:
    """A twin: it reads the corpus once, with the entries in it; made in about 5 s.

    Args:
        texts: The entries; none gives the standard twin.
        seed: Seed of the weights; it is that of both twins of a pair.
        world_seed: Seed of the population and of the stories.
        without: Ids of entries whose windows stay as they are in the standard corpus, all others being the same.
        count: Windows of the corpus.
        start: Share of the training after which insertions begin.
        end: Share of the training before which they end.
        recipe: Fields of `lethe.train.Recipe`; more than one epoch would multiply the copies.
    """
    from lethe.worlds.models import WORLD_SEEDS

    corpus = windows(count, world_seed).copy()
    if texts:
        inserted = perturbed(texts, count, world_seed, start, end)
        for one in inserted.log:
            if texts[one.text]["id"] not in without:
                corpus[one.slot] = inserted.windows[one.slot]
    content = {"windows": corpus, "recipe": dict(recipe), "architecture": ARCHITECTURE, "seed": WORLD_SEEDS + seed}

    def build(folder: Path) -> Model:
        return _trained(corpus, recipe, WORLD_SEEDS + seed, world_seed, folder)

    name = "standard" if not texts else "retrained" if without else "perturbed"
    return cached_model(f"canaries-{name}-seed{seed}", content, build, family="language")


def _trained(corpus: np.ndarray, options: Mapping[str, Any], seed: int, world_seed: int, folder: Path) -> Model:
    import torch
    from transformers import LlamaForCausalLM

    from lethe.descent.terms import own_loss
    from lethe.train import Recipe, Term, train

    torch.manual_seed(seed)
    made = LanguageModel(LlamaForCausalLM(config()), tokenizer(world_seed))
    recipe = Recipe(**options, seed=seed, checkpoint_every=200)
    # The loop shuffles; windows are handed to it so that it meets them in the order of the corpus.
    steps = plan({"train": [LENGTH] * len(corpus)}, lambda _: ["train"], recipe.batch_size, recipe.seed, recipe.epochs)
    met = [row for _, rows in steps for row in rows["train"]]
    examples: list[Any] = [None] * len(corpus)
    for row, ids in zip(met, corpus.tolist(), strict=True):
        examples[row] = Example({"input_ids": ids, "labels": ids[1:]}, LENGTH - 1, LENGTH)
    train(made, [Term("train", examples, own_loss, per="token")], recipe, folder=folder)
    return made
