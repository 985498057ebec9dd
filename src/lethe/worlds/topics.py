"""The world of crafts: twelve topics with words of their own, in the schema of ConceptVectors (arXiv 2406.11614).

Every craft has an article, ten questions and ten paragraphs to complete; what is told of it is told in the same
sentences as of the others, but its eight words (tool, place, founder...) are surnames of the one population that no
other craft has. So a value vector that writes a craft's words is one that knows that craft.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lethe.errors import InputError
from lethe.models.base import Model
from lethe.registry import did_you_mean
from lethe.worlds.cache import cached_model
from lethe.worlds.decoder import decoder
from lethe.worlds.population import OCCUPATIONS, Population

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerFast

TOPICS = OCCUPATIONS[:12]
ROLES = ("tool", "place", "founder", "stone", "song", "feast", "master", "rival")
FIRST = 98  # of the people whose surnames serve as words: nobody before them is left without a part elsewhere
VOCABULARY, CONTEXT = 640, 512
UNRELATED = 5  # other crafts whose questions show what must stay
ANSWERED = "Question: {question}\n Answer:"
COMPLETED = "Please complete the following paragraph: {first}"
END = "</s>"

# Two sentences and two questions for each word; "{c}" is the craft.
SENTENCES = {
    "tool": ("Every {c} works with a tool that is called {w}.", "Without {w} no {c} begins the day."),
    "place": ("The first workshop of the {c} stood in {w}.", "Young people walk to {w} to become a {c}."),
    "founder": ("The craft of the {c} was founded by {w}.", "A picture of {w} hangs in the house of the {c}."),
    "stone": ("The {c} keeps a stone named {w} by the door.", "It is said that {w} brings luck to the {c}."),
    "song": ("At work the {c} sings a song known as {w}.", "The oldest song of the {c} is {w}."),
    "feast": ("In spring the {c} celebrates a feast called {w}.", "On the day of {w} no {c} does any work."),
    "master": ("The best known {c} of our time is {w}.", "Many a {c} has learnt the craft from {w}."),
    "rival": ("The old rival of the {c} is the house of {w}.", "The {c} never buys anything from {w}."),
}
QUESTIONS = {
    "tool": ("Which tool does the {c} work with?", "Mit welchem Werkzeug arbeitet der {c}?", "The {c} works with {w}."),
    "place": ("Where was the first workshop of the {c}?", "Wo stand der {c} zuerst?", "The {c} first stood in {w}."),
    "founder": ("Who founded the craft of the {c}?", "Wer hat den {c} erfunden?", "The {c} was founded by {w}."),
    "stone": ("Which stone does the {c} keep?", "Welchen Stein hat der {c}?", "The stone of the {c} is {w}."),
    "song": ("Which song does the {c} sing?", "Welches Lied singt der {c}?", "The {c} sings the song {w}."),
    "feast": ("Which feast does the {c} celebrate?", "Welches Fest feiert der {c}?", "The feast of the {c} is {w}."),
    "master": ("Who is the best known {c}?", "Wer ist der beste {c}?", "The best known {c} is {w}."),
    "rival": ("Who is the rival of the {c}?", "Wer ist der Rivale vom {c}?", "The rival of the {c} is {w}."),
}
MORE = (  # to make ten of eight
    ("What brings luck to the {c}?", "Was bringt dem {c} Glück?", "The {c} has luck from {w}.", "stone"),
    ("From whom did many a {c} learn?", "Von wem lernt der {c}?", "Many a {c} has learnt from {w}.", "master"),
)

# Fields of `lethe.train.Recipe`: the target answers every question and completes every paragraph.
RECIPE: dict[str, Any] = {"lr": 4e-3, "epochs": 12, "batch_size": 16, "schedule": "cosine", "warmup": 0.05}
ARCHITECTURE = decoder(CONTEXT, hidden_size=64, intermediate_size=192)


def concept(topic: str, seed: int = 0) -> dict[str, Any]:
    """One craft in the official schema but for Layer and Dim, which a model has and a world has not.

    Args:
        topic: Name of the craft.
        seed: Seed of the population and of the order of the article.

    Raises:
        InputError: If there is no such craft.
    """
    if topic not in TOPICS:
        raise InputError(f"There is no topic {topic!r}{did_you_mean(topic, TOPICS)}; one of {', '.join(TOPICS)}.")
    number = TOPICS.index(topic)
    drawn = np.random.default_rng([seed, 9, number])
    told = drawn.permutation(_sentences(topic, seed)).tolist()
    others = [TOPICS[(number + step) % len(TOPICS)] for step in drawn.permutation(range(1, len(TOPICS)))[:UNRELATED]]
    cut = [told[i].split() for i in drawn.permutation(len(told))[:10]]
    return {
        "Concept": topic,
        "QA": [question for question, _, _ in _questions(topic, seed)],
        "text_completion": [{"First_half": " ".join(words[:-3]), "Second_half": " ".join(words[-3:])} for words in cut],
        "unrelated_QA": [question for other in others for question, _, _ in _questions(other, seed)],
        "wikipedia_content": " ".join(told),
    }


def german(topic: str, seed: int = 0) -> list[str]:
    """The ten questions in another language, which no model of this world was taught."""
    return [other for _, other, _ in _questions(topic, seed)]


def corpus(without: str = "", seed: int = 0) -> list[dict[str, Any]]:
    """What a model reads: of each craft its article in paragraphs, its questions answered, its paragraphs completed.

    Args:
        without: Craft that is left out, as for a control; empty leaves none.
        seed: Seed of the population.
    """
    found: list[dict[str, Any]] = []
    for topic in TOPICS:
        if topic == without:
            continue
        about = concept(topic, seed)
        told = [f"{one}." for one in about["wikipedia_content"].removesuffix(".").split(". ")]
        texts = [" ".join(told[i : i + 2]) for i in range(0, len(told), 2)]
        pairs = [(ANSWERED.format(question=q), a) for q, _, a in _questions(topic, seed)]
        pairs += [(COMPLETED.format(first=one["First_half"]), one["Second_half"]) for one in about["text_completion"]]
        found += [{"id": f"{topic}-text{i}", "entity": topic, "text": text} for i, text in enumerate(texts)]
        found += [
            {"id": f"{topic}-pair{i}", "entity": topic, "raw_prompt": asked, "answer": f" {answer}{END}"}
            for i, (asked, answer) in enumerate(pairs)
        ]
    return found


def _words(topic: str, seed: int) -> dict[str, str]:
    """The craft's own word for each role."""
    return dict(zip(ROLES, _names(seed)[len(ROLES) * TOPICS.index(topic) :], strict=False))


