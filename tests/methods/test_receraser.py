"""RecEraser: a deletion moves its shard and the aggregation, nothing else; what is alike stays together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.attacks.tiny import recommender
from tests.methods.test_sisa import constituents, runs_of_training, same
from tests.models import tiny

from lethe.errors import InputError
from lethe.methods.receraser import receraser
from lethe.models import load
from lethe.models.base import Model
from lethe.models.nets import LightGCN
from lethe.models.recommender import Recommender
from lethe.models.sharded import Attention, ShardedRecommender
from lethe.request import Record, Request

QUICK: dict[str, Any] = {"lr": 1e-2, "epochs": 2, "batch_size": 16, "attention_epochs": 1, "attention_lr": 1e-2}
RECORDS = tiny.interactions()


def request(forget: int = 1) -> Request:
    return Request(RECORDS[:forget], RECORDS[forget:], seed=5, allow_overlap=True)


def pairs(records: Any) -> set[tuple[int, int]]:
    return {(record["user"], record["item"]) for record in records}


def own(model: Model) -> list[set[tuple[int, int]]]:
    return [{(user, item) for user, item in part.edges.T.tolist()} for part in constituents(model)]


@pytest.mark.parametrize("partition", ["balanced", "ot", "random"])
@pytest.mark.parametrize("by", ["interaction", "user", "item"])
def test_every_interaction_has_one_shard_and_shards_are_bounded(partition: Any, by: Any):
    made = receraser(tiny.recommender(), request(), **QUICK, by=by, partition=partition, combine="mean")
    shards = own(made)
    assert sum(map(len, shards)) == len(RECORDS) - 1
    assert set.union(*shards) == pairs(RECORDS[1:])
    ends = {"user": 0, "item": 1}
    elements = [{pair[ends[by]] for pair in shard} if by in ends else shard for shard in shards]
    assert sum(map(len, elements)) == len(set.union(*elements))  # a user's or an item's interactions stay together
    count = len(set.union(*elements)) + (by == "interaction")
    bound = {"balanced": max(1.2 * count / 3, -(-count // 3)), "ot": -(-count // 3), "random": count}[partition]
    assert max(map(len, elements)) <= bound


def test_only_the_shard_of_the_record_and_the_aggregation_change(tmp_path: Path):
    model, first = tiny.recommender(), request()
    before = receraser(model, first, **QUICK, store=tmp_path)
    second = replace(request(2), forget=RECORDS[1:2])
    after, runs = runs_of_training(lambda: receraser(model, second, **QUICK, store=tmp_path))
    gone = (RECORDS[1]["user"], RECORDS[1]["item"])
    kept = [same(*both) for both in zip(constituents(before), constituents(after), strict=True)]
    assert kept == [gone not in shard for shard in own(before)]
    assert runs == 2  # the shard and the attention
    assert not same(before.module.user_attention, after.module.user_attention)
    # Served by the ensemble itself, which knows its partition, it is the same to the bit.
    again = receraser(Recommender(load(before.save(tmp_path / "model")).module), second, **QUICK)
    assert again.fingerprint() == after.fingerprint()
    with pytest.raises(InputError, match="holds an ensemble with by=interaction, and by=user"):
        receraser(model, second, **QUICK, by="user", store=tmp_path)
    with pytest.raises(InputError, match="is not in the ensemble"):
        receraser(model, second, **QUICK, store=tmp_path)
    with pytest.raises(InputError, match=f"record '{RECORDS[0]['id']}' is not in the ensemble: no shard"):
        receraser(before, request(), **QUICK)


def test_users_who_buy_alike_share_a_shard():
    """The world's users buy from four blocks of items; shards of users are to follow the blocks."""
    world = recommender()
    made = receraser(
        Recommender(world.target.module), world.request, lr=2e-2, epochs=1, pretrain_epochs=10, batch_size=64,
        by="user", shards=2, combine="mean",
    )  # fmt: skip
    shards = [{user % 4 for user, _ in shard} for shard in own(made)]
    assert shards[0].isdisjoint(shards[1])


def test_attention_begins_as_the_mean_and_is_the_published_sum():
    torch.manual_seed(0)
    parts, voting = torch.randn(3, 5, 4), torch.tensor([True, False, True, True])
    attention = Attention(4, 4)
    torch.testing.assert_close(attention(parts, voting), parts.mean(0))
    with torch.no_grad():
        for weight in attention.parameters():
            weight.normal_()
    carried = [parts[row] @ attention.carry[shard] + attention.shift[shard] for row, shard in enumerate((0, 2, 3))]
    asked = torch.stack([torch.relu(attention.hidden(one)) @ attention.ask for one in carried])
    by_hand = (asked.softmax(0)[..., None] * torch.stack(carried)).sum(0)
    torch.testing.assert_close(attention(parts, voting), by_hand)


def test_the_aggregation_lowers_the_ranking_loss_and_moves_no_constituent():
    world = recommender()
    given, options = Recommender(world.target.module), {"lr": 2e-2, "epochs": 5, "batch_size": 64, "shards": 2}
    made = {
        epochs: receraser(given, world.request, **options, attention_epochs=epochs, attention_lr=lr)
        for epochs, lr in ((1, 0.0), (8, 1e-2))
    }
    assert all(same(*both) for both in zip(*map(constituents, made.values()), strict=True))
    batch = given.collate(given.encode(world.request.retain), range(len(world.request.retain)))
    with torch.no_grad():
        losses = [float(one.loss(batch).mean()) for one in made.values()]
    assert losses[1] < 0.9 * losses[0]


def test_users_who_lose_everything_are_defined():
    user = RECORDS[0]["user"]
    gone: list[Record] = [record for record in RECORDS if record["user"] == user]
    kept: list[Record] = [record for record in RECORDS if record["user"] != user]
    made = receraser(tiny.recommender(), Request(gone, kept, seed=1, allow_overlap=True), **QUICK, by="user")
    with torch.no_grad():
        assert bool(torch.isfinite(made.scores(torch.arange(8))).all())
    silent = ShardedRecommender([LightGCN(3, 4), LightGCN(3, 4)], "attention", voting=[True, False])
    assert bool(torch.isfinite(silent.embed()[0]).all())
