"""The networks behind recommenders: sparse graphs, negatives, agreement of views, item content and its withdrawal."""

from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from lethe.descent.adapters import adapted
from lethe.descent.terms import own_loss
from lethe.errors import InputError
from lethe.losses.ranking import agreement, bpr
from lethe.models import load, nets
from lethe.models.graphs import SGL, Graph, LightGCN, SimGCL
from lethe.models.modal import MGCN, MMGCN, VBPR, nearest_items
from lethe.models.recommender import Recommender
from lethe.train import Recipe, Term, train

USERS, ITEMS = 6, 9
EDGES = torch.tensor(
    [[0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [0, 1, 2, 1, 3, 0, 4, 5, 6, 6, 2]]
)  # user 5, items 7 and 8: none
RECORDS = [{"id": f"u{user}i{item}", "user": user, "item": item} for user, item in EDGES.T.tolist()]
WIDTHS = {"image": 5, "text": 4}
KINDS: dict[str, type[LightGCN]] = {kind.__name__: kind for kind in (LightGCN, SGL, SimGCL, VBPR, MMGCN, MGCN)}
every_kind = pytest.mark.parametrize("kind", KINDS)
modal_kind = pytest.mark.parametrize("kind", ["VBPR", "MMGCN", "MGCN"])


def content(seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(ITEMS, width, generator=rng) for name, width in WIDTHS.items()}


def made(kind: str, seed: int = 0, **options: Any) -> Recommender:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reads = WIDTHS if KINDS[kind] in (VBPR, MMGCN, MGCN) else {}
        net: Any = KINDS[kind](USERS, ITEMS, dim=4, **reads, **options)
    net.set_edges(EDGES)
    if reads:
        net.set_content(content())
    return Recommender(net.eval())


def matrix(graph: Graph) -> Tensor:
    return graph.to_users(torch.eye(graph.items))


def steps(model: Recommender, count: int = 8, **options: Any) -> Recommender:
    train(model, [Term("data", model.encode(RECORDS), own_loss)], Recipe(lr=1e-2, steps=count, batch_size=6, **options))
    return model


def test_one_user_and_one_item_sum_to_twice_the_own_and_once_the_other():
    """LightGCN with two layers on one edge, whose weight is 1: u = a + b + a."""
    mean, total = LightGCN(1, 1, dim=3, layers=2), LightGCN(1, 1, dim=3, layers=2, combine="sum")
    for net, share in ((total, 1.0), (mean, 1 / 3)):
        net.set_edges(torch.tensor([[0], [0]]))
        a, b = net.user_table.weight, net.item_table.weight
        user, item = net.embed()
        torch.testing.assert_close(user, share * (2 * a + b))
        torch.testing.assert_close(item, share * (2 * b + a))


def test_weights_are_the_roots_of_the_degrees_and_who_has_no_edge_receives_zero():
    graph = Graph(USERS, ITEMS, EDGES)
    dense = torch.zeros(USERS, ITEMS)
    dense[EDGES[0], EDGES[1]] = 1
    wanted = dense / (dense.sum(1, keepdim=True).clamp(min=1) * dense.sum(0).clamp(min=1)).sqrt()
    torch.testing.assert_close(matrix(graph), wanted)
    torch.testing.assert_close(graph.to_items(torch.eye(USERS)), wanted.T)
    assert not matrix(graph)[5].any()
    assert not matrix(graph)[:, 7:].any()
    assert [one.tolist() for one in graph.degrees] == [dense.sum(1).tolist(), dense.sum(0).tolist()]
    twice = Graph(USERS, ITEMS, torch.cat([EDGES, EDGES.flip(1)[:, :4]], dim=1))
    assert torch.equal(matrix(twice), matrix(graph))  # a repeated interaction is one edge
    empty = Graph(USERS, ITEMS, EDGES[:, :0])
    assert not matrix(empty).any()
    assert not empty.holds(*EDGES).any()


def test_sparse_products_have_the_first_and_second_derivatives_of_dense_ones():
    graph = Graph(USERS, ITEMS, EDGES).double()
    dense = matrix(graph.float()).double()
    graph = Graph(USERS, ITEMS, EDGES).double()
    rows = torch.randn(ITEMS, 3, dtype=torch.float64, requires_grad=True)
    found = []
    for product in (graph.to_users(rows), dense @ rows):
        (slope,) = torch.autograd.grad(product.pow(3).sum(), rows, create_graph=True)
        (curve,) = torch.autograd.grad(slope.square().sum(), rows)
        found.append((product, slope, curve))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_thinned_graph_is_the_graph_of_the_edges_that_are_kept():
    graph = Graph(USERS, ITEMS, EDGES)
    kept = torch.arange(len(graph.keys)) % 3 > 0
    thin = graph.thinned(kept)
    other = Graph(USERS, ITEMS, graph.edges[:, kept])
    torch.testing.assert_close(matrix(thin), matrix(other))
    torch.testing.assert_close(thin.to_items(torch.eye(USERS)), other.to_items(torch.eye(USERS)))
    assert torch.equal(matrix(graph), matrix(Graph(USERS, ITEMS, EDGES)))  # the original stays as it was


@pytest.mark.parametrize("edge", [(USERS, 0), (0, ITEMS), (-1, 0)])
def test_edges_to_nobody_are_refused_also_in_a_stored_model(edge: tuple[int, int], tmp_path: Path):
    with pytest.raises(InputError, match="6 users x 9 items"):
        made("LightGCN").net.set_edges(torch.tensor([edge]).T)
    folder = made("LightGCN").save(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors["edges"][:, 0] = torch.tensor(edge)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match="6 users x 9 items"):
        load(folder)


def test_nothing_is_users_times_items():
    """A table of all pairs would be 10^12 entries."""
    many = 10**6
    net = LightGCN(many, many, dim=1, layers=2)
    pairs = [(0, 0), (0, many - 1), (many - 1, many - 1)]
    net.set_edges(torch.tensor(pairs).T)
    model = Recommender(net)
    records = [{"user": user, "item": item} for user, item in pairs]
    batch = model.collate(model.encode(records), range(3))
    assert torch.isfinite(model.loss(batch)).all()
    assert net.graph.holds(*torch.tensor([*pairs, (1, 1)]).T).tolist() == [True, True, True, False]
    model.without(records[1:2])
    assert net.edges.T.tolist() == [[0, 0], [many - 1, many - 1]]


def drawn(model: Recommender, user: int, item: int, count: int, seed: int = 0) -> Tensor:
    examples = [*model.encode([{"user": user, "item": item}])] * count
    return model.collate(examples, range(count), torch.Generator().manual_seed(seed)).inputs["negatives"]


def test_negatives_are_uniform_over_what_is_left():
    model = made("LightGCN")
    found = torch.bincount(drawn(model, 0, 3, 6000), minlength=ITEMS)  # user 0 has 0, 1, 2; the batch's own is 3
    assert not found[:4].any()
    assert (found[4:] / 1200 - 1).abs().max() < 5 / 1200**0.5  # five standard deviations, and more
    assert torch.equal(drawn(model, 0, 3, 50), drawn(model, 0, 3, 50))
    assert not torch.equal(drawn(model, 0, 3, 50), drawn(model, 0, 3, 50, seed=1))


def test_a_user_of_nearly_everything_gets_what_is_left_and_one_of_everything_gets_anything():
    items = 5000
    net = LightGCN(2, items, dim=1, layers=0)
    net.set_edges(torch.stack([torch.zeros(items - 2, dtype=torch.long), torch.arange(items - 2)]))
    model = Recommender(net)
    assert set(drawn(model, 0, 7, 100).tolist()) == {items - 2, items - 1}
    assert drawn(model, 0, items - 2, 3).tolist() == [items - 1] * 3
    net.set_edges(torch.stack([torch.zeros(items, dtype=torch.long), torch.arange(items)]))
    assert len(set(drawn(model, 0, 7, 100).tolist())) > 50


def test_agreement_by_hand():
    """Two orthogonal rows that agree with themselves: -log(e^(1/t) / (e^(1/t) + e^0)), whatever their lengths."""
    rows = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    wanted = -log(exp(1 / 0.2) / (exp(1 / 0.2) + 1))
    torch.testing.assert_close(agreement(rows, rows * 7, 0.2), torch.full((2,), wanted))
    crossed = agreement(rows, rows.flip(0), 0.2)
    torch.testing.assert_close(crossed, torch.full((2,), wanted + 5))


@every_kind
def test_saved_and_loaded_networks_are_the_same(kind: str, tmp_path: Path):
    options: dict[str, Any] = {} if kind in ("VBPR", "MMGCN", "MGCN") else {"combine": "sum"}
    model = steps(made(kind, **options))
    again = load(model.save(tmp_path / "m"))
    assert isinstance(again, Recommender)
    assert again.fingerprint() == model.fingerprint()
    assert type(again.net) is KINDS[kind]
    assert torch.equal(again.scores(torch.arange(USERS)), model.scores(torch.arange(USERS)))
    gone = model.copy()
    gone.without(RECORDS[:2])
    shorter = load(gone.save(tmp_path / "n"))
    assert torch.equal(shorter.net.edges, EDGES[:, 2:])  # pyright: ignore[reportAttributeAccessIssue]


@every_kind
def test_training_is_a_function_of_the_seed_and_lowers_the_loss(kind: str):
    models = [steps(made(kind), seed=seed) for seed in (1, 1, 2)]
    prints = [model.fingerprint() for model in models]
    assert prints[0] == prints[1] != prints[2]
    trained = steps(made(kind), 60)
    batch = trained.collate(trained.encode(RECORDS), range(len(RECORDS)))
    assert trained.loss(batch).mean() < 0.9 * made(kind).loss(batch).mean()
    assert torch.isfinite(trained.scores(torch.arange(USERS))).all()


@pytest.mark.parametrize("kind", ["SGL", "SimGCL", "MGCN"])
def test_views_that_agree_are_part_of_the_loss_in_training_alone(kind: str):
    model = made(kind)
    batch = model.collate(model.encode(RECORDS), range(len(RECORDS)))
    plain = bpr(*model.margins(batch))
    assert torch.equal(model.loss(batch), plain)
    model.module.train()
    users, items = zip(*model.net.views(int(batch.inputs["draw"][0])), strict=True)
    wanted = plain
    for (one, other), rows in ((users, batch.inputs["users"]), (items, batch.inputs["items"])):
        wanted = wanted + model.net.agreement_weight * agreement(one[rows], other[rows], model.net.temperature)
    torch.testing.assert_close(model.loss(batch), wanted)
    assert (wanted > plain).all()
    assert set(batch.take([3, 4]).inputs["draw"].tolist()) == {int(batch.inputs["draw"][0])}  # the noise of the whole


def test_views_of_sgl_are_thinned_graphs_and_of_simgcl_noise_in_each_rows_own_orthant():
    sgl = made("SGL").net
    one, other = sgl.views(3)
    assert not torch.equal(one[0], other[0])
    assert all(torch.equal(a, b) for a, b in zip(sgl.views(3)[0], one, strict=True))
    sgl.keep = 1.0
    for view in sgl.views(3):
        assert all(torch.equal(a, b) for a, b in zip(view, sgl.embed(), strict=True))
    net = made("SimGCL", layers=1).net
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(net.embed(), net.graph.steps(*net.tables(), 1)[1], strict=True))
        for view in net.views(3):
            for rows, clean in zip(view, net.embed(), strict=True):
                alive = clean.abs().sum(1) > 0
                torch.testing.assert_close((rows - clean)[alive].norm(dim=1), torch.full((int(alive.sum()),), 0.2))
                assert ((rows - clean) * clean >= 0).all()
                assert not rows[~alive].any()