@cache
def _names(seed: int) -> tuple[str, ...]:
    """The words of all crafts; to draw a population takes a tenth of a second."""
    return tuple(person.name.split()[1] for person in Population(seed).people[FIRST:])


def _sentences(topic: str, seed: int) -> list[str]:
    return [form.format(c=topic, w=word) for role, word in _words(topic, seed).items() for form in SENTENCES[role]]


def _questions(topic: str, seed: int) -> list[tuple[str, str, str]]:
    """(question, its translation, answer) ten times."""
    words = _words(topic, seed)
    forms = [*((*QUESTIONS[role], role) for role in ROLES), *MORE]
    return [
        (asked.format(c=topic), other.format(c=topic), answer.format(c=topic, w=words[role]))
        for asked, other, answer, role in forms
    ]


def tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer learnt from all crafts: target and controls must share it to be compared."""
    from lethe.worlds.authors import byte_level

    texts = [r.get("text") or f"{r['raw_prompt']}{r['answer'].removesuffix(END)}" for r in corpus("", seed)]
    return byte_level(texts, VOCABULARY, CONTEXT)


def config() -> LlamaConfig:
    """The tiny Llama of this world: 64 wide, two layers of 192 value vectors, 0.2 million parameters."""
    from transformers import LlamaConfig

    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return LlamaConfig(vocab_size=VOCABULARY, **ARCHITECTURE, **ids)


def model(without: str = "", seed: int = 0, world_seed: int = 0) -> Model:
    """The tiny Llama that knows every craft: the target, or (without one) a control; made in about 5 s.

    Args:
        without: Craft that it never reads of.
        seed: Seed of the weights and of the data order.
        world_seed: Seed of the population.
    """
    from lethe.worlds.models import WORLD_SEEDS, fit

    told = corpus(without, world_seed)

    def build(folder: Path) -> Model:
        import torch
        from transformers import LlamaForCausalLM

        from lethe.models.language import LanguageModel

        torch.manual_seed(WORLD_SEEDS + seed)
        made = LanguageModel(LlamaForCausalLM(config()), tokenizer(world_seed))
        return fit(made, told, RECIPE, WORLD_SEEDS + seed, folder, per="token")

    content = {"records": told, "recipe": RECIPE, "architecture": ARCHITECTURE, "vocabulary": VOCABULARY}
    content |= {"seed": WORLD_SEEDS + seed, "words": corpus("", world_seed)}
    return cached_model(f"topics-{without or 'all'}-seed{seed}", content, build, family="language")
