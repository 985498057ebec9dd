"""The ranking loss over embedding tables: its curvature, what deleted edges carry, and whom they matter to."""

from typing import Any

import pytest
import torch
from tests.models.tiny import interactions, recommender

from lethe.descent.interactions import (
    Pairs,
    importance,
    margins,
    paired,
    ranking_curvature,
    ranking_gradient,
    rows_of,
    tables,
)
from lethe.models.graphs import LightGCN
from lethe.models.recommender import Recommender


def exact() -> Recommender:
    model = recommender()
    model.module.double()
    return model


def test_gradient_and_curvature_are_those_of_the_summed_loss():
    model = exact()
    pairs = paired(model, interactions()[:9], negatives=3, seed=1)
    assert len(pairs) == 27 and not bool(model.net.graph.holds(pairs.users, pairs.negatives).any())
    weights = tables(model)
    with weights.differentiable(model):
        m = margins(model, pairs)
        jacobian = torch.stack([weights.flat(weights.slope(one)) for one in m])
    s = m.detach().sigmoid()
    aims = torch.linspace(0, 1, 27).double()
    assert torch.allclose(ranking_gradient(model, pairs, aims), ((s - aims) / 3) @ jacobian, atol=1e-12)
    assert torch.allclose(ranking_gradient(model, pairs), ((s - 1) / 3) @ jacobian, atol=1e-12)
    matrix = jacobian.T @ (jacobian * (s * (1 - s) / 3)[:, None])
    v = torch.randn(len(matrix), dtype=torch.float64)
    assert torch.allclose(ranking_curvature(model, pairs, 0.2)(v), matrix @ v + 0.2 * v, atol=1e-12)
    moving = rows_of(model, torch.arange(8) < 3, torch.arange(12) < 0)
    assert int(moving.sum()) == 3 * 6
    inside = ranking_curvature(model, pairs, 0.2, moving)(v)
    assert torch.allclose(inside, moving * (matrix @ (v * moving)) + 0.2 * v, atol=1e-12)


@pytest.mark.parametrize(("layers", "reached"), [(1, {0, 1}), (2, {0, 1}), (3, {0, 1, 2})])
def test_a_deleted_edge_spills_over_to_its_field_and_exactly_nowhere_else(layers: int, reached: set[int]):
    """A chain u0 - i0 - u1 - i1 - u2 - i2 - u3, of which u0 - i0 goes: the more layers, the further it is felt."""
    torch.manual_seed(0)
    net: Any = LightGCN(4, 5, dim=3, layers=layers)
    net.double().set_edges(torch.tensor([[0, 1, 1, 2, 2, 3, 0], [0, 0, 1, 1, 2, 2, 4]]))
    old = Recommender(net.eval())
    new = old.copy()
    new.without([{"user": 0, "item": 0}])
    nobodys, felt = 3, set()
    for user, item in ((0, 4), (1, 1), (2, 2), (3, 2)):
        sample = Pairs(torch.tensor([user]), torch.tensor([item]), torch.tensor([nobodys]), 1.0)
        spilt = ranking_gradient(old, sample) - ranking_gradient(new, sample)
        if bool(spilt.any()):
            felt.add(user)
    assert felt == reached


def test_importance_of_a_chain_by_hand():
    """u0 - i0 - u1, the edge u0 - i0 deleted; degrees count a loop: 2, 3, 2."""
    edges = torch.tensor([[0, 1], [0, 0]])
    users, items = importance(edges, edges[:, :1], 2, 1, hops=0)
    assert users.tolist() == [1 / 2, 0] and items.tolist() == [pytest.approx(1 / 3)]
    users, items = importance(edges, edges[:, :1], 2, 1, hops=1)
    assert users.tolist() == [1 / 2, pytest.approx(1 / 6)] and items.tolist() == [pytest.approx(1 / 3)]