def test_vbpr_is_the_sum_of_what_ids_and_content_say():
    model = made("VBPR")
    p, q = model.net.user_table.weight, model.net.item_table.weight
    told = content()
    shown = torch.stack([told[name] @ model.net.project[name].weight.T for name in WIDTHS]).sum(0)
    torch.testing.assert_close(model.scores(torch.arange(USERS)), p[:, :4] @ q.T + p[:, 4:] @ shown.T)


def test_mmgcn_written_out():
    net = made("MMGCN", layers=2).net
    seen = net.seen().float()
    both = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    both[:USERS, USERS:], both[USERS:, :USERS] = seen, seen.T
    mean = both / both.sum(1, keepdim=True).clamp(min=1)
    ids = torch.cat([net.user_table.weight, net.item_table.weight])
    total = torch.zeros_like(ids)
    for name in WIDTHS:
        x = torch.cat([net.preferences[name].weight, net.project[name](content()[name])])
        x = x / x.norm(dim=1, keepdim=True)
        for layer in range(2):
            w1, w2, w3 = (
                net.convolutions[f"{name}_{kind}"][layer].weight.T for kind in ("neighbours", "own", "joined")
            )
            met = F.leaky_relu(mean @ x @ w1)
            x = F.leaky_relu(met @ w3 + F.leaky_relu(x @ w2) + ids)
        total += x / len(WIDTHS)
    torch.testing.assert_close(torch.cat(net.embed()), total)


