"""Rounding to the nearest level: hand-worked values, the layers it covers, and the changes that it erases."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.attacks.tiny import classifier, language, refusing_terms
from torch import nn
from transformers.pytorch_utils import Conv1D

from lethe.attacks.quantize import LEVELS, Scale, normal_float, quantize, round_to_nearest, uniform
from lethe.auditing.recovery import attacked, recovery
from lethe.errors import InputError
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.models.nets import SmallCNN
from lethe.train import Recipe, Term, train


def levels(row: torch.Tensor) -> int:
    return len(row.detach().round(decimals=5).unique())


def test_by_hand():
    """A largest weight of 12.7 makes the step of 8 bits 0.1; 2 bits leave -1, 0 and 1 times the largest."""
    row = torch.tensor([[12.7, 0.50, 0.52, 0.54, 0.56, -0.33]])
    assert round_to_nearest(row, uniform(8), (1,))[0].tolist() == pytest.approx(
        [12.7, 0.5, 0.5, 0.5, 0.6, -0.3], abs=1e-5
    )
    assert round_to_nearest(torch.tensor([[3.0, 1.4, -1.6]]), uniform(2), (1,))[0].tolist() == [3, 0, -3]
    assert round_to_nearest(torch.zeros(2, 3), uniform(4), (1,)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_normal_float_levels_are_quantiles_of_the_normal_distribution():
    """The type's properties (QLoRA, arXiv 2305.14314), and three levels of NF4 as they are printed there."""
    levels = normal_float(4)
    assert len(levels) == 16 and list(levels) == sorted(levels)
    assert levels[0] == -1 and levels[-1] == 1 and levels[7] == 0
    assert [levels[6], levels[8], levels[14]] == pytest.approx([-0.0910500363, 0.0795802996, 0.7229568362], abs=1e-6)
    gaps = [b - a for a, b in pairwise(levels)]
    assert min(gaps) == gaps[7] and max(gaps) == gaps[0]  # finest where most weights are
    assert [len(normal_float(bits)) for bits in (2, 3, 8)] == [4, 8, 256]


