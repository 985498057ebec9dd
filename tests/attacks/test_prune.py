"""Pruning: what each variant removes, and forgetting that sits in what it removes."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from tests.attacks.tiny import classifier, language, recommender
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.pytorch_utils import Conv1D

from lethe.attacks.prune import prune
from lethe.auditing.recovery import attacked, recovery
from lethe.descent.adapters import aimed
from lethe.errors import InputError
from lethe.models.base import Batch, Model
from lethe.models.classifier import Classifier
from lethe.models.language import LanguageModel
from lethe.models.nets import SmallCNN
from lethe.models.projections import input_norms
from lethe.train import Recipe, Selection, Term, train

VARIANTS = ["magnitude", "wanda", "structured"]
SHARE = 0.3


def removed(before: Model, after: Model) -> dict[str, Tensor]:
    weights = dict(after.module.named_parameters())
    return {name: (weight != 0) & (weights[name] == 0) for name, weight in before.module.named_parameters()}


def ascend(model: Model, batch: Batch) -> Tensor:
    return -model.loss(batch)


@cache
def planted(variant: str) -> tuple[Model, Model]:
    """A classifier pruned and still knowing, and the same after forgetting in nothing but what was pruned.

    What was written there is made just small enough to be the next to go.
    """
    world = classifier()
    call = {"variant": variant, "shares": (SHARE,)}
    (knowing,) = prune(world.target, world.request, **call)
    gone = removed(world.target, knowing.model)
    twin = knowing.model.copy()
    terms = [Term("forget", twin.encode(world.request.forget), ascend, per="token")]
    selection = Selection(dict(twin.module.named_parameters()), gone)
    train(twin, terms, Recipe(lr=1e-2, steps=40, batch_size=40), selection=selection)
    names = aimed(world.target.module, (), "test", matrices=True)
    norms = input_norms(knowing.model, names, world.request.retain[:32])
    with torch.no_grad():
        for name, weight in twin.module.named_parameters():
            if gone[name].any():
                weight.copy_(
                    torch.where(gone[name], weight.sign() * room(variant, weight, gone[name], norms, name), weight)
                )
    return knowing.model, twin


def room(variant: str, weight: Tensor, gone: Tensor, norms: dict[str, Tensor], name: str) -> Tensor:
    """How large each weight may be and still be among those that matter least."""
    if variant == "magnitude":
        return 0.99 * weight.abs().masked_fill(gone, torch.inf).min()
    if variant == "wanda":
        norm = norms[name.removesuffix(".weight")]
        least = (weight.abs() * norm).masked_fill(gone, torch.inf).amin(1, keepdim=True)
        return 0.99 * least / norm.clamp(min=float(norm.mean()) / 10)
    columns = weight.norm(dim=0).masked_fill(gone.all(0), torch.inf)
    return 0.99 * columns.min() / len(weight) ** 0.5


@pytest.mark.parametrize("variant", VARIANTS)
def test_forgetting_in_what_hardly_matters_is_undone(variant: str):
    """Positive control: pruning takes away the forgetting and leaves the knowledge."""
    world = classifier()
    knowing, hiding = planted(variant)
    assert world.known(knowing) > 0.9 and world.known(hiding) < 0.65
    call = f"prune:variant={variant},shares={SHARE}"
    models = (hiding, world.controls[0], knowing)
    found = recovery(*(attacked(call, model, world.request, world.measure) for model in models))
    assert found.adjusted is not None and found.low is not None
    print(f"{call}: {found.adjusted:.2f} [{found.low:.2f}, {found.high:.2f}]")
    assert found.adjusted > 0.8 and found.low > 0.7


def test_no_share_changes_nothing_and_larger_shares_hold_the_smaller():
    world = language()
    for variant in VARIANTS:
        points = list(prune(world.target, world.request, variant=variant, shares=(0.0, 0.2, 0.4)))
        assert points[0].model.fingerprint() == world.target.fingerprint()
        few, more = (removed(world.target, point.model) for point in points[1:])
        assert all((more[name] | ~few[name]).all() for name in few)
        counts = [sum(int(mask.sum()) for mask in masks.values()) for masks in (few, more)]
        assert 1.9 < counts[1] / counts[0] < 2.1


def test_the_smallest_of_each_matrix_go_and_embeddings_stay():
    world = language()
    (point,) = prune(world.target, world.request, shares=(0.25,))
    assert isinstance(world.target, LanguageModel)
    for name, mask in removed(world.target, point.model).items():
        weight = world.target.module.get_parameter(name).detach()
        whole = weight.dim() < 2 or "embed" in name or "lm_head" in name
        assert int(mask.sum()) == (0 if whole else weight.numel() // 4)
        if not whole:
            assert weight.abs()[mask].max() <= weight.abs()[~mask].min()


def test_a_network_of_embeddings_alone_is_pruned_in_them():
    world = recommender()
    (point,) = prune(world.target, world.request, shares=(0.5,))
    assert all(int(mask.sum()) == mask.numel() // 2 for mask in removed(world.target, point.model).values())
    with pytest.raises(InputError, match="no linear or convolution layer"):
        list(prune(world.target, world.request, variant="wanda"))


def test_input_norms_are_those_of_the_tokens_alone():
    """As if every record had been read by itself: no padding enters, whatever the lengths."""
    world = language()
    squares: dict[str, Tensor] = {}
    layers = {n: m for n, m in world.target.module.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in n}
    norms = input_norms(world.target, list(layers), world.request.retain[:6])
    seen: dict[str, Tensor] = {}

    def keeping(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0]

        return hook

    hooks = [layer.register_forward_pre_hook(keeping(name)) for name, layer in layers.items()]
    for record in world.request.retain[:6]:
        (batch,) = world.target.batches(world.target.encode([record]))
        with world.target.evaluating():
            world.target.logits(batch)
        for name, read in seen.items():
            squares[name] = squares.get(name, torch.zeros(())) + read[0].pow(2).sum(0)
    for hook in hooks:
        hook.remove()
    for name, norm in norms.items():
        assert torch.allclose(norm, squares[name].sqrt(), rtol=1e-5)
    assert not any(module._forward_pre_hooks for module in world.target.module.modules())


def test_wanda_keeps_small_weights_of_large_inputs():
    """Two inputs of size 10 and .1: of equal weights, those of the small input go, in every row."""
    layer = nn.Linear(2, 3, bias=False)
    layer.weight.data.copy_(torch.tensor([[1.0, 1.0], [0.1, 1.0], [0.001, 1.0]]))
    net = nn.Sequential(layer)
    rows = [{"id": str(row), "features": [10.0, 0.1], "label": 0} for row in range(3)]
    request = replace(classifier().request, retain=rows)
    (point,) = prune(Classifier(net), request, variant="wanda", shares=(0.5,))
    assert (next(point.model.module.parameters()) == 0).tolist() == [[False, True], [False, True], [True, False]]


def test_units_go_whole_in_convolutions_and_transposed_layers():
    torch.manual_seed(0)
    net = SmallCNN(channels=3, classes=4, size=8)
    request = classifier().request
    (point,) = prune(Classifier(net), request, variant="structured", shares=(0.25,))
    masks = removed(Classifier(net), point.model)
    for name, mask in masks.items():
        if name.endswith("bias") or "convolutions.0" in name:
            assert not mask.any()
        else:
            units = mask.transpose(0, 1).flatten(1)
            assert ((units.all(1)) | (~units.any(1))).all() and int(units.all(1).sum()) == len(units) // 4
    turned = nn.Sequential(Conv1D(6, 5), Conv1D(4, 6))
    (point,) = prune(Classifier(turned), request, variant="structured", shares=(0.5,))
    mask = removed(Classifier(turned), point.model)["1.weight"]  # (inputs, outputs)
    assert mask.all(1).sum() == 3 == mask.any(1).sum()


def test_mlp_units_of_a_language_model():
    world = language()
    (point,) = prune(world.target, world.request, variant="structured", shares=(0.25,))
    for name, mask in removed(world.target, point.model).items():
        assert int(mask.all(0).sum()) == (32 if "down_proj" in name else 0) if mask.dim() > 1 else not mask.any()


def test_every_expert_of_a_mixture_loses_units_of_its_own():
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=600, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    known = language().target
    assert isinstance(known, LanguageModel)
    model = LanguageModel(MixtralForCausalLM(config), known.tokenizer)
    (point,) = prune(model, language().request, variant="structured", shares=(0.25,))
    masks = {name: mask for name, mask in removed(model, point.model).items() if mask.any()}
    ((name, mask),) = masks.items()
    assert name.endswith("experts.down_proj") and mask.shape == (4, 16, 32)
    assert mask.all(1).sum(1).tolist() == [8] * 4 and int(mask.sum()) == 4 * 8 * 16
    assert len({tuple(row) for row in mask.all(1).tolist()}) > 1
    (point,) = prune(model, language().request, shares=(0.25,))
    assert all(mask.any() for name, mask in removed(model, point.model).items() if "experts" in name)


def test_bad_shares_and_missing_calibration_are_refused():
    world = classifier()
    for shares in ((), (1.0,), (-0.1, 0.5)):
        with pytest.raises(InputError, match="from 0 to below 1"):
            list(prune(world.target, world.request, shares=shares))
    with pytest.raises(InputError, match="reads retain records"):
        list(prune(world.target, replace(world.request, retain=()), variant="wanda"))
