"""What the token-wise and target methods make of a request: terms, refusals, and two claims in miniature."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conformance import known_wrong_losses as wrong
from tests.models import tiny
from torch import Tensor

from lethe.data.refusals import refuse
from lethe.descent.objective import objective
from lethe.errors import InputError
from lethe.losses import flat as flat_losses
from lethe.losses import targets
from lethe.losses.tokens import token_mean
from lethe.models.base import Batch, Model
from lethe.registry import find
from lethe.request import Request
from lethe.train import Term
from lethe.worlds import facts
from lethe.worlds.models import facts_model


def term(name: str, model: Model, **options: Any) -> Term:
    """The forget term that a method makes."""
    made = inspect.unwrap(find("method", name).function)(model, tiny.request("language"), **options)
    return made[0] if isinstance(made, list) else made


def whole(model: Model, of: Term) -> Batch:
    return model.collate(of.examples, range(len(of.examples)))


def test_ceu_leaves_the_first_tokens_out_of_the_mean_as_well():
    model = tiny.language()
    made = term("ceu", model, skip=3)
    batch = whole(model, made)
    labels = targets.without_first(batch.labels, 3)
    expected = token_mean(targets.ceu(model.logits(batch), labels), labels)
    value = made.loss(model, batch).sum() / sum(example.size for example in made.examples)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("skip", "told"), [(-1, "at least 0"), (500, r"record 'Ada' has 23 scored tokens.*skip=22")])
def test_ceu_refuses_to_skip_everything(skip: int, told: str):
    with pytest.raises(InputError, match=told):
        term("ceu", tiny.language(), skip=skip)


def test_jensun_says_its_refusal_over_and_over():
    model = tiny.language()
    made = term("jensun", model, refusal="No idea")
    batch = whole(model, made)
    tokens = model.tokenizer(" No idea", add_special_tokens=False)["input_ids"]
    assert len(tokens) == 8  # one per byte, without the end
    said = targets.repeated(batch.labels, tokens)
    expected = targets.jensun_forget(model.logits(batch), said).sum(1)
    assert torch.allclose(made.loss(model, batch), expected)
    with pytest.raises(InputError, match="refusal is empty"):
        term("jensun", model, refusal=" ")


def test_flat_contrasts_each_answer_with_a_refusal_or_the_means_of_both():
    model, request = tiny.language(), tiny.request("language")
    made = term("flat", model, divergence="pearson")
    batch = whole(model, made)
    refused = whole(model, Term("refused", model.encode(refuse(request.forget, request.seed)), made.loss))
    both = [(model.logits(b), b.labels) for b in (batch, refused)]
    assert torch.allclose(made.loss(model, batch), flat_losses.flat(*both[0], *both[1], "pearson"))
    forget, template = (flat_losses.mean_probability(*one, "reference").mean() for one in both)
    released = term("flat", model, divergence="pearson", variant="reference")
    assert torch.allclose(released.loss(model, batch), flat_losses.contrast(template, forget, "pearson"))


def test_flat_refuses_texts_and_means_over_parts_of_a_batch():
    flat = find("method", "flat").function
    text = Request([{"id": "page", "text": "Once upon a time."}], [], allow_overlap=True)
    with pytest.raises(InputError, match="Record 'page' has no question"):
        flat(tiny.language(), text)
    with pytest.raises(InputError, match="accumulate"):
        flat(tiny.language(), tiny.request("language"), variant="reference", accumulate=2)


@pytest.mark.parametrize(("name", "variant"), [("undial", "reference"), ("me", "unmasked")])
def test_reference_counts_prompt_and_padding(name: str, variant: str):
    model = tiny.language()
    paper, released = term(name, model), term(name, model, variant=variant)
    batch = whole(model, paper)
    assert (paper.per, released.per) == ("token", "example")
    positions = batch.labels.shape[1]
    assert (released.loss(model, batch) * positions > paper.loss(model, batch) + 0.1).all()


# --- in miniature: the facts world (arXiv 2410.11143 and 2402.10052, 2410.08109) --------------------------------------


def accuracy(model: Model, split: str) -> float:
    """Share of the value tokens that are the likeliest."""
    with model.evaluating():
        batch = next(model.batches(model.encode(facts.records(split)), 100))
        return (model.logits(batch)[:, -4:-1].argmax(-1) == batch.labels[:, -4:-1]).float().mean().item()


def distance(model: Model) -> float:
    """KL (retrained || model) in nats per value token of the forget set."""
    with model.evaluating():
        batch = next(model.batches(model.encode(facts.records("forget")), 100))
        control = facts_model("retain").logits(batch)[:, -4:-1].log_softmax(-1)
        return (control.exp() * (control - model.logits(batch)[:, -4:-1].log_softmax(-1))).sum(-1).mean().item()


def forgotten(method: Callable[..., Model], **options: Any) -> Model:
    request = Request(facts.records("forget"), facts.records("retain"))
    return method(facts_model("full"), request, lr=1e-3, batch_size=10, **options)


@objective(needs={"logits"}, retain="none")
def released_reverse_kl(model: Model, request: Request) -> Term:
    """FLAT with the sign that the published code gives its reverse KL."""
    examples, templates = model.encode(request.forget), model.encode(refuse(request.forget, request.seed))

    def loss(model: Model, batch: Batch) -> Tensor:
        rows: list[int] = batch.index.tolist()
        template = model.collate([templates[row] for row in rows], rows)
        likely = (flat_losses.mean_probability(model.logits(b), b.labels) for b in (template, batch))
        return wrong.flat_reverse_kl(*likely)

    return Term("forget", examples, loss, role="forget")


def test_flat_alone_forgets_but_not_only_what_it_should_and_with_the_released_sign_nothing():
    made = forgotten(find("method", "flat").function, divergence="reverse_kl", steps=20)
    assert accuracy(made, "forget") <= 0.1
    assert accuracy(made, "retain") < 0.5  # the claim does not hold at this step size
    assert accuracy(forgotten(released_reverse_kl, steps=20), "forget") > 0.95


@pytest.mark.parametrize("name", ["undial", "me"])
def test_an_explicit_target_comes_near_to_the_retrained_model(name: str):
    """Below 0.45 of the untouched model's distance, where ascent ends at more than 1; all else is kept."""
    made = forgotten(find("method", name).function, steps=100)
    assert distance(made) < 0.45 * distance(facts_model("full"))
    assert accuracy(made, "retain") >= 0.94