def neighbours(features: Tensor, held: Tensor, count: int) -> Tensor:
    """The item-item graph by plain loops over a dense matrix."""
    here = [i for i in range(len(features)) if held[i] and features[i].any()]
    graph = torch.zeros(len(features), len(features))
    for i in here:
        cosine = {j: float(F.cosine_similarity(features[i], features[j], dim=0)) for j in here}
        for j in sorted(here, key=lambda j: -cosine[j])[:count]:
            graph[i, j] = max(0.0, cosine[j])
    root = graph.sum(1).clamp(min=1e-12).sqrt()
    return torch.where(graph > 0, graph / root[:, None] / root, graph)


def test_items_nearest_in_content_without_those_that_are_gone():
    features = content()["image"]
    features[2] = 0
    held = torch.ones(ITEMS, dtype=torch.bool)
    held[4] = False
    graph = nearest_items(features, held, 3)(torch.eye(ITEMS))
    torch.testing.assert_close(graph, neighbours(features, held, 3))
    assert (graph > 0).sum() > 10
    for gone in (2, 4):
        assert not graph[gone].any()
        assert not graph[:, gone].any()
    assert not nearest_items(features, torch.zeros_like(held), 3)(torch.eye(ITEMS)).any()


def test_mgcn_written_out():
    net = made("MGCN", layers=2).net
    seen = net.seen().float()
    r = seen / (seen.sum(1, keepdim=True).clamp(min=1) * seen.sum(0).clamp(min=1)).sqrt()
    held = seen.sum(0) > 0
    users, items = net.user_table.weight, net.item_table.weight
    user, item = users + r @ items + r @ r.T @ users, items + r.T @ users + r.T @ r @ items
    own = torch.cat([user, item]) / 3
    rows, scores = [], []
    for name in WIDTHS:
        gate = torch.sigmoid(net.purify[name](net.project[name](content()[name])))
        shown = neighbours(content()[name], held, 10) @ (items * gate)
        rows.append(torch.cat([r @ shown, shown]))
        scores.append(net.query(rows[-1]))
    a, b = torch.cat(scores, dim=1).softmax(1).split(1, dim=1)
    common = a * rows[0] + b * rows[1]
    apart = sum(torch.sigmoid(net.prefer[name](own)) * (row - common) for name, row in zip(WIDTHS, rows, strict=True))
    wanted = own + (apart + common) / 3
    found = torch.cat(net.embed())
    present = torch.cat([torch.ones(USERS, dtype=torch.bool), held])
    torch.testing.assert_close(found[present], wanted[present])
    torch.testing.assert_close(found[~present], own[~present])  # an item in nobody's hands has its ID alone


