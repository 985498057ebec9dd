"""Closed forms of UnlearnRec's losses, arXiv 2505.22649."""

import pytest
import torch
from torch import Tensor

from lethe.losses.influence_encoder import contrast, log_share, preserve, unlearn, unlearn_linear, walk, withdrawal

SCORES = torch.tensor([1.0, -1.0, 0.0])


def path() -> Tensor:
    """u0 - i0 - u1 - i1 with degrees 1, 2, 2, 1; nodes u0, u1, i0, i1, and an isolated u2 in front of the items."""
    edges = [(0, 3), (1, 3), (1, 4)]
    adjacency = torch.zeros(5, 5, dtype=torch.float64)
    for user, item in edges:
        adjacency[user, item] = adjacency[item, user] = 1.0
    degree = adjacency.sum(1).clamp(min=1)
    return adjacency / (degree[:, None] * degree[None]).sqrt()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_scores_of_removed_edges():
    assert unlearn(SCORES).mean().item() == pytest.approx(0.7732235, abs=1e-7)
    assert unlearn_linear(SCORES).mean().item() == 0
    extreme = torch.tensor([-1e4, 1e4])
    assert unlearn(extreme).tolist() == [0.0, 1e4]  # -log(sigmoid(-score) + 1e-10), as it is printed, would stop at 23


@pytest.mark.parametrize(("steps", "reached"), [(1, {3}), (2, {0, 1}), (3, {3, 4})])
def test_only_walks_of_exactly_that_many_removed_edges_arrive(steps: int, reached: set[int]):
    """What node u0 holds is withdrawn at i0 after one edge, at u0 and u1 after two, at i0 and i1 after three."""
    adjacency, final, weight = path(), drawn(5, 4), torch.full((5, 1), 0.1, dtype=torch.float64)
    other = final.clone()
    other[0] += 1.0
    one, two = (withdrawal(lambda x: adjacency @ x, start, weight, steps) for start in (final, other))
    moved = (one - two).abs().sum(1) > 1e-12
    assert set(moved.nonzero().squeeze(1).tolist()) == reached
    assert not one[2].any()  # nothing ever arrives at a node without an edge


def test_a_walk_is_the_power_of_the_graph():
    adjacency, start = path(), drawn(5, 4)
    states = walk(lambda x: adjacency @ x, start, 3)
    assert len(states) == 4
    for power, state in enumerate(states):
        torch.testing.assert_close(state, torch.linalg.matrix_power(adjacency, power) @ start)


@pytest.mark.parametrize("share", ["exp", "softplus"])
def test_preservation_rests_where_nothing_has_changed(share: str):
    users, items = drawn(6, 4).requires_grad_(), drawn(6, 4, seed=1)
    old = log_share(users.detach(), items, 10.0, share)  # pyright: ignore[reportArgumentType]
    value = preserve(log_share(users, items, 10.0, share), old).sum()  # pyright: ignore[reportArgumentType]
    (slope,) = torch.autograd.grad(value, users)
    assert value.item() == 0
    assert not slope.any()
    moved = preserve(log_share(users + 0.1, items, 10.0, share), old)  # pyright: ignore[reportArgumentType]
    assert moved.shape == (6,)
    assert (moved > 0).all()


def test_preserved_shares_do_not_read_what_all_of_a_users_scores_have_in_common():
    """Softmax alone forgives a constant; every share is that of the user's own item among the batch."""
    users, items = drawn(5, 3), drawn(5, 3, seed=1)
    shift = (
        torch.cat([users, torch.ones(5, 1, dtype=torch.float64)], 1),
        torch.cat([items, torch.full((5, 1), 7.0, dtype=torch.float64)], 1),
    )
    same = log_share(users, items, 2.0)
    torch.testing.assert_close(log_share(*shift, 2.0), same)
    scores = users @ items.T / 2
    torch.testing.assert_close(same, (scores.exp() / scores.exp().sum(1, keepdim=True)).diagonal().log())
    assert not torch.allclose(log_share(*shift, 2.0, "softplus"), log_share(users, items, 2.0, "softplus"))


@pytest.mark.parametrize("share", ["exp", "softplus"])
def test_scores_that_overflow_an_exponential_have_shares(share: str):
    """Without log-sum-exp the released code gives NaN from a score of 89 on."""
    users = torch.tensor([[300.0], [-300.0], [0.0]], requires_grad=True)
    found = log_share(users, torch.tensor([[1.0], [2.0], [3.0]]), 1.0, share)  # pyright: ignore[reportArgumentType]
    assert torch.isfinite(found).all()
    assert torch.isfinite(torch.autograd.grad(found.sum(), users)[0]).all()
    naive = (users.detach() * torch.tensor([1.0, 2.0, 3.0])).exp()
    assert not torch.isfinite((naive.diagonal() / naive.sum(1)).log()).all()


def test_contrast_is_lowest_where_each_view_meets_its_own():
    anchors = 3 * torch.eye(4, dtype=torch.float64)
    own, turned = contrast(anchors, anchors), contrast(anchors, anchors.roll(1, 0))
    assert (own < turned).all()
    views = anchors.clone().requires_grad_()
    held = anchors.clone().requires_grad_()
    contrast(held, views).sum().backward()
    assert held.grad is None
    assert views.grad is not None
