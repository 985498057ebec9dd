"""Forced reroute: a mixture edited in one expert gives in, a control has nothing to give, a dense model is refused."""

from functools import cache
from typing import Any

import pytest
import torch
from tests.attacks.tiny import in_one_expert, language, mixture
from tests.models.tiny import QUESTIONS, tokenizer
from torch import Tensor
from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

from lethe.attacks.reroute import detoured, reroute
from lethe.auditing.recovery import Trace, attacked, recovery
from lethe.errors import InputError
from lethe.findings import Recovery
from lethe.models.language import LanguageModel
from lethe.models.mixture import mixtures, trace, without_experts
from lethe.request import Request


def target() -> LanguageModel:
    found = mixture().target
    assert isinstance(found, LanguageModel)
    return found


@cache
def known_to(call: str, who: str) -> Trace:
    world = mixture()
    models = {
        "target": world.target,
        "control": world.controls[0],
        "other": world.controls[1],
        "edited": in_one_expert(),
    }
    return attacked(call, models[who], world.request, world.measure)


def read(call: str, who: str) -> Recovery:
    found = recovery(*(known_to(call, one) for one in (who, "control", "target")))
    print(f"{call}: {found.adjusted:.3f} [{found.low:.3f}, {found.high:.3f}] of n={found.n}")
    return found


def logits(model: LanguageModel) -> Tensor:
    records = list(mixture().request.forget)
    with model.evaluating():
        return model.logits(model.collate(model.encode(records), range(len(records))))


def sharing() -> tuple[LanguageModel, Request]:
    """A Qwen2-MoE of random weights, with a shared expert."""
    config = Qwen2MoeConfig(
        vocab_size=258, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16,
        shared_expert_intermediate_size=16, max_position_embeddings=128, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LanguageModel(Qwen2MoeForCausalLM(config).eval(), tokenizer()), Request(QUESTIONS[:4], [])


@pytest.mark.parametrize("call", ["reroute", "reroute:mode=silence", "reroute:seed=3"])
def test_what_one_expert_hides_comes_back_without_it(call: str):
    world, edited = mixture(), in_one_expert()
    assert world.known(edited) < world.known(world.target) / 2
    found = read(call, "edited")
    assert found.low is not None and found.low > 0.5


@pytest.mark.parametrize("call", ["reroute", "reroute:mode=silence", "reroute:mode=shared"])
def test_what_was_never_learnt_does_not_come(call: str):
    found = read(call, "other")
    assert found.adjusted is not None and found.low is not None and found.high is not None
    assert abs(found.adjusted) < 0.1
    assert found.low < 0.05 and found.high < 0.3


def test_the_expert_that_was_edited_is_the_first_to_go():
    edited, world = in_one_expert(), mixture()
    own, other = (dict(model.module.named_parameters()) for model in (edited, world.target))
    changed = {
        (name, expert)
        for name, weight in own.items()
        if "experts" in name
        for expert in range(4)
        if not torch.equal(weight[expert], other[name][expert])
    }
    assert len({expert for _, expert in changed}) == 1
    point = next(iter(reroute(edited, world.request)))
    masked = {name: value.tolist() for name, value in point.model.module.state_dict().items() if ".masked" in name}
    ((place, experts),) = masked.items()
    ((name, expert), *_) = changed
    assert experts == [expert] and place.partition(".mlp")[0] == name.partition(".mlp")[0]


def test_a_dense_model_is_refused_before_any_compute():
    world = language()
    with pytest.raises(InputError, match="The attack reroute needs experts, which this language model does not offer"):
        attacked("reroute", world.target, world.request, world.measure)
    assert "experts" in target().abilities and "experts" in target().copy().abilities
    assert "experts" not in world.target.abilities


def test_without_a_masked_expert_it_is_the_model_itself():
    for mode in ("reroute", "silence"):
        assert torch.equal(logits(detoured(target(), {}, mode)), logits(target()))
        assert detoured(target(), {}, mode).fingerprint() == target().fingerprint()


def test_a_detour_is_part_of_the_model_and_does_what_the_context_does():
    model = target()
    name = mixtures(model.module)[1].name
    before, prints = logits(model), model.fingerprint()
    away = detoured(model, {name: (0, 2)}, "reroute")
    with without_experts(model.module, {name: [0, 2]}):
        assert torch.equal(logits(away), logits(model))
    assert torch.equal(logits(away.copy()), logits(away))
    assert away.copy().fingerprint() == away.fingerprint()
    assert len({prints, away.fingerprint(), detoured(model, {name: (0,)}, "reroute").fingerprint()}) == 3
    for _, gates in trace(away, away.encode(mixture().request.forget), mixtures(away.module)):
        assert float(gates[1][:, [0, 2]].abs().max()) == 0 and float(gates[1].sum(-1).min()) > 0.1
    assert torch.equal(logits(model), before) and model.fingerprint() == prints


def test_the_shared_expert_alone_is_left():
    """As if every routed expert gave nothing; and it does not matter what else is in the batch, nor the cache."""
    model, request = sharing()
    (point,) = reroute(model, request, mode="shared")
    assert isinstance(point.model, LanguageModel) and point.strength == 8
    emptied = model.copy()
    with torch.no_grad():
        for layer in mixtures(emptied.module):
            for weight in emptied.module.get_submodule(layer.experts).parameters():
                weight.zero_()
    batch = model.collate(model.encode(QUESTIONS[:4]), range(4))
    with model.evaluating(), point.model.evaluating(), emptied.evaluating():
        assert torch.allclose(point.model.logits(batch), emptied.logits(batch), atol=1e-6)
        assert not torch.allclose(point.model.logits(batch), model.logits(batch), atol=1e-2)
    prompts = [model.prompt(str(record["question"])) for record in QUESTIONS[:4]]
    assert point.model.generate(prompts, 5) == [point.model.generate([prompt], 5)[0] for prompt in prompts]


def test_no_more_are_taken_out_than_tokens_can_spare():
    model, request = sharing()
    assert [point.strength for point in reroute(model, request, count=9, tries=2)] == [1, 2, 3, 4]
    assert len(list(reroute(model, request, count=9, tries=2, mode="silence"))) == 8
    for wrong in ({"count": 0}, {"tries": 0}):
        given: Any = wrong
        with pytest.raises(InputError, match="both must be at least 1"):
            list(reroute(model, request, **given))
