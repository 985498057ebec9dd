"""RMU and adaptive RMU: where they aim, what they move, and that the two terms pull against each other."""

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from tests.models import tiny
from torch import Tensor

from lethe.data.order import mix
from lethe.errors import InputError
from lethe.headlines.league import TWO_BLOCKS, Toy, accuracy
from lethe.losses.misdirection import displacement, rmu_coefficient, rmu_direction
from lethe.methods.adaptive_rmu import adaptive_rmu
from lethe.methods.rmu import ONE_EXPERT, rmu
from lethe.models.base import IGNORED, Batch
from lethe.models.language import LanguageModel
from lethe.request import Record, Request
from lethe.train import Term


def terms(method: Any, model: LanguageModel, request: Request, **options: Any) -> dict[str, Term]:
    return {term.name: term for term in inspect.unwrap(method)(model, request, **options)}


def whole(model: LanguageModel, records: Sequence[Record]) -> Batch:
    examples = model.encode(records)
    return model.collate(examples, range(len(examples)))


def states(model: LanguageModel, records: Sequence[Record], layer: int) -> Tensor:
    with model.evaluating():
        return model.hidden(whole(model, records), [layer])[layer]


# --- on a model of a few thousand weights -----------------------------------------------------------------------------


def test_the_loss_starts_as_the_distance_to_the_target_and_with_nothing_to_hold():
    model, request = tiny.language(), tiny.request("language")
    made = terms(rmu, model, request, layer=0, coefficient=3.0)
    direction = rmu_direction(tiny.WIDTH, torch.Generator().manual_seed(mix(request.seed, 37, 0)))
    batch = whole(model, request.forget)
    distance = (states(model, request.forget, 0) - 3 * direction).square().mean(-1)
    scored = batch.labels != IGNORED
    expected = torch.stack([row[mask].mean() for row, mask in zip(distance, scored, strict=True)])
    assert torch.allclose(made["forget"].loss(model, batch), expected)
    held = made["retain"].loss(model, whole(model, request.retain))
    assert torch.equal(held, torch.zeros_like(held))
    held.sum().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in model.module.parameters())


def test_all_tokens_are_prompt_and_padding_too():
    model, request = tiny.language(), tiny.request("language")
    few, every = (terms(rmu, model, request, layer=0, tokens=tokens)["forget"] for tokens in ("scored", "all"))
    alone, batch = whole(model, request.forget[:1]), whole(model, request.forget)
    with model.evaluating():
        assert torch.allclose(few.loss(model, alone)[0], few.loss(model, batch)[0])
        assert not torch.allclose(every.loss(model, alone)[0], every.loss(model, batch)[0])  # depends on the padding


def test_each_topic_has_a_direction_of_its_own():
    model, request = tiny.language(), tiny.request("language")
    named = [{**record, "topic": "bio" if row else "cyber"} for row, record in enumerate(request.forget)]
    plain, split = (
        terms(rmu, model, Request(records, request.retain, allow_overlap=True), layer=0)["forget"]
        for records in (request.forget, named)
    )
    batch = whole(model, request.forget)
    same = torch.isclose(plain.loss(model, batch), split.loss(model, batch))
    assert same.tolist() == [True, False, False, False]


def test_only_the_chosen_tensors_move_and_blocks_below_them_answer_as_before():
    model, request = tiny.language(), tiny.request("language")
    made: Any = rmu(model, request, layer=1, where=r"layers:match=layers\.1\.mlp\.down_proj", lr=1e-2, epochs=2)
    after = dict(made.module.named_parameters())
    moved = [name for name, before in model.module.named_parameters() if not torch.equal(before, after[name])]
    assert moved == ["model.layers.1.mlp.down_proj.weight"]
    assert torch.equal(states(made, request.retain, 0), states(model, request.retain, 0))