def test_a_forgotten_item_leaves_the_item_item_graphs_with_its_last_edge():
    model = made("MGCN")
    before = model.net.neighbours["image"](torch.eye(ITEMS))
    assert before[5].any()
    model.without([{"user": 3, "item": 5}])  # nobody else has it
    after = model.net.neighbours["image"](torch.eye(ITEMS))
    assert not after[5].any()
    assert not after[:, 5].any()
    assert after[6].any()


@modal_kind
def test_a_modality_request_blanks_the_item_and_keeps_the_edge(kind: str):
    model = made(kind)
    blanked = model.copy()
    blanked.without([{"id": "x", "user": 0, "item": 1, "modality": "image"}])
    assert torch.equal(blanked.net.edges, EDGES)
    assert not blanked.net.content_image[1].any()
    assert torch.equal(blanked.net.content_image[2], content()["image"][2])
    assert torch.equal(blanked.net.content_text, content()["text"])
    assert torch.equal(model.net.content_image, content()["image"])  # the input stays as it was
    assert not torch.equal(blanked.scores(torch.arange(USERS))[:, 1], model.scores(torch.arange(USERS))[:, 1])


def test_what_is_blanked_adds_nothing():
    """Whatever its weights make of images, an item without one is the same."""
    for kind in ("VBPR", "MGCN"):
        items = []
        for seed in (0, 1):
            model = made(kind)
            model.net.blank("image", torch.arange(ITEMS))
            with torch.no_grad():
                for name, weight in model.net.named_parameters():
                    if "image" in name:
                        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)))
            items.append(model.net.embed()[1])
        assert torch.equal(*items)


