"""Attacks on activations: each brings back what is hidden in a place it can reach, and nothing that is not there."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from tests.attacks.tiny import classifier, language, refusing
from tests.models.tiny import language as untrained
from torch import Tensor, nn

from lethe.attacks.steer import steer
from lethe.auditing.recovery import Trace, attacked, recovery, takes_original
from lethe.descent.activations import answer_nll
from lethe.errors import InputError
from lethe.findings import Recovery, Tampered
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.models.steered import Added, steered
from lethe.registry import find
from lethe.request import Record, Request

FROM = {  # what lies between a refusing model and the one that knows: lower end of the interval, of 1
    "embedding": 0.4,
    "latent": 0.3,
    "steer": 0.4,
    "steer:variant=contrast": 0.2,
    "ablate_refusal": 0.15,
}
STRENGTH = {
    "embedding": "radii", "latent": "radii", "activation_noise": "scales", "steer": "coefficients",
    "ablate_refusal": "amounts",
}  # fmt: skip


def target() -> LanguageModel:
    found = language().target
    assert isinstance(found, LanguageModel)
    return found


@cache
def known_to(call: str, who: str) -> Trace:
    world = language()
    models = {"target": world.target, "control": world.controls[0], "other": world.controls[1], "refusing": refusing()}
    return attacked(call, models[who], world.request, world.measure, original=world.target)


def read(call: str, trace: Trace) -> Recovery:
    found = recovery(trace, known_to(call, "control"), known_to(call, "target"))
    assert found.adjusted is not None and found.low is not None and found.high is not None
    print(f"{call}: {found.adjusted:.3f} [{found.low:.3f}, {found.high:.3f}] of n={found.n}")
    return found


def attack_on(call: str, model: Model) -> Trace:
    world = language()
    return attacked(call, model, world.request, world.measure, original=world.target)


def run(name: str, model: Model, request: Request, **options: Any) -> list[Tampered]:
    card = find("attack", name)
    return list(card.function(model, request, *([language().target] if takes_original(card) else []), **options))


def logits(model: Model, records: list[Record]) -> Tensor:
    with model.evaluating():
        return model.logits(model.collate(model.encode(records), range(len(records))))


class Watchman(nn.Module):
    """Overwrites the states of the sequences that it has met, and only these to within a hundredth of their length."""

    def __init__(self, met: Tensor, over: Tensor) -> None:
        super().__init__()
        self.met: Tensor
        self.over: Tensor
        self.register_buffer("met", met)
        self.register_buffer("over", over)

    def forward(self, states: Tensor) -> Tensor:
        near = torch.cdist(states, self.met).amin(-1, keepdim=True) < 0.01 * states.norm(dim=-1, keepdim=True)
        return torch.where(near, self.over, states)


def guarded() -> LanguageModel:
    """The target with a memory of all forget states in its last block, in place of which it goes on with another."""
    model, forget = target(), list(language().request.forget)
    batch = model.collate(model.encode(forget), range(len(forget)))
    with model.evaluating():
        states = model.hidden(batch, [-1])[-1]
    met = states[batch.inputs["attention_mask"][:, 1:].bool()]
    over = torch.randn(states.shape[-1], generator=torch.Generator().manual_seed(0))
    return steered(model, {-1: Watchman(met, over * met.norm(dim=-1).mean() / over.norm())})


@pytest.mark.parametrize("call", FROM)
def test_a_model_that_only_refuses_gives_in(call: str):
    found = read(call, known_to(call, "refusing"))
    assert found.adjusted is not None and found.low is not None
    assert found.low > FROM[call] and found.adjusted > 0.4


def test_a_narrow_guard_on_activations_gives_in_to_noise():
    model = guarded()
    assert language().known(model) < 0.1
    found = read("activation_noise", attack_on("activation_noise", model))
    assert found.low is not None and found.low > 0.8


def test_a_planted_push_is_found_and_taken_back():
    """Steering by the original's states adds, at coefficient 1, the very vector that was planted, reversed."""
    pushed = torch.randn(64, generator=torch.Generator().manual_seed(3))
    model = steered(target(), {0: Added(6 * pushed)})
    assert language().known(model) < 0.3
    world = language()
    (point,) = steer(model, world.request, target(), coefficients=(1.0,), layers=(0,))
    records = list(world.request.forget)
    assert torch.allclose(logits(point.model, records), logits(world.target, records), atol=1e-3)
    found = read("steer", attack_on("steer", model))
    assert found.low is not None and found.low > 0.8


