"""Which weights a method may move: layers, adapters, saliency masks."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models import tiny
from torch import Tensor

from lethe.descent import where
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.models import load
from lethe.models.base import Batch, Model
from lethe.train import Recipe, Selection, Term, train

every_family = pytest.mark.parametrize("family", tiny.FAMILIES)


def weights(model: Model) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.module.named_parameters()}


def logits(model: Any, family: str) -> Tensor:
    examples = model.encode(tiny.FAMILIES[family][1]())
    with model.evaluating():
        return model.logits(model.collate(examples, range(len(examples))))


def fit(model: Model, selection: Selection, family: str, watch: Any = lambda model: None) -> None:
    def loss(model: Model, batch: Batch) -> Tensor:
        watch(model)
        return model.loss(batch)

    term = Term("retain", model.encode(tiny.FAMILIES[family][1]()), loss)
    train(model, [term], Recipe(lr=0.05, epochs=3, batch_size=6, weight_decay=0.1), selection=selection)


@every_family
def test_adapters_leave_the_base_alone_until_they_are_merged(family: str, tmp_path: Path):
    model, request = tiny.model(family), tiny.request(family)
    before, architecture, untrained = weights(model), type(model.module), logits(model, family)
    selection = where.lora(model, request, rank=2, alpha=5.0)
    assert torch.equal(logits(model, family), untrained)  # B starts at zero
    assert all("lora_" in name for name in selection.parameters)

    def base(model: Model) -> dict[str, Tensor]:
        named = {
            n.replace("base_model.model.", "").replace("base_layer.", ""): p for n, p in model.module.named_parameters()
        }
        return {name: tensor for name, tensor in named.items() if "lora_" not in name}

    def watch(model: Model) -> None:
        assert base(model).keys() == before.keys()
        assert all(torch.equal(tensor, before[name]) for name, tensor in base(model).items())

    fit(model, selection, family, watch)
    watch(model)
    adapted = logits(model, family)
    assert not torch.allclose(adapted, untrained, atol=1e-2)
    selection.finish()
    assert type(model.module) is architecture
    assert weights(model).keys() == before.keys()
    torch.testing.assert_close(logits(model, family), adapted, rtol=1e-4, atol=1e-5)
    assert torch.equal(logits(load(model.save(tmp_path / "merged")), family), logits(model, family))


def test_adapters_cover_every_linear_layer_but_the_head():
    model = tiny.language("qwen2")
    selection = where.lora(model, tiny.request("language"), rank=3)
    adapted = {name.split(".lora_")[0].removeprefix("base_model.model.") for name in selection.parameters}
    linear = {n for n, m in tiny.language("qwen2").module.named_modules() if isinstance(m, torch.nn.Linear)}
    assert adapted == linear - {"lm_head"}
    assert all(3 in parameter.shape for parameter in selection.parameters.values())


@pytest.mark.parametrize("architecture", ["gpt2", "qwen2"])
def test_what_is_returned_is_what_was_trained_where_embedding_and_head_share_a_weight(architecture: str):
    model = tiny.language(architecture)
    before = weights(model)
    selection = where.lora(model, tiny.request("language"), rank=2)
    fit(model, selection, "language")
    trained = logits(model, "language")
    selection.finish()
    torch.testing.assert_close(logits(model, "language"), trained, rtol=1e-4, atol=1e-4)
    moved = {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}
    inner = [name for name, tensor in before.items() if tensor.dim() == 2 and re.search(r"\.\d\.", name)]
    assert moved == set(inner)  # every matrix of a block, and the embedding that the head shares is left alone


@pytest.mark.parametrize(
    ("architecture", "target"), [("gpt2", "wte"), ("gpt2", "lm_head"), ("qwen2", "embed_tokens"), ("qwen2", "lm_head")]
)
def test_a_target_that_shares_its_weight_is_refused(architecture: str, target: str):
    with pytest.raises(InputError, match=f"where=lora: .*{target} shares its weight with another layer"):
        where.lora(tiny.language(architecture), tiny.request("language"), targets=(target,))


def test_adapters_start_from_the_requests_seed():
    def drawn(seed: int) -> list[Tensor]:
        return list(where.lora(tiny.classifier(), tiny.request("classifier", seed=seed)).parameters.values())

    state = torch.random.get_rng_state()
    first, same, other = drawn(0), drawn(0), drawn(1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(map(torch.equal, first, same))
    assert not all(map(torch.equal, first, other))


def test_adapters_may_be_aimed():
    model = tiny.language()
    selection = where.lora(model, tiny.request("language"), targets=("q_proj", "v_proj"))
    assert len(selection.parameters) == 2 * 2 * 2  # two blocks, two layers, two factors
    with pytest.raises(InputError, match=r"where=lora: .*no_such"):
        where.lora(tiny.language(), tiny.request("language"), targets=("no_such",))
    for wrong, near in (("donw_proj", "down_proj"), ("mpl.up_proj", "mlp.up_proj")):
        with pytest.raises(InputError, match=rf"^where=lora: no layer .* '{wrong}', did you mean '{near}'\?$"):
            where.lora(tiny.language(), tiny.request("language"), targets=("q_proj", wrong))
    with pytest.raises(InputError, match="rank is 0"):
        where.lora(tiny.language(), tiny.request("language"), rank=0)


@every_family
@pytest.mark.parametrize("keep", [0.1, 0.37, 1.0])
def test_a_saliency_mask_has_exactly_its_share_of_ones_at_the_largest_gradients(family: str, keep: float):
    model, request = tiny.model(family), tiny.request(family)
    selection = where.saliency(model, request, keep=keep)
    mask = torch.cat([selection.mask[name].flatten() for name in selection.parameters])
    assert mask.dtype == torch.bool
    assert int(mask.sum()) == int(keep * mask.numel())
    assert mask.numel() == sum(parameter.numel() for parameter in model.module.parameters())
    twin = tiny.model(family)
    for batch in twin.batches(twin.encode(request.forget), 3 if family != "recommender" else 8):
        twin.loss(batch).sum().backward()
    size = torch.cat([p.grad.abs().flatten() for p in twin.module.parameters()])
    assert keep == 1 or size[mask].min() >= size[~mask].max() - 1e-4 * size.max()


@every_family
def test_outside_the_saliency_mask_every_bit_stays(family: str):
    model = tiny.model(family)
    before = weights(model)
    selection = where.saliency(model, tiny.request(family), keep=0.3)
    fit(model, selection, family)
    after = weights(model)
    assert all(torch.equal(after[n][~m], before[n][~m]) for n, m in selection.mask.items())
    assert any((after[n][m] != before[n][m]).any() for n, m in selection.mask.items())


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5, 1e-9])
def test_shares_that_are_none_are_refused(keep: float):
    with pytest.raises(InputError, match="where=saliency: keep is"):
        where.saliency(tiny.classifier(), tiny.request("classifier"), keep=keep)


def test_layers_are_chosen_by_a_regular_expression():
    model = tiny.language()
    selection = where.layers(model, tiny.request("language"), match=r"layers\.1\.(mlp|self_attn\.q)")
    assert len(selection.parameters) == 4
    before = weights(model)
    fit(model, selection, "language")
    changed = {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}
    assert changed == set(selection.parameters)


def test_layers_that_do_not_exist_are_refused_with_the_names_that_do():
    with pytest.raises(InputError, match=r"no tensor matches 'blocks\\\\.3'; there are model\.embed_tokens\.weight"):
        where.layers(tiny.language(), tiny.request("language"), match=r"blocks\.3")
    for wrong, near in (
        ("mlp.donw_proj", "mlp.down_proj"),
        (r"layers\.1\.mpl", "layers.1.mlp"),
        ("up_porj$", "up_proj"),
    ):
        told = f"where=layers: no tensor matches {wrong!r}, did you mean {near!r}?"
        with pytest.raises(InputError, match=f"^{re.escape(told)}$"):
            where.layers(tiny.language(), tiny.request("language"), match=wrong)
    with pytest.raises(InputError, match="no regular expression"):
        where.layers(tiny.language(), tiny.request("language"), match="(")


def test_tensors_of_experts_that_do_not_exist_are_refused_with_the_nearest():
    model, request = tiny.language("mixtral"), tiny.request("language")
    with pytest.raises(InputError, match=r"no tensor of experts .*, did you mean 'experts\.gate_up_proj'\?$"):
        where.fused(model, request, match=r"experts\.gate_up_porj")
    with pytest.raises(InputError, match=r"matches 'zzz'; there are model\.layers\.0\.mlp\.experts\.gate_up_proj"):
        where.fused(model, request, match="zzz")
    with pytest.raises(InputError, match="LlamaForCausalLM has no tensor of several experts; use layers"):
        where.fused(tiny.language(), request)


def test_own_loss_is_the_models():
    model = tiny.classifier()
    batch = model.collate(model.encode(tiny.features()), range(12))
    assert torch.equal(own_loss(model, batch), model.loss(batch))