def test_content_that_does_not_fit_is_refused():
    model = made("VBPR")
    with pytest.raises(InputError, match="did you mean 'image'"):
        model.without([{"user": 0, "item": 1, "modality": "imagE"}])
    with pytest.raises(InputError, match="reads none"):
        made("LightGCN").without([{"user": 0, "item": 1, "modality": "image"}])
    with pytest.raises(InputError, match="one row per item"):
        model.net.set_content({"text": torch.zeros(ITEMS - 1, 4)})
    with pytest.raises(InputError, match="no content called 'sound'"):
        model.net.set_content({"sound": torch.zeros(ITEMS, 4)})
    with pytest.raises(InputError, match="give image or text"):
        MGCN(USERS, ITEMS)


@every_kind
def test_adapters_on_the_tables_take_part(kind: str):
    model = made(kind)
    before = model.scores(torch.arange(USERS)).detach()
    finish = adapted(model, ["user_table", "item_table"], 2, 4.0, 0, "test").finish
    torch.testing.assert_close(model.scores(torch.arange(USERS)), before)
    with torch.no_grad():
        for name, weight in model.module.named_parameters():
            if "lora_embedding" in name:
                weight.fill_(0.3)
    during = model.scores(torch.arange(USERS)).detach()
    assert ((during - before).abs() > 1e-4).any(1).sum() >= USERS - 1  # user 5 has no edge to carry an item's
    finish()
    torch.testing.assert_close(model.scores(torch.arange(USERS)), during)


def test_embeddings_are_kept_while_evaluating_and_as_long_as_the_weights_stay(monkeypatch: pytest.MonkeyPatch):
    model = made("LightGCN")
    calls: list[int] = []
    embed = LightGCN.embed
    monkeypatch.setattr(LightGCN, "embed", lambda net: calls.append(1) or embed(net))
    users = torch.arange(USERS)
    with model.evaluating():
        first = model.scores(users)
        assert torch.equal(model.scores(users), first)
        assert len(calls) == 1
        model.net.user_table.weight.add_(1.0)
        moved = model.scores(users)
        assert not torch.equal(moved, first)
        model.without(RECORDS[:3])
        assert not torch.equal(model.scores(users), moved)
        assert len(calls) == 3
        with torch.enable_grad():
            assert model.scores(users).requires_grad
    model.scores(users)
    assert len(calls) == 5


def test_every_architecture_that_ranks_is_known_without_torch():
    from lethe import models

    assert {kind.__name__ for kind in nets.RECOMMENDERS} == set(models.RECOMMENDERS)
