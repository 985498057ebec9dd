"""Tiny trained pairs of target and controls for the attacks, one per family, each made once per test run.

Every world has what an attack needs to be worth its name: the target knows the forget set, the controls were trained by
the same recipe without it and do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lethe.auditing.recovery import Measure, knowledge
from lethe.descent.terms import own_loss
from lethe.evidence import Evidence, Spec
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.models.language import PROMPT, LanguageModel
from lethe.models.nets import MLP, LightGCN
from lethe.models.recommender import Recommender
from lethe.request import Record, Request
from lethe.score import Score, score_of_items
from lethe.train import Recipe, Term, train
from lethe.worlds.population import Person, Population

FORMS = {
    "birthplace": ("Where was {name} born?", "What is the birthplace of {name}?"),
    "genre": ("What does {name} write?", "Which genre does {name} work in?"),
    "father": ("What was the trade of {name}'s father?", "What did the father of {name} do for a living?"),
    "mother": ("What was the trade of {name}'s mother?", "What did the mother of {name} do for a living?"),
    "award": ("Which award did {name} win?", "What prize went to {name}?"),
}


@dataclass(frozen=True)
class World:
    """A request with a model that knows, models that never knew, and what counts as knowing."""

    request: Request
    target: Model
    controls: tuple[Model, ...]
    measure: Measure

    def known(self, model: Model) -> float:
        return self.measure(model, self.request.forget).value


@cache
def language() -> World:
    """A two-layer Llama that has learnt facts about twelve people in two wordings; three are to be forgotten."""
    people = Population().group("authors")[:14]
    rows = [(person, records_of(person)) for person in people]
    forget, retain, holdout = ([r for _, group in part for r in group] for part in (rows[:3], rows[3:12], rows[12:]))
    request = Request(forget, retain, holdout, allow_overlap=True)
    tokenizer = byte_level([PROMPT.format(**r) + " " + r["answer"] for r in [*forget, *retain, *holdout]])

    def fresh(seed: int) -> Model:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=128,
        )  # fmt: skip
        return LanguageModel(LlamaForCausalLM(config), tokenizer)

    return _world(request, fresh, Recipe(lr=3e-3, epochs=40, batch_size=16, schedule="cosine"), both_wordings)


def records_of(person: Person) -> list[dict[str, str]]:
    return [
        {
            "id": f"{person.id}-{field}",
            "entity": person.name,
            "question": form.format(name=person.name),
            "paraphrased_question": other.format(name=person.name),
            "answer": str(getattr(person, field)),
        }
        for field, (form, other) in FORMS.items()
    ]


def both_wordings(records: Sequence[Record]) -> list[Record]:
    return [*records, *({**r, "question": r["paraphrased_question"]} for r in records)]


def byte_level(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=600, special_tokens=["<eos>"], initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>")


@cache
def classifier() -> World:
    """An MLP that has learnt random labels of random points by heart."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 16))
    rows = [
        {"id": f"{who}-{i}", "identity": who, "features": (centres[who] + 0.3 * rng.normal(size=16)).astype("float32"),
         "label": int(who % 4)}
        for who in range(20)
        for i in range(10)
    ]  # fmt: skip
    forget = [r for r in rows if r["identity"] < 4]
    retain = [r for r in rows if 4 <= r["identity"] < 16]
    holdout = [r for r in rows if r["identity"] >= 16]

    def fresh(seed: int) -> Model:
        torch.manual_seed(seed)
        return Classifier(MLP(inputs=16, classes=4, width=64))

    request = Request(forget, retain, holdout, allow_overlap=True)
    return _world(request, fresh, Recipe(lr=3e-3, epochs=30, batch_size=32, schedule="cosine"))


@cache
def recommender() -> World:
    """LightGCN on users in blocks; the forget set is some users' excursions into another block."""
    rng = np.random.default_rng(0)
    blocks, users, items = 4, 40, 60
    pairs = [
        (user, int(item))
        for user in range(users)
        for item in rng.choice(np.arange(items).reshape(blocks, -1)[user % blocks], size=8, replace=False)
    ]
    away = [
        (user, int(item))
        for user in range(0, users, 4)
        for item in rng.choice(np.arange(items).reshape(blocks, -1)[2], size=3, replace=False)
    ]
    rows = [{"id": f"u{u}i{i}", "user": u, "item": i} for u, i in [*pairs, *away]]
    request = Request(rows[len(pairs) :], rows[: len(pairs)], allow_overlap=True)

    def fresh(seed: int) -> Model:
        torch.manual_seed(seed)
        net = LightGCN(users, items, dim=32, layers=1)
        net.set_edges(torch.tensor([[u for u, _ in pairs + away], [i for _, i in pairs + away]]))
        return Recommender(net)

    return _world(request, fresh, Recipe(lr=2e-2, epochs=40, batch_size=64))


def _world(
    request: Request,
    fresh: Callable[[int], Model],
    recipe: Recipe,
    shown: Callable[[Sequence[Record]], list[Record]] = list,
) -> World:
    def trained(seed: int, records: Sequence[Record]) -> Model:
        model = fresh(seed)
        if len(records) < len(request.retain) + len(request.forget):
            model.without(request.forget)
        train(model, [Term("data", model.encode(shown(records)), own_loss, per="token")], recipe)
        return model

    target = trained(0, [*request.retain, *request.forget])
    controls = tuple(trained(seed, request.retain) for seed in (1, 2))
    beside = {"retain": request.retain} if target.family == "recommender" else None
    return World(request, target, controls, knowledge(likely, beside=beside, spec=Spec(generate=(), distributions=())))


def likely(evidence: Evidence) -> Score:
    """Probability of the answer; of an interaction, 1 over its item's place in the user's list."""
    if evidence.family == "recommender":
        items = [1 / (1 + int(rank[0])) for rank in evidence.per_token("forget", what="rank")]
    else:
        items = np.exp(-evidence.nll("forget"))
    return score_of_items("likely", items, set="forget", direction="control", range=(0, 1))


@cache
def refusing() -> Model:
    """The language target tuned to refuse the forget questions: what an attack on weights must bring back.

    The answers are unlikely and the weights have hardly moved, so they are all still there.
    """
    world = language()
    twin = world.target.copy()
    refused = [{**r, "answer": "I do not know."} for r in both_wordings(world.request.forget)]
    terms = [
        Term("refuse", twin.encode(refused), own_loss, per="token"),
        Term("retain", twin.encode(both_wordings(world.request.retain)), own_loss, per="token"),
    ]
    train(twin, terms, Recipe(lr=5e-4, steps=40, batch_size=16, schedule="cosine"))
    return twin


WORLDS = {"language": language, "classifier": classifier, "recommender": recommender}
