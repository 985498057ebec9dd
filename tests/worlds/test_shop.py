"""The shop world: a block graph of people and shelves, requests on it, and models that differ only in what they saw."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.evidence import Evidence, observe
from lethe.measure import compute
from lethe.methods.reverse_bpr import reverse_bpr
from lethe.models import load
from lethe.models.base import Model
from lethe.registry import find
from lethe.request import Request, overlap
from lethe.task import Task
from lethe.worlds import records, shop
from lethe.worlds.models import lightgcn, shop_model
from lethe.worlds.population import HELD_OUT, SHELVES, Population

SPLITS = [f"{part}_{request}" for request in shop.REQUESTS for part in shop.PARTS]
every_request = pytest.mark.parametrize("request_", shop.REQUESTS)


def parts(request: str, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    return {part: records("shop", f"{part}_{request}", seed) for part in shop.PARTS}


def pairs(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["user"], row["item"]) for row in rows]


EVERYTHING = f"""
from lethe.data.content import digest
from lethe.worlds import records, shop
def everything(seed):
    return digest([[records("shop", split, seed) for split in {SPLITS}], shop.features(seed)])
"""


def test_same_seed_same_bytes_in_every_process():
    here: dict[str, Any] = {}
    exec(EVERYTHING, here)
    found = subprocess.run(
        [sys.executable, "-c", f"{EVERYTHING}print(everything(0))"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert found.stdout.strip() == here["everything"](0) != here["everything"](1)


def test_records_are_copies():
    records("shop", "train")[0]["item"] = -1
    assert records("shop", "train")[0]["item"] >= 0


@every_request
def test_train_is_forget_and_retain_and_nothing_else_is_in_it(request_: str):
    part = parts(request_)
    order = {row["id"]: place for place, row in enumerate(part["train"])}
    assert len(order) == len(part["train"]) == len(set(pairs(part["train"])))
    assert sorted(part["forget"] + part["retain"], key=lambda row: order[row["id"]]) == part["train"]
    seen = set(pairs(part["train"]))
    assert not seen & set(pairs(part["test"]))
    assert not (seen | set(pairs(part["test"]))) & set(pairs(part["holdout"]))
    assert not overlap(part["forget"], part["retain"])
    Request(part["forget"], part["retain"], part["holdout"])  # accepts them
    assert load_records(f"tiny:shop:forget_{request_}", family="recommender") == part["forget"]


def test_users_are_the_people_and_a_request_is_for_the_same_ones_in_every_world():
    people = Population(0)
    for row in records("shop", "train") + records("shop", "test"):
        assert people.people[row["user"]].id == row["entity"]
    assert not {row["user"] for row in records("shop", "train")} & set(HELD_OUT)
    authors = {row["entity"] for row in records("authors", "forget10")}
    assert {row["entity"] for row in records("shop", "forget_users")} == authors
    for split in ("retain_users", "test_users"):
        assert not authors & {row["entity"] for row in records("shop", split)}
    sixty = {row["entity"] for row in records("authors", "full")}
    assert {row["entity"] for row in records("shop", "forget_half")} == sixty


def test_half_leaves_everybody_the_larger_half():
    gone, kept = (Counter(row["user"] for row in records("shop", f"{part}_half")) for part in ("forget", "retain"))
    assert len(gone) == 60
    assert all(kept[user] - count in (0, 1) for user, count in gone.items())


def test_withdrawn_items_leave_as_a_whole():
    part = parts("items")
    items = {row["item"] for row in part["forget"]}
    assert len(items) == round(0.05 * shop.ITEMS)
    assert not items & {row["item"] for row in part["retain"] + part["test"]}
    assert {row["item"] for row in part["holdout"]} <= items


def test_poison_lies_on_one_foreign_shelf_and_in_the_target_alone():
    part = parts("poisoned")
    shelves: dict[int, set[int]] = {}
    for row in part["forget"]:
        shelves.setdefault(row["user"], set()).add(row["item"] // shop.SHELF)
    assert len(shelves) == shop.POISONED
    assert all(len(found) == 1 for found in shelves.values())
    tastes = {user: SHELVES.index(Population(0).people[user].taste) for user in shelves}
    assert not [user for user, found in shelves.items() if tastes[user] in found]
    assert sorted(pairs(part["retain"])) == sorted(pairs(records("shop", "train")))


def test_the_graph_has_blocks_popular_items_and_people_who_look_elsewhere():
    people = Population(0).people
    bought = records("shop", "train") + records("shop", "test")
    customers = {row["user"] for row in bought}
    own = [row["item"] // shop.SHELF == SHELVES.index(people[row["user"]].taste) for row in bought]
    assert 0.15 < sum(own) / (len(customers) * shop.SHELF) < 0.25  # p_in
    assert 0.005 < (len(own) - sum(own)) / (len(customers) * (shop.ITEMS - shop.SHELF)) < 0.015  # p_out
    openness = np.array([people[row["user"]].openness for row in bought])
    assert np.corrcoef(openness, own)[0, 1] < -0.1
    popularity = np.sort(np.bincount([row["item"] for row in bought], minlength=shop.ITEMS))[::-1]
    assert popularity[: shop.ITEMS // 4].sum() > 2.5 * popularity[-shop.ITEMS // 4 :].sum()
    least = Counter(row["user"] for row in bought)
    assert min(least.values()) == shop.FEWEST
    assert {row["user"] for row in records("shop", "test")} == customers  # everybody can be asked


@every_request
def test_holdout_pairs_are_as_popular_as_what_is_forgotten(request_: str):
    part = parts(request_)
    known = part["train"] + records("shop", "test")
    popularity = {side: Counter(row[side] for row in known) for side in ("user", "item")}
    assert len(part["holdout"]) == len(part["forget"]) == len(set(pairs(part["holdout"])))
    for side, count in popularity.items():
        assert {row[side] for row in part["holdout"]} <= {row[side] for row in part["forget"]}
        means = [np.mean([count[row[side]] for row in part[name]]) for name in ("forget", "holdout")]
        assert means[1] == pytest.approx(means[0], rel=0.05)


def test_features_tell_the_shelf_but_not_without_noise():
    features = shop.features()
    assert features.shape == (shop.ITEMS, 32)
    shelves = features.reshape(len(SHELVES), shop.SHELF, -1)
    centres = shelves.mean(1)
    nearest = np.linalg.norm(features[:, None] - centres, axis=2).argmin(1)
    assert (nearest == np.arange(shop.ITEMS) // shop.SHELF).mean() > 0.95
    assert shelves.std(1).min() > 0.2


@pytest.mark.parametrize("split", ["trian", "forget_everything", "half"])
def test_unknown_splits_are_refused(split: str):
    with pytest.raises(InputError, match="no split"):
        records("shop", split)


def test_a_request_without_a_counterpart_is_refused():
    rows = [{"id": str(item), "user": 0, "item": item} for item in range(3)]
    with pytest.raises(InputError, match="more than one user"):
        shop.divide(rows, [], rows[:2], seed=0)


# Models, made once per run of the tests


@cache
def task(split: str) -> Task:
    return find("benchmark", "shop").function(split=split)


@cache
def look(model: Model, split: str = "half") -> Evidence:
    return observe(model, task(split).probes)


def value(call: str, evidence: Evidence, *controls: Evidence) -> float:
    return compute(call, evidence, controls).value


def sides(split: str, controls: int = 1) -> tuple[Evidence, list[Evidence]]:
    control = task(split).control
    assert control is not None
    return look(task(split).target(0), split), [look(control(seed), split) for seed in range(1, controls + 1)]


def test_the_target_knows_what_controls_do_not_and_controls_agree():
    target, controls = sides("half", 2)
    known = [value("recall:set=forget", one) for one in (target, *controls)]
    assert known[0] > 0.75
    assert all(0.3 < other < 0.6 for other in known[1:])  # much of it can be guessed from what stays
    assert abs(known[1] - known[2]) < 0.05
    exposed = [value("membership:variant=loss", one) for one in (target, *controls)]
    assert exposed[0] > 0.9 > 0.85 > max(exposed[1:])
    assert min(exposed[1:]) > 0.65  # far from one half, hence no yardstick
    for name in ("forget", "retain"):
        apart = value(f"distance:set={name}", controls[0], controls[1])
        assert value(f"distance:set={name}", target, *controls) > (3 if name == "forget" else 1.3) * apart
    kept = [value("recall:set=test", one) for one in (target, *controls)]
    assert min(kept) > 0.5  # chance is 20 / 192
    assert max(kept) - min(kept) < 0.1


def test_a_withdrawn_item_is_in_nobodys_list_and_poison_costs_recommendations():
    target, (control,) = sides("items")
    assert value("recall:set=forget", target) > 0.75
    assert value("recall:set=forget", control) < 0.02
    poisoned = look(task("poisoned").target(0), "poisoned")
    clean = look(shop_model("train"), "poisoned")
    assert value("recall:set=forget", poisoned) > 0.75
    assert value("recall:set=forget", clean) < 0.02
    assert value("ndcg:set=test", clean) > value("ndcg:set=test", poisoned)


def test_reverse_bpr_closes_the_gap_and_keeps_recommendations():
    target, controls = sides("half", 2)
    given = task("half")
    unlearned = look(reverse_bpr(given.target(0), given.request, **given.presets["reverse_bpr"]))
    gold = np.mean([value("recall:set=forget", one) for one in controls])
    before, after = (value("recall:set=forget", one) for one in (target, unlearned))
    assert 0.8 <= (before - after) / (before - gold) <= 1.2
    for utility in ("recall:set=test", "recall:set=retain"):
        assert value(utility, unlearned) >= 0.95 * np.mean([value(utility, one) for one in controls])
    ranks = [value("forget_rank", one) for one in controls]
    assert value("forget_rank", unlearned) >= np.mean(ranks) - 0.05 * shop.ITEMS


def test_a_trained_model_depends_on_its_seed_alone_and_brings_its_graph_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = records("shop", "retain_items")
    short = {**shop.RECIPE, "epochs": 2}
    made = []
    for folder in ("a", "b"):
        monkeypatch.setenv("LETHE_CACHE", str(tmp_path / folder))
        made.append(lightgcn(rows, shop.USERS, shop.ITEMS, 3, "short", short))
    assert made[0].fingerprint() == made[1].fingerprint()
    assert lightgcn(rows, shop.USERS, shop.ITEMS, 4, "short", short).fingerprint() != made[0].fingerprint()
    first: Any = made[0]
    again: Any = load(first.save(tmp_path / "saved"))
    net = again.net
    assert net.edges.T.tolist() == [list(pair) for pair in pairs(rows)]
    assert torch.equal(net.seen().nonzero(), torch.tensor(sorted(pairs(rows))))
    users = torch.arange(shop.USERS)
    assert torch.equal(again.scores(users), first.scores(users))