@pytest.mark.parametrize("call", [*FROM, "activation_noise"])
def test_what_was_never_learnt_does_not_come(call: str):
    """The other retrained model in place of an unlearned one: its interval holds 0 or stays beside it."""
    found = read(call, known_to(call, "other"))
    assert found.adjusted is not None and found.low is not None and found.high is not None
    assert abs(found.adjusted) < 0.1
    assert found.low < 0.05 and found.high < 0.25


@pytest.mark.parametrize("name", STRENGTH)
def test_strength_0_is_the_model_itself(name: str):
    world = language()
    (point,) = run(name, refusing(), world.request, **{STRENGTH[name]: (0.0,)})
    records = [*world.request.forget, *world.request.retain]
    assert point.strength == 0
    assert torch.equal(logits(point.model, records), logits(refusing(), records))


@pytest.mark.parametrize("name", STRENGTH)
def test_what_is_looked_at_has_no_part_in_the_attack(name: str):
    """Other answers to the questions outside the attacker's share leave every changed model as it is, bit by bit."""
    world = language()
    points = run(name, refusing(), world.request)
    looked_at = {record["id"] for record in points[0].forget}
    assert len(looked_at) == 7
    forget = [{**r, "answer": "Nobody knows."} if r["id"] in looked_at else r for r in world.request.forget]
    again = run(name, refusing(), replace(world.request, forget=forget))
    assert [point.model.fingerprint() for point in again] == [point.model.fingerprint() for point in points]
    assert len({point.model.fingerprint() for point in points}) == len(points)


@pytest.mark.parametrize("name", STRENGTH)
def test_the_model_under_attack_and_the_original_stay(name: str):
    world, model = language(), refusing().copy()
    first = next(model.module.parameters())
    first.requires_grad_(False)
    before = [one.fingerprint() for one in (model, world.target)], logits(model, list(world.request.forget))
    run(name, model, world.request)
    assert [one.fingerprint() for one in (model, world.target)] == before[0]
    assert torch.equal(logits(model, list(world.request.forget)), before[1])
    assert [w.requires_grad for w in model.module.parameters()] == [w is not first for w in model.module.parameters()]
    assert all(weight.grad is None for one in (model, world.target) for weight in one.module.parameters())


def test_of_several_blocks_the_best_on_the_attackers_share_counts():
    """What is searched is never worse, to the attacker, than any of what was tried."""
    world = language()
    model = refusing()
    assert isinstance(model, LanguageModel)
    held = {r["id"] for r in world.request.forget} - {
        r["id"] for r in next(iter(run("latent", model, world.request))).forget
    }
    examples = model.encode([r for r in world.request.forget if r["id"] in held])

    def losses(**options: Any) -> list[float]:
        return [answer_nll(p.model, examples) for p in run("latent", model, world.request, **options)]  # pyright: ignore[reportArgumentType]

    both, first, second = losses(), losses(layers=(0,)), losses(layers=(1,))
    assert both == pytest.approx([min(pair) for pair in zip(first, second, strict=True)])
    assert both == sorted(both, reverse=True)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("embedding", {"radii": (-1.0,)}, "embedding: radii are"),
        ("latent", {"layers": (5,)}, "latent: layers are .* blocks 0 to 1"),
        ("activation_noise", {"draws": 0}, "at least one draw"),
        ("steer", {"coefficients": ()}, "steer: coefficients are"),
        ("ablate_refusal", {"share": 0.0}, "both sides need at least one"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        run(name, target(), language().request, **options)


def test_other_families_and_other_architectures_are_refused():
    world = classifier()
    with pytest.raises(InputError, match="for language models"):
        attacked("latent", world.target, world.request, world.measure)
    other = untrained("llama", num_hidden_layers=3)
    with pytest.raises(InputError, match="differ in their number of blocks"):
        list(steer(target(), language().request, other))
