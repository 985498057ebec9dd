"""Scrubbing by the tangent kernel: exact on a linear network, bounded by the size of its kernel."""

import math

import pytest
import torch
from tests.attacks.tiny import classifier
from torch import nn

from lethe.errors import InputError
from lethe.methods.ntk import ntk, released_scale
from lethe.models.classifier import Classifier


def test_on_a_linear_network_the_step_is_between_two_ridge_solutions():
    torch.manual_seed(0)
    model, request = Classifier(nn.Linear(16, 4, bias=False).eval()), classifier().request
    made = ntk(model, request, start="trained", weight_decay=0.05)
    rows = torch.stack([torch.tensor(r["features"]) for r in (*request.forget, *request.retain)])
    labels = torch.tensor([r["label"] for r in (*request.forget, *request.retain)])
    residual = (model.module(rows).softmax(-1) - torch.eye(4)[labels]).detach().double()

    def learnt(x: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
        return -torch.linalg.solve(x.T @ x + 0.05 * len(x) * torch.eye(16).double(), x.T @ aims).T

    x, n = rows.double(), len(request.forget)
    step = learnt(x[n:], residual[n:]) - learnt(x, residual)
    moved = (made.module.state_dict()["weight"] - model.module.state_dict()["weight"]).double()
    assert step.norm() > 1e-3
    assert torch.allclose(moved, step, atol=1e-5)


def test_the_released_scale_reads_an_angle_to_what_was_to_be_kept():
    step, across = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    assert released_scale(step, across) == pytest.approx(1.0, abs=1e-6)  # no angle, no correction
    assert released_scale(step, torch.tensor([-1.0, 0.0])) == pytest.approx(3.0)
    assert released_scale(step, torch.tensor([1.0, 1.0])) == pytest.approx(1 + 2 * math.sin(math.pi / 4) * math.sqrt(2))


def test_a_kernel_that_is_too_large_is_refused_with_the_number_that_is_not():
    world = classifier()
    wide = Classifier(nn.Linear(16, 20).eval())
    with pytest.raises(InputError, match=r"side 3,200.*records=110 or fewer"):
        ntk(wide, world.request)
    with pytest.raises(InputError, match=r"151 records .* side 3,020.*records=110 or fewer"):
        ntk(wide, world.request, records=111)


def test_scale_and_start_change_the_step():
    world = classifier()
    options = ({}, {"scale": 3.0}, {"start": "trained"}, {"scale": 0.0}, {"seed": 4})
    made = {ntk(world.target, world.request, records=20, **one).fingerprint() for one in options}
    assert len(made) == 5
    with pytest.raises(InputError, match="weight_decay=0"):
        ntk(world.target, world.request, weight_decay=0.0)
