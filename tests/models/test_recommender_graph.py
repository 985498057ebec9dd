"""What a recommender's graph carries: the propagation by hand, spillover, and what deleted edges leave behind."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from lethe.descent.terms import own_loss
from lethe.methods.reverse_bpr import reverse_bpr
from lethe.models.nets import LightGCN
from lethe.models.recommender import Recommender
from lethe.request import Record, Request
from lethe.train import Recipe, Term, train

SGD: dict[str, Any] = {"optimizer": "sgd", "momentum": 0.0, "clip": None}
Pairs = Sequence[tuple[int, int]]


def graph(pairs: Pairs, users: int, items: int, layers: int, dim: int = 4, seed: int = 0) -> Recommender:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = LightGCN(users, items, dim=dim, layers=layers)
    net.set_edges(torch.tensor(pairs).T)
    return Recommender(net.eval())


def records(pairs: Pairs) -> list[Record]:
    return [{"id": f"u{user}i{item}", "user": user, "item": item} for user, item in pairs]


def scores(model: Recommender) -> Tensor:
    with torch.no_grad():
        return model.scores(torch.arange(model.net.users))


def reverse(model: Recommender, request: Request, **options: Any) -> Recommender:
    unlearned = reverse_bpr(model, request, **options)
    assert isinstance(unlearned, Recommender)
    return unlearned


def tables(model: Recommender) -> tuple[Tensor, Tensor]:
    return model.net.user_table.weight.detach(), model.net.item_table.weight.detach()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_propagation_by_hand(layers: int):
    """Users a, b and items p, q, r; a has p and q, b has q; r has nobody. arXiv 2002.02126, eq. 3 and 4."""
    model = graph([(0, 0), (0, 1), (1, 1)], users=2, items=3, layers=layers, dim=1)
    with torch.no_grad():
        model.net.user_table.weight.copy_(torch.tensor([[1.0], [2.0]]))
        model.net.item_table.weight.copy_(torch.tensor([[3.0], [4.0], [5.0]]))
    ap, aq, bq = 1 / sqrt(2 * 1), 1 / sqrt(2 * 2), 1 / sqrt(1 * 2)  # 1 / sqrt(degree of the user x that of the item)
    steps_users = [[1.0, 2.0], [3 * ap + 4 * aq, 4 * bq]]
    steps_items = [[3.0, 4.0, 5.0], [1 * ap, 1 * aq + 2 * bq, 0]]
    (a, b), (p, q, _) = steps_users[1], steps_items[1]
    steps_users.append([p * ap + q * aq, q * bq])
    steps_items.append([a * ap, a * aq + b * bq, 0])
    users, items = model.net.embed()
    torch.testing.assert_close(users.squeeze(1), torch.tensor(steps_users[: layers + 1]).mean(0))
    torch.testing.assert_close(items.squeeze(1), torch.tensor(steps_items[: layers + 1]).mean(0))


# Users 0 and 1 share item 0; user 2 is reached from them only through item 2; user 3 lives in a component of its own.
CHAIN: Pairs = [(0, 0), (1, 0), (0, 1), (1, 2), (2, 2), (2, 3), (3, 4), (3, 5)]


@pytest.mark.parametrize("layers", [1, 2])
def test_deleting_an_edge_spills_over_to_who_shares_the_item(layers: int):
    model = graph(CHAIN, users=4, items=6, layers=layers)
    without = model.copy()
    without.without(records([(0, 0)]))
    assert all(torch.equal(one, other) for one, other in zip(tables(model), tables(without), strict=True))
    moved = (scores(model) - scores(without)).abs() > 1e-6
    assert moved[1].all()  # user 1 lost nothing, yet every score of theirs is another
    assert not moved[3, 4:].any()  # exactly nothing arrives in another component
    assert not moved[2, 3] or layers > 1  # user 2 and item 3 lie more than one hop from the edge
    assert moved[2, 2] == (layers > 1)


def test_without_layers_a_graph_carries_nothing():
    model = graph(CHAIN, users=4, items=6, layers=0)
    before = scores(model)
    model.without(records([(0, 0)]))
    assert torch.equal(scores(model), before)


def trained() -> tuple[Recommender, Request]:
    """Two blocks of buyers; user 0's purchases in the other block are to be forgotten."""
    pairs = [(user, item) for user in range(8) for item in range(10) if user % 2 == item % 2 and (user + item) % 3]
    away = [(0, 1), (0, 3), (0, 5)]
    model = graph([*pairs, *away], users=8, items=10, layers=2, dim=8)
    train(model, [Term("data", model.encode(records([*pairs, *away])), own_loss)], Recipe(lr=2e-2, steps=80))
    return model, Request(records(away), records(pairs))


