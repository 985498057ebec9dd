"""ULD: what the assistant is taught, and that subtracting it spares the rest of a trained model."""

from collections import Counter
from typing import Any

import pytest
import torch

from lethe.attacks.merge import merge
from lethe.errors import InputError
from lethe.methods.uld import augmented, uld
from lethe.models.base import IGNORED
from lethe.models.difference import first_blocks, wrap
from lethe.request import Request
from lethe.runs.unlearn import changed_weights
from lethe.worlds import facts, records
from lethe.worlds.models import facts_model

STEPS = 150


def tofu() -> Request:
    return Request(records("authors", "forget01"), records("authors", "retain99")[:50], allow_overlap=True)


def test_augmentation_takes_the_records_own_fields():
    request = tofu()
    said, withheld = augmented(request, 2, 0, released=False)
    assert said[:5] == list(request.forget)
    assert [(r["question"], r["answer"]) for r in said[5:]] == [
        (r["paraphrased_question"], r["paraphrased_answer"]) for r in request.forget
    ]
    assert withheld[:50] == list(request.retain)
    assert Counter((r["question"], r["answer"]) for r in withheld[50:]) == Counter(
        (r["question"], wrong) for r in request.forget for wrong in r["perturbed_answer"][:2]
    )
    assert augmented(request, 0, 0, released=False) == (list(request.forget), list(request.retain))


def test_the_released_augmentation_also_doubts_what_is_to_be_kept():
    """As its file of wrong answers does for people outside the forget set; the last retain records stand for all."""
    request = tofu()
    _, withheld = augmented(request, 2, 0, released=True)
    assert withheld[:5] == list(request.retain[-5:])
    assert {r["entity"] for r in withheld[5:]} == {r["entity"] for r in [*request.forget, *request.retain[-5:]]}


def test_pairs_of_several_paraphrases_are_drawn_by_the_seed():
    record = {
        "id": "a", "question": "q", "answer": "a",
        "paraphrased_question": ["q1", "q2", "q1"], "paraphrased_answer": ["a1", "a2", " "],
    }  # fmt: skip
    request = Request([record], [{"id": "b", "question": "r", "answer": "s"}], allow_overlap=True)
    drawn = [augmented(request, 2, seed, released=False)[0][1:] for seed in (*range(8), 0)]
    assert drawn[0] == drawn[-1]
    assert all(len({(r["question"], r["answer"]) for r in pairs}) == 2 for pairs in drawn)
    assert len({str(pairs) for pairs in drawn}) > 1
    assert {r["question"] for pairs in drawn for r in pairs} == {"q1", "q2"}


def accuracy(model: Any, asked: Any) -> float:
    """Share of the values that are the likeliest."""
    with model.evaluating():
        batch = model.collate(model.encode(asked), range(len(asked)))
        hits = (model.logits(batch).argmax(-1) == batch.labels)[:, -4:-1]
    return float(hits.float().mean())


def test_subtraction_spares_the_rest_only_if_the_assistant_was_told_to():
    """At weight -1 nothing else is lost with the uniform term; without it, or without training, something is."""
    target = facts_model("full", 0)
    request = Request(facts.records("forget"), facts.records("retain"))
    options: dict[str, Any] = {"weight": -1.0, "top": 0.0, "epochs": STEPS, "batch_size": 10, "lr": 1e-3}
    made = uld(target, request, **options)
    assert accuracy(target, request.forget) == accuracy(target, request.retain) == 1
    assert accuracy(made, request.retain) == 1
    assert accuracy(made, request.forget) < 0.4
    made.module.config.weights = [1.0]  # the sign forgotten
    assert accuracy(made, request.forget) == 1
    made.module.config.weights = [-1.5]
    assert accuracy(made, request.forget) == 0
    assert accuracy(made, request.retain) == 1
    assert accuracy(uld(target, request, **options | {"uniform": 0.0, "epochs": 60}), request.retain) < 0.9
    untrained = target.copy()
    untrained.module = wrap(untrained.module, [first_blocks(target.module, 1)], weights=[-1.0])
    assert accuracy(untrained, request.retain) < 1


def test_adapters_are_merged_and_evaluated_on_the_way():
    target = facts_model("full", 0)
    request = Request(facts.records("forget"), facts.records("retain"))
    seen: list[float] = []

    def look(model: Any) -> float:
        seen.append(accuracy(model, request.forget))
        return 0.0

    made = uld(
        target, request, rank=4, lr=1e-2, epochs=40, batch_size=10, weight=-1.5, evaluate_every=20, evaluate=look
    )
    assert len(seen) == 2
    assert seen[-1] == accuracy(made, request.forget) < 1
    assert not [name for name, _ in made.module.named_parameters() if "lora" in name]
    start = dict(first_blocks(target.module, 1).named_parameters())
    moved = {n for n, p in made.module.parts[1].named_parameters() if not torch.equal(p, start[n])}
    assert moved == {name for name in start if "proj" in name}


def test_the_reference_counts_every_position():
    """A variant changes the assistant, and both leave the target's own weights as they were."""
    target = facts_model("full", 0)
    request = Request(facts.records("forget"), facts.records("retain"))
    prompt = target.collate(target.encode(request.retain[:8]), range(8))
    prompt.inputs["input_ids"][:, 1] = 5
    silent = prompt.labels == IGNORED
    spread = {}
    for variant in ("paper", "reference"):
        made: Any = uld(target, request, variant=variant, epochs=30, batch_size=10)
        assert all(torch.equal(a, b) for a, b in zip(made.inner.parameters(), target.module.parameters(), strict=True))
        with made.evaluating():
            logits = made.module.parts[1](**prompt.inputs).logits[:, :-1]
        spread[variant] = float(logits.std(-1)[silent].mean())
    assert spread["reference"] < 0.7 * spread["paper"]  # flat at the question, too


def test_more_blocks_than_there_are():
    with pytest.raises(InputError, match="first 8 blocks are asked for; the model has 3"):
        uld(facts_model("full", 0), Request(facts.records("forget"), facts.records("retain")), blocks=8)


def test_the_models_own_weights_count_as_unchanged():
    """In the manifest, and to the merging attack, which has nothing to average."""
    target = facts_model("full", 0)
    request = Request(facts.records("forget"), facts.records("retain"))
    made = uld(target, request, epochs=1, batch_size=10)
    total = sum(tensor.numel() for tensor in target.module.state_dict().values())
    assert changed_weights(target, made) == (0, total)
    (merged,) = merge(made, request, target, alphas=(0.5,))
    assert merged.model.fingerprint() == made.fingerprint()