def test_one_matrix_of_one_expert_is_a_place():
    model, request = tiny.language("mixtral"), tiny.request("language")
    where = ONE_EXPERT.replace("[567]", "1")
    made = rmu(model, request, layer=1, where=where, lr=1e-2, epochs=4, batch_size=4)
    after = dict(made.module.named_parameters())
    moved = {name: before != after[name] for name, before in model.module.named_parameters()}
    assert [name for name, where in moved.items() if where.any()] == ["model.layers.1.mlp.experts.gate_up_proj"]
    inside = moved["model.layers.1.mlp.experts.gate_up_proj"]
    assert not inside[1:].any()
    assert not inside[0, : inside.shape[1] // 2].any()
    assert inside[0, inside.shape[1] // 2 :].any()
    for wrong, message in (
        (where.replace("expert=0", "expert=4"), "expert is 4, but .* holds experts 0 to 3"),
        ("fused:match=nothing", "no tensor of experts matches 'nothing'; there are"),
        ("fused:match=[", "is no regular expression"),
    ):
        with pytest.raises(InputError, match=message):
            rmu(model, request, layer=1, where=wrong)
    with pytest.raises(InputError, match="has no tensor of several experts"):
        rmu(tiny.language(), request, where="fused:expert=1")


def test_the_adaptive_target_is_as_long_as_the_states_ask_for():
    model, request = tiny.language(), tiny.request("language", forget=6)
    batch = whole(model, request.forget)
    own = rmu_coefficient(states(model, request.forget, 0), batch.labels != IGNORED, scale=5.0)
    for variant, lengths in (("paper", own), ("reference", own[:4].mean().expand(6))):
        adaptive = terms(adaptive_rmu, model, request, layer=0, variant=variant)["forget"]
        for row, length in enumerate(lengths.tolist()):
            fixed = terms(rmu, model, request, layer=0, coefficient=length)["forget"]
            with model.evaluating():
                assert torch.allclose(adaptive.loss(model, batch)[row], fixed.loss(model, batch)[row])


@pytest.mark.parametrize("method", [rmu, adaptive_rmu])
def test_diagnostics_are_logged_and_move_nothing(method: Any):
    model, request = tiny.language(), tiny.request("language")
    options: dict[str, Any] = {"layer": 0, "epochs": 2, "batch_size": 4, "lr": 1e-2}
    made = terms(method, model, request, layer=0, diagnostics=True)
    assert len(made) == 8
    start = {name: made[name].loss(model, whole(model, request.forget)) for name in made if "_" in name}
    assert torch.allclose(start["forget_cosine"], torch.ones(4))
    assert torch.equal(start["forget_norm"], start["forget_norm_before"])
    silent, told = (method(model, request, diagnostics=each, **options) for each in (False, True))
    assert silent.fingerprint() == told.fingerprint()


def test_a_block_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="layer is 7, but the model has blocks 0 to 1"):
        rmu(tiny.language(), tiny.request("language"), layer=7)


# --- on facts that a model has learnt ---------------------------------------------------------------------------------


@cache
def toy() -> Toy:
    return Toy(0)


def misdirected(**options: Any) -> LanguageModel:
    given: dict[str, Any] = {"layer": 1, "where": TWO_BLOCKS, "lr": 3e-3, "steps": 40, **options}
    return toy().run("rmu", given)


def cosine(model: LanguageModel, records: Sequence[Record]) -> float:
    """Mean cosine with the states before, over the scored tokens."""
    mask = whole(model, records).labels != IGNORED
    return displacement(states(model, records, 1), states(toy().target, records, 1), mask)["cosine"].mean().item()


def test_without_the_retain_term_everything_goes_one_way():
    made = misdirected(coefficient=20.0, alpha=0.0)
    direction = rmu_direction(96, torch.Generator().manual_seed(mix(0, 37, 0)))
    scored = whole(made, toy().forget).labels != IGNORED
    assert (torch.cosine_similarity(states(made, toy().forget, 1), direction, dim=-1)[scored]).mean() > 0.9
    assert accuracy(made, toy().forget) <= 0.1
    assert accuracy(made, toy().retain) < 0.5


def test_with_nothing_but_the_retain_term_nothing_is_forgotten():
    made = misdirected(coefficient=20.0, alpha=1e6)
    assert accuracy(made, toy().forget) == accuracy(made, toy().retain) == 1
    assert cosine(made, toy().forget) > 0.99
    assert cosine(made, toy().retain) > 0.99


def test_a_longer_target_drives_further_and_a_heavier_retain_term_holds_back():
    near, far, held = (
        misdirected(coefficient=length, alpha=alpha) for length, alpha in ((20.0, 1.0), (50.0, 1.0), (20.0, 10.0))
    )
    assert cosine(far, toy().forget) < cosine(near, toy().forget) < cosine(held, toy().forget)
    assert cosine(near, toy().retain) < cosine(held, toy().retain)


def test_far_too_heavy_a_retain_term_forgets_nothing():
    """The published ratio, on facts that share their tokens: the negative control."""
    made = misdirected(coefficient=20.0, alpha=100.0, lr=1e-3, steps=60)
    assert accuracy(made, toy().forget) == 1
    assert cosine(made, toy().forget) > 0.95
