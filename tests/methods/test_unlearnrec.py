"""UnlearnRec (arXiv 2505.22649): closed forms of its encoder, where it is made and chosen, what it leaves behind."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.attacks.tiny import recommender
from tests.models.test_recommender_graph import graph, records, scores
from torch import Tensor

from lethe.descent.influence_encoder import Losses, Pretraining, encoder_for, pretrain
from lethe.errors import InputError
from lethe.methods.unlearnrec import unlearnrec
from lethe.models.graphs import Graph
from lethe.models.influence_encoder import Influenced, InfluenceEncoder, finals, tables
from lethe.models.nets import ARCHITECTURES
from lethe.models.recommender import Recommender
from lethe.request import Request

PAIRS = [(0, 0), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (0, 1), (2, 1)]
QUICK: dict[str, Any] = {"pretrain": 4, "every": 2, "batch": 128, "tau": 1.0}


def edges(pairs: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T


def adjacency(pairs: list[tuple[int, int]], users: int, items: int) -> Tensor:
    """The normalised graph as a dense matrix, users first."""
    whole = torch.zeros(users + items, users + items)
    for user, item in pairs:
        whole[user, users + item] = whole[users + item, user] = 1.0
    degree = whole.sum(1).clamp(min=1)
    return whole / (degree[:, None] * degree[None]).sqrt()


def change(pairs: list[tuple[int, int]], encoder: InfluenceEncoder, final: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder(Graph(4, 4, edges(pairs)), final)


def fresh(layers: int = 3, eta: float = 0.1) -> tuple[InfluenceEncoder, Tensor]:
    torch.manual_seed(0)
    return InfluenceEncoder(8, 6, layers=layers, eta=eta), torch.randn(8, 6)


def test_an_empty_request_changes_nothing():
    encoder, final = fresh()
    assert not change([], encoder, final).any()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_before_training_it_withdraws_what_walks_of_removed_edges_carry(layers: int):
    """dE = -eta A^L (E * w), but for the leaky units, each of which takes a hundredth off what is below 0."""
    encoder, final = fresh(layers, eta=0.5)
    with torch.no_grad():
        encoder.weight.copy_(torch.rand(8, 1))
    removed = PAIRS[:4]
    carried = torch.linalg.matrix_power(adjacency(removed, 4, 4), layers) @ (final * encoder.weight.detach())
    expected = torch.nn.functional.leaky_relu(-0.5 * carried, 0.99**2)
    torch.testing.assert_close(change(removed, encoder, final), expected)


def test_a_node_without_a_removed_edge_stays_to_the_bit():
    encoder, final = fresh(layers=2)
    with torch.no_grad():
        for weight in encoder.mlp.parameters():
            weight.copy_(torch.randn_like(weight) if weight.dim() > 1 else torch.zeros_like(weight))
    removed = [(0, 0), (1, 0)]
    moved = change(removed, encoder, final).any(1)
    assert moved.tolist() == [True, True, False, False, True, False, False, False]


@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("layers", [0, 2])
def test_a_recommender_stands_on_tables_that_the_encoder_moved(layers: int, combine: str):
    """Score by score what the plain network gives with the same tables, and its own tables stay."""
    model = graph(PAIRS, users=4, items=4, layers=layers, dim=6)
    model.net.combine = combine
    encoder = InfluenceEncoder(8, 6)
    with torch.no_grad():
        encoder.state.normal_()
    before = tables(model.net)
    learner = Recommender(Influenced(model.copy(), encoder))
    learner.net.withdraw(edges(PAIRS[:2]), edges(PAIRS[2:]))
    plain = model.copy()
    plain.without(records(PAIRS[:2]))
    with torch.no_grad():
        users, items = (before + change(PAIRS[:2], encoder, finals(model))).split([4, 4])
        plain.net.user_table.weight.copy_(users)
        plain.net.item_table.weight.copy_(items)
    torch.testing.assert_close(scores(learner), scores(plain))
    assert torch.equal(tables(learner.net.net), before)


def test_one_user_and_one_item_summed_over_two_layers():
    """Weight 1 between them: u = a + b + a."""
    model = graph([(0, 0)], users=1, items=1, layers=2, dim=3)
    model.net.combine = "sum"
    (a, b), (user, item) = tables(model.net), finals(model)
    torch.testing.assert_close(user, 2 * a + b)
    torch.testing.assert_close(item, 2 * b + a)


@cache
def world() -> tuple[Recommender, Request]:
    known = recommender()
    assert isinstance(known.target, Recommender)
    return known.target, known.request


@cache
def made(finetune: int) -> Recommender:
    found = unlearnrec(*world(), finetune=finetune, **QUICK)
    assert isinstance(found, Recommender)
    return found


def forgotten(model: Recommender) -> Tensor:
    pairs = [(record["user"], record["item"]) for record in world()[1].forget]
    return scores(model)[tuple(zip(*pairs, strict=True))]


@pytest.mark.parametrize("finetune", [0, 2])
def test_what_is_left_is_the_plain_recommender_on_the_graph_that_is_left(finetune: int):
    target, request = world()
    result = made(finetune)
    assert type(result.module) is type(target.module)
    assert len(result.net.graph.keys) == len(target.net.graph.keys) - len(request.forget)
    assert not result.net.graph.holds(*edges([(r["user"], r["item"]) for r in request.forget])).any()
    assert (forgotten(result) < forgotten(target)).float().mean() > 0.9


def test_the_encoder_lowers_removed_edges_further_than_their_deletion_does():
    target, request = world()
    deleted = target.copy()
    deleted.without(request.forget)
    assert forgotten(made(0)).mean() < forgotten(deleted).mean() < forgotten(target).mean()
    assert forgotten(made(2)).mean() < forgotten(made(0)).mean()


def test_an_encoder_is_made_once_and_serves_another_request(tmp_path: Path):
    target, request = world()
    folder = tmp_path / "encoder"
    first = unlearnrec(target, request, encoder=str(folder), finetune=0, folder=tmp_path / "run", **QUICK)
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    told = json.loads((tmp_path / "run" / "encoder.json").read_text())
    assert told["encoder"]["seconds"] > 0
    assert told["encoder"]["rounds"] == 2
    assert 0 < told["request_seconds"] < told["encoder"]["seconds"]
    assert unlearnrec(target, request, encoder=str(folder), finetune=0).fingerprint() == first.fingerprint()
    other = Request(request.retain[:5], request.retain[5:], allow_overlap=True)
    second = unlearnrec(target, other, encoder=str(folder), finetune=0)
    assert second.fingerprint() != first.fingerprint()
    assert isinstance(first, Recommender)
    after = unlearnrec(first, other, encoder=str(folder), finetune=0)  # a request after a request
    assert isinstance(after, Recommender)
    assert len(after.net.graph.keys) == len(first.net.graph.keys) - 5
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_neither_training_nor_choice_sees_the_request(monkeypatch: pytest.MonkeyPatch):
    """The encoder is a function of the recommender alone, and no round trains on the request that chooses."""
    target, request = world()
    served: list[set[tuple[int, int]]] = []
    withdraw = Influenced.withdraw

    def watched(self: Influenced, removed: Tensor, remaining: Tensor) -> None:
        served.append({(user, item) for user, item in removed.T.tolist()})
        withdraw(self, removed, remaining)

    monkeypatch.setattr(Influenced, "withdraw", watched)
    encoder, told = pretrain(target, Pretraining(epochs=4, every=1, batch_size=256))
    held, drawn = served[1::2], served[0::2]
    assert len(held) == len(drawn) == told.rounds == 4
    assert all(one == held[0] for one in held)
    assert not any(held[0] & one for one in drawn)
    assert len({frozenset(one) for one in drawn}) == 4
    assert told.gap > told.gap_before
    assert told.order >= 0.95 * told.order_before
    again, _ = pretrain(target, Pretraining(epochs=4, every=1, batch_size=256))
    assert all(torch.equal(one, two) for one, two in zip(encoder.parameters(), again.parameters(), strict=True))
    assert request  # which none of this was given


def test_every_term_moves_the_encoder():
    target, _ = world()

    def trained(**change: Any) -> Tensor:
        how = Pretraining(epochs=2, every=2, batch_size=512, floor=0.0, losses=Losses(**change))
        return torch.cat([weight.flatten() for weight in pretrain(target, how)[0].parameters()])

    usual = trained()  # by two steps: on the first the contrast has no slope, H being 0
    silent: list[dict[str, Any]] = [{"unlearn": 0.0}, {"preserve": 0.0}, {"contrast": 0.0}]
    for change in (*silent, {"form": "linear"}, {"share": "softplus"}):
        assert not torch.equal(trained(**change), usual), change


@pytest.mark.parametrize("name", ["SGL", "SimGCL", "MGCN"])
def test_it_serves_whatever_has_id_tables_of_one_width(name: str):
    """Also with views that must agree, which are part of the recommender's own loss."""
    content = {"image": 5} if name == "MGCN" else {}
    torch.manual_seed(0)
    net: Any = ARCHITECTURES[name](users=4, items=4, dim=6, **content)
    net.set_edges(edges(PAIRS))
    if content:
        net.set_content({"image": torch.randn(4, 5)})
    model = Recommender(net.eval())
    before, request = scores(model), Request(records(PAIRS[:2]), records(PAIRS[2:]))
    made = unlearnrec(model, request, finetune=1, floor=0.0, **QUICK)
    assert isinstance(made, Recommender)
    assert type(made.module) is type(net)
    assert not made.net.graph.holds(*edges(PAIRS[:2])).any()
    assert torch.isfinite(scores(made)).all()
    assert not torch.equal(scores(made), before)
    assert torch.equal(scores(model), before)


