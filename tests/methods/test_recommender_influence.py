"""Influence steps on recommenders: where they lead, against retraining to the minimum."""

from functools import cache
from typing import Any

import pytest
import torch
from tests.attacks.tiny import recommender as world
from tests.models.tiny import interactions

from lethe.descent.interactions import Pairs, margins, paired, ranking_gradient, tables
from lethe.errors import InputError
from lethe.methods.gif import gif
from lethe.methods.ifru import ifru
from lethe.methods.scif import neighbours_aims, scif
from lethe.models.base import Model
from lethe.models.graphs import LightGCN
from lethe.models.recommender import Recommender
from lethe.request import Request

WEIGHT = 0.5  # of ||theta||^2 / 2 beside the summed loss


def request() -> Request:
    records = interactions()
    return Request(records[:3], records[3:], seed=5, allow_overlap=True)


def minimised(model: Recommender, pairs: Pairs) -> Recommender:
    """The minimum of the regularised loss that is nearest to where the model stands."""
    weights = tables(model)
    optimizer = torch.optim.LBFGS(weights.tensors, max_iter=400, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        squares = torch.stack([tensor.square().sum() for tensor in weights.tensors]).sum()
        loss = -pairs.share * torch.nn.functional.logsigmoid(margins(model, pairs)).sum() + WEIGHT / 2 * squares
        loss.backward()
        return loss

    optimizer.step(closure)
    model.module.zero_grad()
    return model


@cache
def pair() -> tuple[Recommender, Recommender]:
    """A model at the minimum of all interactions, and of those that stay, on their graph: float64."""
    torch.manual_seed(0)
    net: Any = LightGCN(8, 12, dim=6, layers=2)
    net.double().set_edges(torch.tensor([[r["user"], r["item"]] for r in interactions()]).T)
    start, asked = Recommender(net.eval()), request()
    forget, retain = (paired(start, part, 4, asked.seed) for part in (asked.forget, asked.retain))
    target = minimised(start, forget.joined(retain))
    retrained = target.copy()
    retrained.without(asked.forget)
    return target, minimised(retrained, retain)


def scores(model: Model) -> torch.Tensor:
    """Of all pairs: tables may turn without a change."""
    with model.evaluating():
        return model.scores(torch.arange(8))  # pyright: ignore[reportAttributeAccessIssue]


def test_gif_ends_nearer_to_retraining_than_plain_influence_and_moves_scores_the_same_way():
    target, retrained = pair()
    options = {"damping": WEIGHT, "iterations": 200}
    with_structure, plain = (gif(target, request(), structural=one, **options) for one in (True, False))
    goal, still = scores(retrained), target.copy()
    still.without(request().forget)
    missed = [float((scores(one) - goal).norm()) for one in (with_structure, plain, still)]
    assert missed[0] < 0.7 * min(missed[1:])
    users = [record["user"] for record in request().forget]
    changes = [(one - scores(still))[users].flatten() for one in (goal, scores(with_structure))]
    large = changes[0].abs() > changes[0].abs().median()
    assert (changes[0].sign() == changes[1].sign())[large].double().mean() > 0.8


def test_the_papers_series_ends_where_conjugate_gradient_does():
    target, _ = pair()
    solved = gif(target, request(), damping=WEIGHT, iterations=200)
    series = gif(target, request(), solver="series", scale=8.0, damping=WEIGHT / 8, iterations=150)
    assert torch.allclose(scores(series), scores(solved), atol=1e-3)
    with pytest.raises(InputError, match="diverges at scale"):
        gif(target, request(), solver="series", scale=0.05, damping=0.0, iterations=300)


def test_ifru_moves_what_the_forgotten_interactions_matter_to():
    """On a chain of components only the one concerned moves; all of it is GIF's step."""
    target, _ = pair()
    options = {"damping": WEIGHT, "iterations": 200}
    whole = ifru(target, request(), hops=9, **options)
    assert torch.allclose(scores(whole), scores(gif(target, request(), **options)), atol=1e-8)
    moved = {}
    for hops, keep in ((0, 1.0), (1, 1.0), (1, 0.3)):
        made = ifru(target, request(), hops=hops, keep=keep, **options)
        parts = zip(tables(target).tensors, tables(made).tensors, strict=True)
        moved[hops, keep] = [set((a != b).any(1).nonzero().flatten().tolist()) for a, b in parts]
    asked = request().forget
    assert moved[0, 1.0] == [{r["user"] for r in asked}, {r["item"] for r in asked}]
    sizes = {key: sum(map(len, rows)) for key, rows in moved.items()}
    assert sizes[0, 1.0] < sizes[1, 1.0] and sizes[1, 0.3] < sizes[1, 1.0]


def test_each_step_over_the_graph_and_what_edges_carried_bring_ifru_nearer_to_retraining():
    target, retrained = pair()
    options = {"damping": WEIGHT, "iterations": 200}

    def missed(hops: int, spillover: bool = True) -> float:
        made = ifru(target, request(), hops=hops, spillover=spillover, **options)
        return float((scores(made) - scores(retrained)).norm())

    errors = [missed(hops) for hops in (0, 1, 2)]
    assert errors[0] > 1.1 * errors[1] > 1.2 * errors[2]
    assert all(missed(hops, False) > 1.1 * error for hops, error in enumerate(errors))


def test_scif_moves_the_users_concerned_alone_and_takes_the_whole_gradient_off():
    target, _ = pair()
    made = scif(target, request(), damping=WEIGHT)
    users, items = (
        (a != b).any(1).nonzero().flatten().tolist()
        for a, b in zip(tables(target).tensors, tables(made).tensors, strict=True)
    )
    assert set(users) == {record["user"] for record in request().forget} and not items
    # One long step on a loss that is quadratic nearby ends where its gradient, with the average labels, is small.
    moved = target.copy()
    moved.without(request().forget)
    forget, retain = (paired(target, part, 4, 5) for part in (request().forget, request().retain))
    rows = torch.zeros(8, 6, dtype=torch.bool)
    rows[users] = True

    def slope(one: Recommender) -> float:
        whole = ranking_gradient(one, forget, neighbours_aims(moved, forget)) + ranking_gradient(one, retain)
        whole = whole + 0.01 * tables(one).flat(tables(one).tensors)
        return float(whole[: rows.numel()][rows.flatten()].norm())

    near = scif(target, request(), damping=0.01, alpha=0.3)
    assert slope(near) < 0.85 * slope(moved)
    assert slope(scif(target, request(), damping=0.01, alpha=-0.3)) > slope(moved)


def test_the_neighbours_label_by_hand():
    """u0 has i0; u1 has i0 and i1, u2 has i0 and i2, u3 has i2 and i3 and nothing in common with u0."""
    net: Any = LightGCN(4, 5, dim=2, layers=1)
    net.set_edges(torch.tensor([[0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 0, 2, 2, 3]]))
    pairs = Pairs(torch.zeros(4, dtype=torch.long), torch.tensor([1, 1, 3, 3]), torch.tensor([2, 3, 1, 4]), 1.0)
    assert neighbours_aims(Recommender(net), pairs).tolist() == [0.5, 1.0, 0.0, 0.5]


@pytest.mark.parametrize("method", [gif, ifru, scif])
def test_each_forgets_and_a_user_of_nothing_else_is_defined(method: Any):
    tiny = world()
    before, after = tiny.known(tiny.target), tiny.known(method(tiny.target, tiny.request, damping=0.15))
    control = sum(tiny.known(one) for one in tiny.controls) / 2
    assert abs(after - control) < 0.6 * abs(before - control)
    everything = [r for r in (*tiny.request.forget, *tiny.request.retain) if r["user"] == 0]
    left = [r for r in (*tiny.request.forget, *tiny.request.retain) if r["user"] != 0]
    made = method(tiny.target, Request(everything, left, allow_overlap=True))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in made.module.parameters())


@pytest.mark.parametrize("method", [gif, ifru, scif])
def test_bad_numbers_are_refused(method: Any):
    for options in ({"damping": 0.0}, {"negatives": 0}, {"iterations": 0}):
        with pytest.raises(InputError, match="damping"):
            method(pair()[0], request(), **options)
