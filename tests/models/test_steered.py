"""Vectors added to activations and directions taken out: nothing else changes, and nothing of the audited model."""

from typing import Any

import pytest
import torch
from tests.models.tiny import ARCHITECTURES, QUESTIONS, WIDTH, language
from torch import Tensor

from lethe.errors import InputError
from lethe.models.language import LanguageModel
from lethe.models.steered import Ablated, Added, Place, steered, view

PLACES: list[Place] = ["embeddings", 0, -1]
RECORDS = [QUESTIONS[0], QUESTIONS[6], {**QUESTIONS[8], "answer": "In Antananarivo, on the island of Madagascar."}]


def drawn(seed: int = 0) -> Tensor:
    return torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed))


def logits(model: LanguageModel, records: list[dict[str, Any]] = RECORDS) -> Tensor:
    with model.evaluating():
        return model.logits(model.collate(model.encode(records), range(len(records))))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("place", PLACES)
def test_no_change_is_bit_equal_and_a_change_is_one(architecture: str, place: Place):
    model = language(architecture)
    before, prints = logits(model), model.fingerprint()
    none = steered(model, {place: Added(torch.zeros(WIDTH))})
    assert torch.equal(logits(none), before)
    assert torch.equal(logits(steered(model, {place: Ablated(drawn(), 0.0)})), before)
    for change in (Added(drawn()), Ablated(drawn())):
        changed = steered(model, {place: change})
        assert float((logits(changed) - before).abs().max()) > 0.01
        assert changed.fingerprint() not in (prints, none.fingerprint())
        assert changed.copy().fingerprint() == changed.fingerprint()
        assert torch.equal(logits(changed.copy()), logits(changed))
    assert torch.equal(logits(model), before)
    assert model.fingerprint() == prints


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_a_vector_on_the_embeddings_is_one_on_the_inputs_alone(architecture: str):
    """Where the output layer is tied to the embeddings, it stays as it is."""
    model = language(architecture)
    batch = model.collate(model.encode(RECORDS), range(len(RECORDS)))
    module: Any = model.module
    with model.evaluating():
        inputs = module.get_input_embeddings()(batch.inputs["input_ids"]) + drawn()
        by_hand = module(inputs_embeds=inputs, attention_mask=batch.inputs["attention_mask"]).logits[:, :-1]
    assert torch.equal(logits(steered(model, {"embeddings": Added(drawn())})), by_hand)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mixtral"])
def test_states_are_moved_by_the_vector_or_lose_the_direction(architecture: str):
    model, vector = language(architecture), drawn()
    batch = model.collate(model.encode(RECORDS), range(len(RECORDS)))
    unit = vector / vector.norm()
    moved = steered(model, {0: Added(vector)})
    everywhere: list[Place] = ["embeddings", 0, 1]
    without = steered(model, {place: Ablated(3 * vector) for place in everywhere})
    turned = steered(model, {0: Ablated(vector, 2.0)})
    with model.evaluating(), moved.evaluating(), without.evaluating(), turned.evaluating():
        before = model.hidden(batch, [0])[0]
        assert torch.equal(moved.hidden(batch, [0])[0], before + vector)
        assert float((before @ unit).abs().max()) > 0.1
        assert all(float((states @ unit).abs().max()) < 1e-5 for states in without.hidden(batch, [0, 1]).values())
        assert torch.allclose(turned.hidden(batch, [0])[0] @ unit, -(before @ unit), atol=1e-5)


def test_changes_of_one_place_follow_each_other():
    model = language()
    twice = steered(steered(model, {0: Added(drawn(1))}), {0: Added(drawn(2))})
    assert torch.allclose(logits(twice), logits(steered(model, {0: Added(drawn(1) + drawn(2))})), atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mixtral"])
def test_neither_padding_nor_the_cache_matters(architecture: str):
    model = steered(language(architecture), {"embeddings": Added(drawn(1)), 0: Added(drawn(2)), 1: Ablated(drawn(3))})
    together = logits(model)
    for row, record in enumerate(RECORDS):
        alone = logits(model, [record])
        assert torch.allclose(together[row : row + 1, : alone.shape[1]], alone, atol=1e-5)
    prompts = [model.prompt(str(record["question"])) for record in RECORDS]
    said = model.generate(prompts, 6)
    assert said == [model.generate([prompt], 6)[0] for prompt in prompts]
    module: Any = model.module
    ids: Any = model.tokenizer(prompts[0])["input_ids"]
    with model.evaluating():  # one token after the other, each in a pass of its own without a cache
        for _ in range(6):
            ids = [*ids, int(module(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())]
    whole = str(model.tokenizer.decode(ids, skip_special_tokens=True))
    assert whole[len(prompts[0]) :].strip() == said[0]


def test_a_view_costs_no_weights_and_cannot_touch_their_gradients():
    model = language("qwen2")
    twin = view(model)
    own, seen = dict(model.module.named_parameters()), dict(twin.module.named_parameters())
    assert own.keys() == seen.keys()
    assert all(own[name].data_ptr() == seen[name].data_ptr() for name in own)
    assert all(own[name] is not seen[name] and own[name].requires_grad for name in own)
    assert not any(weight.requires_grad for weight in seen.values())
    module: Any = twin.module
    assert module.get_output_embeddings().weight is module.get_input_embeddings().weight  # still tied
    assert twin.fingerprint() == model.fingerprint()
    copied = twin.copy()
    with torch.no_grad():
        next(copied.module.parameters()).zero_()
    assert copied.fingerprint() != twin.fingerprint() == model.fingerprint()


def test_a_place_that_is_none_is_refused():
    for place in (2, -3):
        with pytest.raises(InputError, match=f"There is no block {place}; the model has blocks 0 to 1"):
            steered(language(), {place: Added(drawn())})