def test_tables_of_two_widths_are_refused():
    net = ARCHITECTURES["VBPR"](users=4, items=4, dim=6, image=5)
    with pytest.raises(InputError, match="ID tables of one width for users and items; VBPR has none"):
        unlearnrec(Recommender(net), Request(records(PAIRS[:2]), records(PAIRS[2:])), **QUICK)


def test_everything_of_a_user_and_of_an_item_and_of_a_component_may_go():
    """Nobody's last edge leaves a number that is none."""
    target, request = world()
    everything = [*request.forget, *request.retain]
    for gone in (
        [record for record in everything if record["user"] == 0],
        [record for record in everything if record["item"] == everything[0]["item"]],
        [record for record in everything if record["user"] % 4 == 1],
    ):
        kept = [record for record in everything if record not in gone]
        result = unlearnrec(target, Request(gone, kept), finetune=1, **QUICK)
        assert isinstance(result, Recommender)
        assert torch.isfinite(scores(result)).all()


def test_bad_input_is_named(tmp_path: Path):
    target, request = world()
    with pytest.raises(InputError, match="none of the forget records is an interaction"):
        unlearnrec(target, Request(records([(0, 59)]), request.retain), finetune=0, **QUICK)
    with pytest.raises(InputError, match="for an item's content use retrain, finetune or mmrecun"):
        unlearnrec(target, Request([{**request.forget[0], "id": "m", "modality": "image"}], request.retain))
    with pytest.raises(InputError, match=r"drop=0\.7 must lie above 0 and below 0\.5"):
        unlearnrec(target, request, drop=0.7)
    encoder_for(target, Pretraining(epochs=1, every=1), str(tmp_path / "encoder"))
    other = graph(PAIRS, users=4, items=4, layers=1, dim=6)
    with pytest.raises(InputError, match="an encoder serves the recommender that it was made for"):
        unlearnrec(other, Request(records(PAIRS[:1]), records(PAIRS[1:])), encoder=str(tmp_path / "encoder"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no loadable influence encoder"):
        unlearnrec(target, request, encoder=str(tmp_path / "empty"))