def test_edges_that_are_left_in_go_on_carrying_what_is_forgotten():
    """With lr = 0 no weight moves: what changes is what the graph carries."""
    model, request = trained()
    still: dict[str, Any] = {"lr": 0.0, "steps": 1}
    left = reverse(model, request, rebuild_graph=False, **still)
    rebuilt = reverse(model, request, rebuild_graph=True, **still)
    for other in (left, rebuilt):
        assert all(torch.equal(one, two) for one, two in zip(tables(model), tables(other), strict=True))
    assert torch.equal(scores(left), scores(model))  # the leak: nothing was forgotten at all
    forgotten = [record["item"] for record in request.forget]
    assert (scores(rebuilt)[0, forgotten] < 0.7 * scores(model)[0, forgotten]).all()
    assert not rebuilt.net.seen()[0, forgotten].any()
    assert left.net.seen()[0, forgotten].all()
    assert torch.equal(model.net.edges, left.net.edges)  # the input stays as it was


def test_unlearning_goes_further_with_a_graph_that_is_rebuilt():
    model, request = trained()
    recipe: dict[str, Any] = {"lr": 1e-2, "steps": 10, "batch_size": 8}
    forgotten = [record["item"] for record in request.forget]
    left, rebuilt = (
        scores(reverse(model, request, rebuild_graph=rebuild, **recipe))[0, forgotten].mean()
        for rebuild in (False, True)
    )
    assert rebuilt < left < scores(model)[0, forgotten].mean()


# Users 0 and 1 have items 0 to 7, so their negatives are items 8 and 9, and what they are to forget.
FULL: Pairs = [(user, item) for user in (0, 1) for item in range(8)] + [(2, 8), (2, 4), (3, 9), (3, 5)]
FORGET: Pairs = [(0, 0), (1, 1)]
KEPT = records([pair for pair in FULL if pair not in FORGET])


@pytest.mark.parametrize("optimizer", [SGD, {"optimizer": "adamw"}], ids=["sgd", "adamw"])
def test_reverse_alone_leaves_rows_that_no_forget_batch_touched(optimizer: dict[str, Any]):
    model = graph(FULL, users=4, items=10, layers=0)
    request = Request(records(FORGET), KEPT)
    unlearned = reverse(model, request, alpha=1.0, lr=1e-2, steps=6, **optimizer)
    same = [(one == two).all(1) for one, two in zip(tables(model), tables(unlearned), strict=True)]
    assert same[0].tolist() == [False, False, True, True]
    assert same[1][2:8].all()
    assert not same[1][:2].any()
    assert not same[1][8:].all()
    # A graph carries the step to everybody in reach.
    model = graph(FULL, users=4, items=10, layers=2)
    unlearned = reverse(model, request, alpha=1.0, lr=1e-2, steps=6, **optimizer)
    assert not any((one == two).all(1).any() for one, two in zip(tables(model), tables(unlearned), strict=True))


def test_without_the_reverse_term_it_is_plain_training_on_what_stays():
    """alpha = 0: the same bits whatever is to be forgotten, and the bits of the retain term with a silent companion."""
    model = graph(FULL, users=4, items=10, layers=2)
    recipe: dict[str, Any] = {"lr": 1e-2, "steps": 6, "batch_size": 4}
    found = []
    for forget in (FORGET, [(2, 8), (3, 5)]):
        request = Request(records(forget), KEPT, allow_overlap=True)
        found.append(reverse(model, request, alpha=0.0, rebuild_graph=False, **recipe))
    plain = model.copy()
    companion = Term("companion", plain.encode(records(FORGET)), own_loss, weight=0.0)
    train(plain, [companion, Term("retain", plain.encode(KEPT), own_loss)], Recipe(**recipe))
    assert found[0].fingerprint() == found[1].fingerprint() == plain.fingerprint()
    assert plain.fingerprint() != model.fingerprint()


def test_the_margin_of_a_single_triple_falls_at_every_step_and_its_loss_stays_positive():
    pairs = [(0, item) for item in range(5)] + [(1, 5)]  # once item 0 is forgotten, item 5 is no other's but user 1's
    model = graph(pairs, users=2, items=6, layers=0)
    margins: list[float] = []

    def look(current: Recommender) -> float:
        own = scores(current)[0]
        margins.append(float(own[0] - own[5]))
        return margins[-1]

    look(model)
    request = Request(records(pairs[:1]), records(pairs[1:]))
    # The edge stays in (without layers it carries nothing), so that item 5 is the only negative there is.
    unlearned = reverse(
        model, request, alpha=1.0, rebuild_graph=False, lr=0.2, steps=60, evaluate=look, evaluate_every=1, **SGD
    )  # fmt: skip
    assert len(margins) == 61
    assert all(later < earlier for earlier, later in pairwise(margins))
    assert margins[-1] < -2
    loss = torch.nn.functional.softplus(torch.tensor(margins))
    assert (loss > 0).all()
    assert loss[-1] < 0.15
    assert torch.equal(tables(unlearned)[0][1], tables(model)[0][1])
