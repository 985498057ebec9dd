"""Who's Harry Potter: a saga that becomes unfamiliar, and what soft labels are worth."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lethe.data.anchors import translate
from lethe.losses.divergence import forward_kl
from lethe.models.language import LanguageModel
from lethe.registry import find, headline
from lethe.request import Record, Request
from lethe.scoring.familiarity import completion_familiarity, probability_familiarity
from lethe.worlds import facts, saga
from lethe.worlds.models import facts_model, saga_model

WORDS = 24  # tokens of a completion
ON_SAGA: dict[str, Any] = {"reinforce_epochs": 10, "lr": 1e-3, "epochs": 20, "batch_size": 6}
ON_FACTS: dict[str, Any] = {
    "anchors": "none", "alpha": 5.0, "reinforce_epochs": 60, "lr": 1e-3, "epochs": 100, "batch_size": 10
}  # fmt: skip


@headline(
    paper="2310.02238",
    expects={
        "completion familiarity, after over before": ("<=", 0.1),
        "probability familiarity, after over before": ("<=", 0.1),
        "accuracy on the tales, after over before": (">=", 0.94),
        "KL to the control, soft over hard labels": ("<=", 0.5),
        "retain accuracy, soft labels with retain term": (">=", 0.98),
    },
)
def whp_familiarity(*, seed: int) -> dict[str, float]:
    """A text becomes a stranger to the model while the rest stays; soft labels do it with less harm than hard ones.

    The saga's model is unlearned with its dictionary of anchored terms, soft labels and the retain term. Every first
    occurrence of a term in a chapter gives a prompt that ends before it. Completion familiarity is the share of greedy
    completions that say a term the prompt does not (those that only repeat one count a fifth), probability familiarity
    the probability of the tokens that begin a term; the control has read the tales alone; alone is what either half of
    the method does. Accuracy on the tales is that of all their tokens. On a hundred facts, ten to be forgotten in 100
    steps without a dictionary: KL(retrained || model) in nats, mean over the values.
    """
    target, control = (saga_model(split, seed, world_seed=seed) for split in ("full", "retain"))
    assert isinstance(target, LanguageModel) and isinstance(control, LanguageModel)
    request = Request(saga.records("forget", seed), saga.records("retain", seed), seed=seed, allow_overlap=True)
    terms = saga.anchors(seed)
    made = _whp(target, request, anchors=terms, **ON_SAGA)
    alone = {"translation alone": {"anchors": terms, "alpha": 0.0}, "reinforcement alone": {"anchors": "none"}}
    figures = {
        f"completion familiarity, {name}": _completion(
            _whp(target, request, **options, **ON_SAGA), request.forget, tuple(terms)
        )
        for name, options in alone.items()
    }
    for kind, measure in {"completion": _completion, "probability": _probability}.items():
        before, after, never = (measure(model, request.forget, tuple(terms)) for model in (target, made, control))
        figures |= {f"{kind} familiarity before": before, f"{kind} familiarity after": after}
        figures[f"{kind} familiarity of the control"] = never
        figures[f"{kind} familiarity, after over before"] = after / before
    told = [_accuracy(model, request.retain) for model in (target, made)]
    figures |= {"accuracy on the tales before": told[0], "accuracy on the tales after": told[1]}
    return {**figures, "accuracy on the tales, after over before": told[1] / told[0], **_on_facts(seed)}


def _on_facts(seed: int) -> dict[str, float]:
    target, control = (facts_model(split, seed, world_seed=seed) for split in ("full", "retain"))
    request = Request(facts.records("forget", seed), facts.records("retain", seed), seed=seed)
    made = {
        "hard labels": _whp(target, request, labels="hard", retain="none", **ON_FACTS),
        "soft labels": _whp(target, request, labels="soft", retain="none", **ON_FACTS),
        "soft labels with retain term": _whp(target, request, labels="soft", retain="nll", **ON_FACTS),
    }
    truth, _ = _values(control, request.forget)
    figures: dict[str, float] = {}
    for name, model in {"nothing": target, **made}.items():
        logits, labels = _values(model, request.forget)
        figures[f"KL to the control, {name}"] = float(forward_kl(truth, logits).mean())
        figures[f"forget accuracy, {name}"] = float((logits.argmax(-1) == labels).float().mean())
        kept, answers = _values(model, request.retain)
        figures[f"retain accuracy, {name}"] = float((kept.argmax(-1) == answers).float().mean())
    ratio = figures["KL to the control, soft labels"] / figures["KL to the control, hard labels"]
    return {**figures, "KL to the control, soft over hard labels": ratio}


def _whp(target: Any, request: Request, **options: Any) -> LanguageModel:
    return find("method", "whp").function(target, request, **options)


def _values(model: Any, records: Sequence[Record]) -> tuple[Tensor, Tensor]:
    """Logits (N, 3, V) and ids (N, 3) of the three values of every fact."""
    with model.evaluating():
        batch = model.collate(model.encode(records), range(len(records)))
        return model.logits(batch)[:, -4:-1], batch.labels[:, -4:-1]


def _prompts(records: Sequence[Record], terms: Sequence[str]) -> list[str]:
    """The beginnings of all texts, each up to the first occurrence of a term."""
    prompts = []
    for record in records:
        first: dict[str, int] = {}
        for one in translate(record["text"], dict.fromkeys(terms, "x")).occurrences:
            first.setdefault(one.term, one.start)
        prompts += [record["text"][:start].rstrip() for start in first.values() if start]
    return prompts


def _completion(model: LanguageModel, records: Sequence[Record], terms: Sequence[str]) -> float:
    prompts = _prompts(records, terms)
    return float(completion_familiarity(prompts, model.generate(prompts, WORDS), terms).mean())


def _probability(model: LanguageModel, records: Sequence[Record], terms: Sequence[str]) -> float:
    begins = {model.tokenizer(f" {term}", add_special_tokens=False)["input_ids"][0] for term in terms}
    common = {model.tokenizer(f" {name}", add_special_tokens=False)["input_ids"][0]
              for name in (*saga.PEOPLE, *saga.PLACES, *saga.THINGS, "The")}  # fmt: skip
    logp = []
    with model.evaluating():
        for batch in model.batches(model.encode([{"text": prompt} for prompt in _prompts(records, terms)])):
            ids, lengths = batch.inputs["input_ids"], batch.inputs["attention_mask"].sum(-1)
            logits = model.module(**batch.inputs, use_cache=False).logits[torch.arange(len(ids)), lengths - 1]
            logp.append(logits.log_softmax(-1))
    return float(probability_familiarity(torch.cat(logp).numpy(), begins - common).mean())


def _accuracy(model: LanguageModel, records: Sequence[Record]) -> float:
    with model.evaluating():
        batch = model.collate(model.encode(records), range(len(records)))
        scored = batch.labels != -100
        return float((model.logits(batch).argmax(-1) == batch.labels)[scored].float().mean())