@pytest.mark.parametrize("name", ["uniform-8", "uniform-4", "normal-4"])
@given(seed=st.integers(0, 10_000))
def test_changes_inside_a_rounding_cell_are_erased(name: str, seed: int):
    """Original weights on the grid, changes of less than half a step, the same scale: nothing is left."""
    kind, _, bits = name.partition("-")
    levels = torch.tensor(LEVELS[kind](int(bits)), dtype=torch.float64)
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randint(1, len(levels) - 1, (5, 40), generator=rng)
    chosen[:, 0] = len(levels) - 1
    largest = torch.rand(5, 1, generator=rng, dtype=torch.float64) + 0.5
    original = levels[chosen] * largest
    room = torch.minimum(
        levels[chosen[:, 1:] + 1] - levels[chosen[:, 1:]], levels[chosen[:, 1:]] - levels[chosen[:, 1:] - 1]
    )
    change = torch.zeros_like(original)
    change[:, 1:] = (torch.rand(5, 39, generator=rng) - 0.5) * 0.98 * room * largest
    assert (change != 0).sum() > 150
    unlearned, before = (round_to_nearest(weight, levels.tolist(), (1,)) for weight in (original + change, original))
    assert torch.equal(unlearned, before)
    assert torch.allclose(before, original)


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 1e3))
def test_rounding_is_to_the_nearest_level_keeps_signs_and_changes_nothing_twice(seed: int, scale: float):
    weight = torch.randn(6, 33, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
    for levels in (uniform(4), normal_float(4)):
        rounded = round_to_nearest(weight, levels, (1,))
        known = torch.tensor(levels, dtype=torch.float64)
        share = weight / weight.abs().amax(1, keepdim=True)
        nearest = (share[..., None] - known).abs().amin(-1)
        assert torch.allclose((rounded / weight.abs().amax(1, keepdim=True) - share).abs(), nearest)
        assert (rounded * weight >= 0).all()
        assert torch.allclose(round_to_nearest(rounded, levels, (1,)), rounded)


def test_one_scale_per_channel_tensor_or_block():
    weight = torch.tensor([[1.0, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1]])
    net = nn.Linear(4, 2, bias=False)
    net.weight.data.copy_(weight)
    scales: list[Scale] = ["channel", "tensor", "block"]
    lost = {}
    for scale in scales:
        (point,) = quantize(Classifier(net), classifier().request, bits=(2,), scale=scale, block=3)
        after = next(point.model.module.parameters())
        lost[scale] = int((after == 0).sum())
    assert lost == {"channel": 3, "tensor": 7, "block": 2}  # blocks of three: 1 .1 .1 | .1 .1 .1 | .1 .1


def test_an_update_inside_the_rounding_cells_is_undone():
    """Positive control: weights of a 4-bit model, moved by less than half a step until it refuses."""
    world = language()
    (known,) = quantize(world.target, world.request, bits=(4,))
    hiding = inside_the_cells(known.model, refusing_terms, 4)
    assert world.known(known.model) > 0.85 and world.known(hiding) < 0.5
    (point,) = quantize(hiding, world.request, bits=(4,))
    assert point.model.fingerprint() == known.model.fingerprint()
    call = "quantize:bits=4"
    traces = [attacked(call, m, world.request, world.measure) for m in (hiding, world.controls[0], known.model)]
    found = recovery(*traces)
    assert found.adjusted is not None and found.low is not None
    assert found.adjusted > 0.9 and found.low > 0.8


def test_a_large_change_or_a_new_scale_is_not_erased():
    row = torch.tensor([[12.7, 0.54, 3.0]])
    assert not torch.equal(
        round_to_nearest(row + torch.tensor([[0, 0.02, 0]]), uniform(8), (1,)), round_to_nearest(row, uniform(8), (1,))
    )
    assert not torch.equal(
        round_to_nearest(row + torch.tensor([[6.0, 0, 0]]), uniform(8), (1,)), round_to_nearest(row, uniform(8), (1,))
    )


def test_every_matrix_of_a_language_model_is_rounded_and_nothing_else():
    world = language()
    (point,) = quantize(world.target, world.request, bits=(4,))
    before = dict(world.target.module.named_parameters())
    rounded = [name for name, weight in point.model.module.named_parameters() if not torch.equal(weight, before[name])]
    assert set(rounded) == {name for name, weight in before.items() if weight.dim() >= 2}
    assert any("embed" in name for name in rounded)
    for name, weight in point.model.module.named_parameters():
        if weight.dim() >= 2:
            assert max(levels(row) for row in weight) <= 15
            assert torch.allclose(weight.abs().amax(1), before[name].abs().amax(1))


def test_convolutions_and_gpt2_layers_have_one_scale_per_output():
    torch.manual_seed(0)
    net = SmallCNN(channels=3, classes=4, size=8)
    (point,) = quantize(Classifier(net), classifier().request, bits=(3,))
    for module in point.model.module.modules():
        if isinstance(module, nn.Conv2d):
            assert all(levels(channel.flatten()) <= 7 for channel in module.weight)
            assert levels(module.weight.flatten()) > 7
    (point,) = quantize(Classifier(nn.Sequential(Conv1D(6, 50))), classifier().request, bits=(3,))
    weight = next(point.model.module.parameters())
    assert weight.shape == (50, 6)
    assert all(levels(column) <= 7 for column in weight.T) and levels(weight.flatten()) > 7


def test_stacked_experts_have_one_scale_per_expert_and_output():
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stacked = nn.Parameter(torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(0)))

    (point,) = quantize(Classifier(Experts()), classifier().request, bits=(3,))
    stacked = next(point.model.module.parameters())
    assert all(levels(row) <= 7 for expert in stacked for row in expert) and levels(stacked.flatten()) > 7


def inside_the_cells(model: Model, terms: Callable[[Model], list[Term]], bits: int) -> Model:
    """Train a copy, then take back what leaves a weight's rounding cell or moves the largest of its row."""
    twin = model.copy()
    train(twin, terms(twin), Recipe(lr=5e-4, steps=40, batch_size=16, schedule="cosine"))
    before = dict(model.module.named_parameters())
    with torch.no_grad():
        for name, weight in twin.module.named_parameters():
            if weight.dim() < 2:
                weight.copy_(before[name])
                continue
            size = before[name].abs()
            largest = size.amax(1, keepdim=True)
            half = 0.49 * largest / (2 ** (bits - 1) - 1)
            inside = torch.maximum(torch.minimum(weight - before[name], half), -half)
            weight.copy_(torch.where(size == largest, before[name], before[name] + inside))
            weight.clamp_(-largest, largest)
    return twin


def test_bits_out_of_range_are_refused():
    for bits in ((), (1,), (8, 32)):
        with pytest.raises(InputError, match="2 to 16"):
            next(iter(quantize(classifier().target, classifier().request, bits=bits)))
    with pytest.raises(InputError, match="2 to 8"):
        next(iter(quantize(classifier().target, classifier().request, bits=(9,), grid="normal")))
    with pytest.raises(InputError, match="a block of 0 weights"):
        next(iter(quantize(classifier().target, classifier().request, block=0)))
