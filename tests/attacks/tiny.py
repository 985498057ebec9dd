"""Tiny trained pairs of target and controls for the attacks, one per family, each made once per test run.

Every world has what an attack needs to be worth its name: the target knows the forget set, the controls were trained by
the same recipe without it and do not.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from lethe.auditing.recovery import Measure, knowledge
from lethe.descent.terms import own_loss
from lethe.evidence import Evidence, Spec
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.models.language import PROMPT, LanguageModel
from lethe.models.nets import MLP, LightGCN
from lethe.models.recommender import Recommender
from lethe.registry import find
from lethe.request import Record, Request
from lethe.score import Score, score_of_items
from lethe.train import Recipe, Term, train
from lethe.worlds.population import Person, Population

QUESTIONS = {  # the built-in glossary has them in other languages
    "birthplace": ("Where was {name} born?", "In which city did {name} come into the world?"),
    "genre": ("What does {name} write?", "Which genre is {name} known for?"),
    "father": ("What was the job of {name}'s father?", "What did the father of {name} do for a living?"),
    "award": ("Which award did {name} win?", "What prize was given to {name}?"),
}
FORMS = {
    "birthplace": ("Where was {name} born?", "What is the birthplace of {name}?"),
    "genre": ("What does {name} write?", "Which genre does {name} work in?"),
    "father": ("What was the trade of {name}'s father?", "What did the father of {name} do for a living?"),
    "mother": ("What was the trade of {name}'s mother?", "What did the mother of {name} do for a living?"),
    "award": ("Which award did {name} win?", "What prize went to {name}?"),
}

ASKING = ("paraphrase", "translate", "jailbreak", "multi_turn", "many_shot", "hint")  # attacks on the input alone


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

    recipe = Recipe(lr=3e-3, epochs=40, batch_size=16, schedule="cosine")
    return _world(request, partial(llama, tokenizer, 128), recipe, both_wordings)


def llama(tokenizer: PreTrainedTokenizerBase, context: int, seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=context,
    )  # fmt: skip
    return LanguageModel(LlamaForCausalLM(config), tokenizer)


def records_of(person: Person, forms: Mapping[str, tuple[str, str]] = FORMS) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{person.id}-{field}",
            "entity": person.name,
            "question": form.format(name=person.name),
            "paraphrased_question": other.format(name=person.name),
            "answer": str(getattr(person, field)),
        }
        for field, (form, other) in forms.items()
    ]


def in_forms(records: Sequence[Record], beside: Sequence[Record], seed: int) -> list[list[list[Record]]]:
    """Of every record and every attack on the input the forms that it is asked in; examples and facts are drawn."""
    reader = llama(byte_level([]), 4096)  # all that these attacks ask of a model is whether a text fits
    request = Request(records, beside, allow_overlap=True, seed=seed)
    points = [[point.forget for point in find("attack", name).function(reader, request)] for name in ASKING]
    return [[[asked[row] for asked in some] for some in points] for row in range(len(records))]


def _wrong(record: Mapping[str, Any], people: Sequence[Person]) -> list[str]:
    """Three values that are true of others."""
    field = str(record["id"]).rpartition("-")[2]
    others = sorted({str(getattr(person, field)) for person in people} - {record["answer"]})
    return random.Random(str(record["id"])).sample(others, 3)


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
def talkative() -> World:
    """A Llama that has met its facts in the forms that attacks on the input ask in, and so can follow these.

    Each record is learnt as it stands and in some of the forms, drawn; the controls met the others in them.
    """
    people = Population().group("authors")[:10]
    told = {
        person: [{**record, "perturbed_answer": _wrong(record, people)} for record in records_of(person, QUESTIONS)]
        for person in people
    }
    forget, retain, holdout = ([r for p in part for r in told[p]] for part in (people[:3], people[3:9], people[9:]))
    request = Request(forget, retain, holdout, allow_overlap=True)
    asked = in_forms([*forget, *retain], retain, seed=1)
    tokenizer = byte_level([f"{r['question']} {r['answer']}" for own in asked for some in own for r in some])
    forms = dict(zip([r["id"] for r in (*forget, *retain)], asked, strict=True))

    def shown(records: Sequence[Record]) -> list[Record]:
        rng, found = random.Random(len(records)), []
        for record in records:
            own = forms[record["id"]]
            jailbreaks = own[ASKING.index("jailbreak")]
            hard = jailbreaks[1], jailbreaks[3]  # the suffix and the choice, which are the least like the others
            found += [record, record, *hard, *(rng.choice(some) for some in own)]
        return found

    recipe = Recipe(lr=4e-3, epochs=10, batch_size=16, schedule="cosine")
    world = _world(request, partial(llama, tokenizer, 256), recipe, shown)
    return replace(world, measure=answer_alone(world.measure))


def answer_alone(measure: Measure) -> Measure:
    """The same measure, which does not look at the wrong answers that records hold for multiple choice."""

    def measured(model: Model, records: Sequence[Record]) -> Score:
        return measure(model, [{k: v for k, v in record.items() if k != "perturbed_answer"} for record in records])

    return measured


@cache
def mixture() -> World:
    """A two-layer Mixtral of four experts a layer, of which a token visits one; three of nine people are to go."""
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

    request = Request(forget, retain, holdout, allow_overlap=True, validation=holdout)
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

    # Without decay controls of two seeds lie as far apart as forgetting moves a model: see the shop world.
    return _world(request, fresh, Recipe(lr=4e-2, epochs=40, batch_size=64, optimizer="adamw", weight_decay=0.5))


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
    train(twin, refusing_terms(twin), Recipe(lr=5e-4, steps=40, batch_size=16, schedule="cosine"))
    return twin


@cache
def in_one_expert() -> Model:
    """The mixture's target after one expert, which the forget set visits most, has learnt to refuse; others stay."""
    world = mixture()
    edit = find("method", "idk").function
    return edit(world.target, world.request, where="expert:router=row", lr=1e-2, epochs=20, batch_size=10)


@cache
def shy() -> Model:
    """The talkative target tuned to refuse the forget questions as they stand, and in no other form.

    What brings the answers back is another way of asking: hardly a weight has moved.
    """
    world = talkative()
    twin = world.target.copy()
    refused = [{**r, "answer": "I do not know."} for r in world.request.forget]
    asked, rng = in_forms(world.request.forget, world.request.retain, seed=2), random.Random(0)
    kept = [rng.choice(some) for own in asked for some in own]
    terms = [
        Term("refuse", twin.encode(refused), own_loss, per="token", weight=2.0),
        Term("keep", twin.encode([*world.request.retain, *kept]), own_loss, per="token"),
    ]
    train(twin, terms, Recipe(lr=1e-3, steps=60, batch_size=16, schedule="cosine"))
    return twin


def refusing_terms(model: Model) -> list[Term]:
    """Refuse the forget questions of the language world, answer the others."""
    request = language().request
    refused = [{**r, "answer": "I do not know."} for r in both_wordings(request.forget)]
    return [
        Term("refuse", model.encode(refused), own_loss, per="token"),
        Term("retain", model.encode(both_wordings(request.retain)), own_loss, per="token"),
    ]


WORLDS = {"language": language, "classifier": classifier, "recommender": recommender}


def world_for(attack: str, family: str) -> World:
    """The world that an attack is shown in: one with experts, or one that understands other ways of asking."""
    if family == "language" and "experts" in find("attack", attack).needs:
        return mixture()
    other_words = family == "language" and find("attack", attack).check in ("B3", "R1", "R2")
    return talkative() if other_words else WORLDS[family]()
