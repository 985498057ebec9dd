"""Who's Harry Potter: which labels are taught, from where, and what a mistake is told."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.tiny import language
from torch import Tensor

from lethe.errors import InputError
from lethe.losses.divergence import forward_kl
from lethe.methods.whp import whp
from lethe.models.base import IGNORED
from lethe.models.translated import make_blocks, text_of, translated_logits
from lethe.request import Request
from lethe.train import Term
from lethe.worlds import facts
from lethe.worlds.models import facts_model

TEXT = "Zorvax went to Quillheim . Zorvax slept"
TERMS = {"Zorvax": "John", "Quillheim": "the village"}
RECORD = {"id": "z", "text": TEXT}
KEPT = {"id": "k", "text": "John went to the village . Mary slept"}


def term_of(model: Any, request: Request, **options: Any) -> Term:
    """The objective alone, before anything is trained on it."""
    return whp.__wrapped__(model, request, **options)  # pyright: ignore[reportFunctionMemberAccess]


def told(term: Term, model: Any) -> tuple[Tensor, Tensor]:
    """Labels (B, T) and own greedy tokens (B, T) of all its examples."""
    with model.evaluating():
        batch = model.collate(term.examples, range(len(term.examples)))
        return batch.labels, model.logits(batch).argmax(-1)


def test_what_a_block_teaches_one_token_per_character():
    """The second Zorvax is not learnt, what follows it is; nor is anything inside a name, which has no counterpart."""
    model = language()
    (block,) = make_blocks(model, [RECORD], TERMS)
    labels = "".join("_" if label == IGNORED else TEXT[t + 1] for t, label in enumerate(block.example.inputs["labels"]))
    assert labels == "_____ went to Q________ . ______ slept"
    assert block.example.size == len(labels.replace("_", ""))
    assert [start for start, _ in block.said] == [5, 23]  # once "Zorvax" and "Quillheim" have been read
    assert block.said[0][1] == sorted(model.tokenizer(c)["input_ids"][0] for c in "J ")


def test_logits_are_read_where_the_same_has_been_said():
    model, translation = language(), "John went to the village . John slept"
    (block,) = make_blocks(model, [RECORD], TERMS)
    original = model.collate([block.example], [0])
    plain = model.collate(model.encode([{"id": "t", "text": translation}]), [0])
    with model.evaluating():
        got, want = translated_logits(model, original, [block])[0], model.logits(plain)[0]
    for word in (" went", " slept", " ."):
        assert torch.allclose(got[TEXT.index(word) - 1], want[translation.index(word) - 1], atol=1e-5)


def test_questions_are_translated_with_their_answers():
    record = {"id": "q", "question": "Who is Zorvax?", "answer": "Zorvax is old."}
    model = language()
    (block,) = make_blocks(model, [record], TERMS)
    assert text_of(model, record).endswith("Answer: Zorvax is old.")
    (whole,) = model.encode([record])
    scored = [t for t, label in enumerate(block.example.inputs["labels"]) if label != IGNORED]
    assert (
        len(scored) == whole.size - len(" Zorvax") + 1
    )  # the space before the name is learnt, the name met before not
    assert block.example.inputs["labels"][-1] == model.eos


@cache
def toy() -> tuple[Any, Request]:
    forget, retain = facts.records("forget"), facts.records("retain")
    return facts_model("full", 0), Request(forget, retain)


def test_without_alpha_and_dictionary_it_teaches_what_the_model_says():
    """Hard labels are its own greedy tokens; soft ones its own distribution, with no gradient at all."""
    model, request = toy()
    quick: dict[str, Any] = {"alpha": 0.0, "anchors": "none", "reinforce_epochs": 1}
    labels, greedy = told(term_of(model, request, labels="hard", **quick), model)
    assert torch.equal(labels[labels != IGNORED], greedy[labels != IGNORED])
    learner = model.copy()
    term = term_of(learner, request, labels="soft", **quick)
    term.loss(learner, learner.collate(term.examples, range(len(term.examples)))).sum().backward()
    assert max(float(p.grad.abs().max()) for p in learner.module.parameters() if p.grad is not None) < 1e-5


def test_soft_labels_stay_nearer_to_a_model_that_never_knew():
    """The toy at alpha 5: both forget; KL(retrained || model) of soft labels is less than half that of hard ones."""
    model, request = toy()
    control: Any = facts_model("retain", 0)
    options: dict[str, Any] = {
        "anchors": "none",
        "reinforce_epochs": 60,
        "epochs": 60,
        "batch_size": 10,
        "retain": "none",
    }
    distance = {}
    for labels in ("hard", "soft"):
        made = whp(model, request, labels=labels, **options)
        batch = model.collate(model.encode(request.forget), range(10))
        with made.evaluating(), control.evaluating():
            logits, truth = made.logits(batch)[:, -4:-1], control.logits(batch)[:, -4:-1]
        assert float((logits.argmax(-1) == batch.labels[:, -4:-1]).float().mean()) < 0.1
        distance[labels] = float(forward_kl(truth, logits).mean())
    assert distance["soft"] < 0.5 * distance["hard"]


def test_what_has_been_said_is_not_said_again():
    """Rule (ii): after its first occurrence a name's counterpart loses five nats, and nothing else does."""
    model, request = language(), Request([RECORD], [KEPT], allow_overlap=True)
    options: dict[str, Any] = {"anchors": TERMS, "alpha": 0.0, "reinforce_epochs": 1, "labels": "soft"}
    values = {}
    for repeat in (0.0, 5.0):
        term = term_of(model, request, repeat=repeat, **options)
        with torch.no_grad():
            values[repeat] = float(term.loss(model, model.collate(term.examples, [0])))
    assert values[0.0] > 0
    assert values[5.0] != pytest.approx(values[0.0], rel=1e-3)


def test_mistakes_are_told(tmp_path: Path):
    model, request = language(), Request([RECORD], [KEPT], allow_overlap=True)
    with pytest.raises(InputError, match=r"'Zorvaks' does not occur in the forget texts, did you mean 'Zorvax'\?"):
        whp(model, request, anchors={"Zorvaks": "John"})
    with pytest.raises(InputError, match="there is no such file"):
        whp(model, request, anchors=str(tmp_path / "missing.json"))
    with pytest.raises(InputError, match="leave no label to learn"):
        whp(model, Request([{"id": "z", "text": "Zorvax"}], [KEPT]), anchors={"Zorvax": "John"})
    with pytest.raises(InputError, match="more than the context"):
        whp(model, request, anchors={"Zorvax": "John " * 30})


def test_a_finished_reinforcement_is_not_made_again(tmp_path: Path):
    """It may cost more than what follows: a run that was ended later goes on behind it, to the same bits."""
    request = Request([RECORD], [KEPT], allow_overlap=True)
    options: Any = {"epochs": 2, "reinforce_epochs": 3, "anchors": TERMS, "checkpoint_every": 1}
    first = whp(language(), request, folder=tmp_path, **options)
    written = tmp_path / "reinforced" / "checkpoint.safetensors"
    before = written.stat().st_mtime_ns
    (tmp_path / "checkpoint.safetensors").unlink()
    assert whp(language(), request, folder=tmp_path, **options).fingerprint() == first.fingerprint()
    assert written.stat().st_mtime_ns == before  # every step would have written it
    with pytest.raises(InputError, match=r"reinforced/checkpoint\.safetensors belongs to a run with other"):
        whp(language(), request, folder=tmp_path, **(options | {"reinforce_lr": 0.5}))
