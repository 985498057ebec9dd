"""What every method for recommenders makes of requests that leave nothing: a user, an item, a whole component."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lethe.evidence import observe
from lethe.measure import compute
from lethe.models.nets import LightGCN
from lethe.models.recommender import Recommender
from lethe.registry import Card, find, names
from lethe.request import Request
from lethe.runs.unlearn import apply_method

# Two components: users 0 to 5 with items 0 to 6, users 6 and 7 with items 7 to 9. Item 6 is user 0's alone.
PAIRS = [
    *((user, item) for user in range(6) for item in range(6) if (user + item) % 3),
    (0, 6), (6, 7), (6, 8), (7, 8), (7, 9),
]  # fmt: skip
ASKED = {
    "a user's every interaction": lambda user, item: user == 1,
    "an item that nobody else bought": lambda user, item: item == 6,
    "all edges of a component": lambda user, item: user >= 6,
}
# Small steps and few of them, in whatever words a method has for it.
QUICK: dict[str, Any] = {
    "lr": 1e-2, "epochs": 2, "batch_size": 16, "pretrain": 4, "every": 2, "finetune": 1, "shards": 2, "rounds": 3,
    "iterations": 5, "seed": 0,
}  # fmt: skip
CALLS = (
    "recall:set=forget", "ndcg:set=forget", "recall:set=test", "ndcg:set=test", "mrr:set=test", "forget_rank",
    "edge_membership", "mi_ratio", "mi_ratio:variant=ng", "score_distance", "distance", "item_leakage:k=5",
    "membership", "recall:set=retain",
)  # fmt: skip


def records(pairs: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"id": f"u{user}-i{item}", "user": user, "item": item} for user, item in pairs]


@cache
def model() -> Recommender:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = LightGCN(8, 10, dim=4, layers=2)
    net.set_edges(torch.tensor(PAIRS).T)
    return Recommender(net.eval())


def methods() -> list[Card]:
    """Those that take a recommender."""
    cards = [find("method", name) for name in names("method")]
    return [c for c in cards if c.needs <= model().abilities and (not c.families or "recommender" in c.families)]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("card", methods(), ids=lambda card: card.name)
def test_nothing_left_is_a_defined_result(card: Card, asked: str, tmp_path: Path):
    gone = [pair for pair in PAIRS if ASKED[asked](*pair)]
    kept = [pair for pair in PAIRS if pair not in gone]
    request = Request(records(gone), records(kept))
    options = {name: value for name, value in QUICK.items() if name in card.options()}
    made: Any = apply_method(card.name, model(), request, options, tmp_path)
    everybody = torch.arange(8)
    with made.evaluating():
        assert bool(torch.isfinite(made.scores(everybody)).all()) or made.guard is not None
    assert all(bool(torch.isfinite(tensor).all()) for tensor in made.module.state_dict().values())
    if card.level == "retraining":
        carried = {tuple(pair) for pair in made.net.edges.T.tolist()}
        assert not carried & set(gone)
    probes = {
        "forget": request.forget,
        "retain": request.retain,
        "test": records([(1, 0), (2, 2), (7, 7), (0, 8)]),
        "holdout": records([(0, 9), (6, 0), (7, 2)]),
    }
    seen, control, before = (observe(one, probes) for one in (made, model(), model()))
    for call in CALLS:
        score = compute(call, seen, [control], before)
        assert np.isfinite(score.value), call
    served = {row["user"] for row in probes["test"]} & {user for user, _ in kept}
    assert compute("recall:set=test", seen).n == len(served)
