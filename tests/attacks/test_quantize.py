"""Rounding to the nearest level: hand-worked values, the layers it covers, and the changes that it erases."""

import pytest
import torch
from tests.attacks.tiny import classifier, language
from torch import nn
from transformers.pytorch_utils import Conv1D

from lethe.attacks.quantize import quantize, round_to_nearest
from lethe.errors import InputError
from lethe.models.classifier import Classifier
from lethe.models.nets import SmallCNN


def levels(row: torch.Tensor) -> int:
    return len(row.detach().round(decimals=5).unique())


def test_by_hand():
    """A largest weight of 12.7 makes the step of 8 bits 0.1; 2 bits leave -1, 0 and 1 times the largest."""
    row = torch.tensor([[12.7, 0.50, 0.52, 0.54, 0.56, -0.33]])
    assert round_to_nearest(row, 8, (1,))[0].tolist() == pytest.approx([12.7, 0.5, 0.5, 0.5, 0.6, -0.3], abs=1e-5)
    assert round_to_nearest(torch.tensor([[3.0, 1.4, -1.6]]), 2, (1,))[0].tolist() == [3, 0, -3]
    assert round_to_nearest(torch.zeros(2, 3), 4, (1,)).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("bits", [8, 4])
def test_changes_inside_a_rounding_cell_are_erased(bits: int):
    """Original weights on the grid, changes below half a step, the largest weight of each row kept: nothing is left."""
    rng = torch.Generator().manual_seed(0)
    top = 2 ** (bits - 1) - 1
    grid = torch.randint(-top, top + 1, (5, 40), generator=rng)
    grid[:, 0] = top
    step = torch.rand(5, 1, generator=rng) + 0.5
    original = grid * step
    change = (torch.rand(5, 40, generator=rng) - 0.5) * 0.98 * step
    change[:, 0] = 0
    change[(grid.abs() == top)] = 0  # a larger largest weight would be another scale
    assert (change.abs() < step / 2).all() and (change != 0).sum() > 100
    assert torch.equal(round_to_nearest(original + change, bits, (1,)), round_to_nearest(original, bits, (1,)))


def test_a_large_change_or_a_new_scale_is_not_erased():
    row = torch.tensor([[12.7, 0.54, 3.0]])
    assert not torch.equal(
        round_to_nearest(row + torch.tensor([[0, 0.02, 0]]), 8, (1,)), round_to_nearest(row, 8, (1,))
    )
    assert not torch.equal(round_to_nearest(row + torch.tensor([[6.0, 0, 0]]), 8, (1,)), round_to_nearest(row, 8, (1,)))


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


def test_bits_out_of_range_are_refused():
    for bits in ((), (1,), (8, 32)):
        with pytest.raises(InputError, match="2 to 16"):
            next(iter(quantize(classifier().target, classifier().request, bits=bits)))
