"""Unlearning in one expert: what is chosen, what moves, what holds the tokens, and what is left when it is masked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models import tiny
from torch import Tensor
from transformers import AutoModelForCausalLM, DeepseekV2Config, DeepseekV3Config, MixtralConfig, Qwen2MoeConfig

from lethe.descent import where
from lethe.descent.experts import anchor_loss, attribute, trainable_share
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.models.language import LanguageModel
from lethe.models.mixture import mixtures, routed, trace, without_experts
from lethe.registry import find
from lethe.train import Recipe, Term, train

WIDTH, INNER, EXPERTS = 16, 8, 4
SIZES: dict[str, Any] = {
    "vocab_size": 258, "eos_token_id": 256, "pad_token_id": 257, "bos_token_id": None, "initializer_range": 0.2,
    "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": 3, "num_attention_heads": 2,
    "max_position_embeddings": 128, "num_experts_per_tok": 2,
}  # fmt: skip
DEEPSEEK: dict[str, Any] = {
    "moe_intermediate_size": INNER, "n_routed_experts": EXPERTS, "n_shared_experts": 1, "first_k_dense_replace": 1,
    "kv_lora_rank": 8, "q_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 8,
    "num_key_value_heads": 2,
}  # fmt: skip
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "mixtral": (MixtralConfig, {"num_local_experts": EXPERTS, "num_key_value_heads": 1}),
    "qwen2_moe": (
        Qwen2MoeConfig,
        {
            "num_experts": EXPERTS,
            "moe_intermediate_size": INNER,
            "shared_expert_intermediate_size": INNER,
            "num_key_value_heads": 1,
        },
    ),
    "deepseek_v2": (DeepseekV2Config, {**DEEPSEEK, "n_group": 1, "topk_group": 1}),
    "deepseek_v3": (DeepseekV3Config, {**DEEPSEEK, "n_group": 2, "topk_group": 1}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
REQUEST = tiny.request("language")


def model(kind: str = "qwen2_moe", **changes: Any) -> LanguageModel:
    config, own = KINDS[kind]
    return LanguageModel(
        tiny.drawn(lambda: AutoModelForCausalLM.from_config(config(**{**SIZES, **own, **changes}))).eval(),
        tiny.tokenizer(),
    )


def weights(of: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in of.module.named_parameters()}


def gates(of: Model) -> Tensor:
    """(layers, tokens, experts) over the forget set."""
    examples = of.encode(REQUEST.forget)
    found = dict(trace(of, examples, mixtures(of.module)))
    return torch.cat([found[row] for row in range(len(examples))], dim=1)


def logits(of: Model) -> Tensor:
    examples = of.encode(tiny.QUESTIONS)
    with of.evaluating():
        return of.logits(of.collate(examples, range(len(examples))))


# --- the anchor -------------------------------------------------------------------------------------------------------


def test_the_anchor_has_the_papers_value_and_gradient():
    scores = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    free = scores.log().requires_grad_()
    value = anchor_loss(free.softmax(-1), [0])
    value.backward()
    assert float(value.detach()) == pytest.approx(0.50, abs=1e-12)
    assert free.grad is not None
    torch.testing.assert_close(free.grad, torch.tensor([-0.40, 0.24, 0.12, 0.04], dtype=torch.float64))
    assert float(anchor_loss(torch.tensor([0.5, 0.3, 0.2, 0.0]), [0])) == pytest.approx(0.38)
    random = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)).softmax(-1)
    assert bool(((anchor_loss(random, [3]) > 0) & (anchor_loss(random, [3]) < 2)).all())


def test_the_anchor_term_is_the_mean_over_all_tokens_but_padding():
    of = model()
    found = attribute(of, REQUEST)
    (term,) = where.expert(of, REQUEST).terms
    batch = of.collate(term.examples, range(len(term.examples)))
    with torch.no_grad():
        summed = float(term.loss(of, batch).sum()) / sum(example.size for example in term.examples)
        longer = of.collate([*term.examples, *of.encode([tiny.QUESTIONS[6]])], range(len(term.examples) + 1))
        torch.testing.assert_close(term.loss(of, longer)[:-1], term.loss(of, batch))  # padding changes nothing
    assert sum(example.size for example in term.examples) == sum(len(e.inputs["input_ids"]) for e in term.examples)
    ((layer, (target,)),) = found.targets.items()
    values = []
    for example in term.examples:
        alone = of.collate([example], [0])
        with torch.no_grad(), routed(of.module, [m for m in found.layers if m.name == layer]) as seen:
            of.logits(alone)
        values.append(anchor_loss(seen[layer].logits.softmax(-1), [target]))
    assert summed == pytest.approx(float(torch.cat(values).mean()), rel=1e-5)


@pytest.mark.parametrize("on", ["softmax", "topk"])
def test_a_heavy_anchor_pulls_forget_tokens_to_the_target(on: str):
    given = model()
    layer, (target,) = next(iter(attribute(given, REQUEST, choose="random").targets.items()))
    row = [m.name for m in mixtures(given.module)].index(layer)

    def rate(anchor: float) -> float:
        place = f"expert:choose=random,anchor={anchor:g},anchor_on={on}"
        options: dict[str, Any] = {"where": place, "lr": 3e-2, "epochs": 20, "batch_size": 4}
        made = find("method", "ga").function(given, REQUEST, **options)
        return float((gates(made)[row, :, target] > 0).float().mean())

    before = float((gates(given)[row, :, target] > 0).float().mean())
    assert rate(100.0) > max(before, 0.9 * rate(0.0))
    assert rate(100.0) > 0.9


# --- what is chosen ---------------------------------------------------------------------------------------------------


@every_kind
def test_the_expert_with_most_weight_on_the_forget_set_is_chosen(kind: str):
    of = model(kind)
    found = attribute(of, REQUEST)
    assert found.affinity.shape == (len(mixtures(of.module)), EXPERTS)
    per_record = [g.mean(1) for _, g in trace(of, of.encode(REQUEST.forget), list(found.layers))]
    torch.testing.assert_close(torch.stack(per_record).mean(0), torch.tensor(found.affinity).float())
    best = divmod(int(found.affinity.argmax()), EXPERTS)
    assert dict(found.targets) == {found.layers[best[0]].name: (best[1],)}
    total = found.affinity.sum(-1)
    factor = {"deepseek_v3": 2.5}.get(kind, 1.0)  # its router scales and normalises; Mixtral's only normalises
    assert total == pytest.approx(factor) if kind in ("mixtral", "deepseek_v3") else (total < 1).all()


def test_several_experts_come_from_everywhere_or_from_one_layer():
    of = model()
    spread = attribute(of, REQUEST, count=5)
    order = spread.affinity.ravel().argsort()[::-1][:5]
    assert {(n, e) for n, chosen in spread.targets.items() for e in chosen} == {
        (spread.layers[place // EXPERTS].name, place % EXPERTS) for place in order.tolist()
    }
    (layer,) = attribute(of, REQUEST, count=3, scope="same_layer").targets.items()
    assert len(layer[1]) == 3 and layer[0] == next(iter(attribute(of, REQUEST).targets))
    every = where.expert(of, REQUEST, count=3 * EXPERTS)
    assert all(bool(mask.all()) for mask in every.mask.values())
    assert set(every.parameters) == {n for n in weights(of) if ".experts." in n or n.endswith("mlp.gate.weight")}


def test_the_choice_is_the_requests():
    of = model()
    drawn = {str(attribute(of, replace(REQUEST, seed=seed), choose="random").targets) for seed in range(8)}
    assert len(drawn) > 2
    again = attribute(of, REQUEST, choose="random").targets
    assert again == attribute(of, REQUEST, choose="random").targets


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (tiny.language, {}, "where=expert: LlamaForCausalLM has no mixture-of-experts layer.*choose a mixture-of-exp"),
        (tiny.classifier, {}, "where=expert: MLP has no mixture-of-experts layer"),
        (model, {"count": 13}, "count is 13; with scope=any_layer choose 1 to 12"),
        (model, {"count": 5, "scope": "same_layer"}, "count is 5; with scope=same_layer choose 1 to 4"),
        (model, {"count": 0}, "count is 0"),
        (model, {"anchor": -1.0}, "anchor is -1.0"),
    ],
)
def test_what_cannot_be_is_refused(given: Any, options: Any, message: str):
    with pytest.raises(InputError, match=message):
        where.expert(given(), REQUEST, **options)


# --- what moves -------------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("router", ["matrix", "row"])
def test_all_but_the_target_and_its_router_stays_bit_by_bit(kind: str, router: Any):
    """Under weight decay and momentum, with all experts of a layer in one tensor."""
    of = model(kind)
    before = weights(of)
    buffers = {name: buffer.clone() for name, buffer in of.module.named_buffers()}
    selection = where.expert(of, REQUEST, router=router)
    ((layer, (target,)),) = attribute(of, REQUEST).targets.items()
    term = Term("retain", of.encode(REQUEST.forget), own_loss)
    recipe = Recipe(lr=0.05, epochs=3, batch_size=2, weight_decay=0.5)
    train(of, [term, *selection.terms], recipe, selection=selection)
    selection.finish()
    after = weights(of)
    moved = {name: before[name] != after[name] for name in before if not torch.equal(before[name], after[name])}
    own = {f"{layer}.experts.gate_up_proj", f"{layer}.experts.down_proj"}
    assert set(moved) == own | {f"{layer}.gate.weight"}
    for name, changed in moved.items():
        rows = changed.flatten(1).any(1).nonzero().flatten().tolist()
        assert rows == ([target] if name in own or router == "row" else list(range(EXPERTS)))
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in of.module.named_buffers())
    count = 3 * WIDTH * INNER + WIDTH * (1 if router == "row" else EXPERTS)
    share = trainable_share(selection, of.module)
    assert share == pytest.approx(count / sum(p.numel() for p in of.module.parameters()), rel=1e-12)


def test_jitter_and_the_load_balancing_loss_take_no_part():
    def run(**changes: Any) -> tuple[dict[str, Tensor], Model]:
        of = model("mixtral", **changes)
        options: dict[str, Any] = {"where": "expert", "epochs": 2, "batch_size": 2, "lr": 1e-2}
        made = find("method", "grad_diff").function(of, REQUEST, **options)
        return weights(made), made

    plain, _ = run()
    loaded, made = run(router_jitter_noise=0.5, output_router_logits=True, router_aux_loss_coef=100.0)
    assert all(torch.equal(plain[name], loaded[name]) for name in plain)
    assert made.module.get_submodule("model.layers.0.mlp").jitter_noise == 0.5


@every_kind
def test_the_saved_model_is_an_ordinary_one(kind: str, tmp_path: Path):
    given = model(kind)
    options: dict[str, Any] = {"where": "expert:router=row", "epochs": 1, "batch_size": 2, "lr": 1e-2}
    made = find("method", "npo").function(given, REQUEST, **options)
    loaded: Any = AutoModelForCausalLM.from_pretrained(made.save(tmp_path / "made")).eval()
    batch = made.collate(made.encode(tiny.QUESTIONS), range(len(tiny.QUESTIONS)))
    with torch.no_grad():
        assert torch.equal(loaded(**batch.inputs, use_cache=False).logits[:, :-1], logits(made))
    assert not torch.equal(logits(made), logits(given))


# --- what if it may not be visited ------------------------------------------------------------------------------------


@every_kind
def test_masked_experts_are_visited_by_no_token(kind: str):
    of = model(kind)
    before, original, layers = of.fingerprint(), gates(of), mixtures(of.module)
    usual = logits(of)
    last, row = layers[-1], len(layers) - 1
    kept = [e for e in range(EXPERTS) if e != 1]
    with without_experts(of.module, {last.name: [1]}):
        detoured, changed = gates(of), logits(of)
    assert not detoured[row, :, 1].any()
    assert torch.equal(detoured[:row], original[:row])  # layers before it route as they did
    assert bool(((detoured[row] > 0).sum(-1) == last.kept).all())
    torch.testing.assert_close(detoured[row].sum(-1), original[row].sum(-1))
    unbothered = original[row, :, 1] == 0
    assert unbothered.any() and not unbothered.all()
    torch.testing.assert_close(detoured[row, unbothered], original[row, unbothered])
    assert bool((detoured[row][:, kept] > 0)[(original[row] > 0)[:, kept]].all())  # only the masked one is replaced
    assert not torch.equal(changed, usual)
    assert torch.equal(logits(of), usual) and of.fingerprint() == before


def test_masks_that_cannot_be_are_refused_and_always_lifted():
    of = model()
    usual, name = logits(of), mixtures(of.module)[0].name
    for masked, message in (
        ({"model.layers.9.mlp": [0]}, "no mixture-of-experts layer 'model.layers.9.mlp'; there are model.layers.0.mlp"),
        ({name: [4]}, "has no expert 4; its experts are 0 to 3"),
        ({name: [0, 1, 2]}, "at most 2 can be masked"),
    ):
        with pytest.raises(InputError, match=message), without_experts(of.module, masked):
            pass
    with pytest.raises(RuntimeError, match="inside"), without_experts(of.module, {name: [0, 1]}):
        raise RuntimeError("inside")
    assert torch.equal(logits(of), usual)
