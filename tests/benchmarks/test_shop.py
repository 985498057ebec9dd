"""The shop benchmark: its sources, and requests drawn from published interactions."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lethe.errors import InputError
from lethe.measure import measure
from lethe.models.nets import LightGCN
from lethe.models.recommender import Recommender
from lethe.registry import bind, find, parse_call
from lethe.runs.unlearn import apply_method
from lethe.task import Task
from lethe.worlds import shop as world


def shop(**options: Any) -> Task:
    return find("benchmark", "shop").function(**options)


def test_presets_attacks_and_metrics_exist_and_fit():
    task = shop()
    for name, options in task.presets.items():
        bind(find("method", name).function, options, what=name)
    for kind, calls in (("attack", task.attacks), ("metric", task.metrics), ("method", task.floors)):
        for call in calls:
            name, given = parse_call(call)
            card = find(kind, name)
            bind(card.function, given, what=name)
            assert not card.families or "recommender" in card.families
    assert task.presets["retrain"] == world.RECIPE
    assert {task.knowledge, task.utility} <= set(task.metrics)


@pytest.mark.parametrize("name", ["npo", "simnpo"])
def test_methods_that_compare_likelihoods_are_refused(name: str):
    untrained = Recommender(LightGCN(world.USERS, world.ITEMS))
    with pytest.raises(InputError, match=f"{name} needs nll"):
        apply_method(name, untrained, shop().request, {}, None)


def test_rankings_leave_out_all_that_is_retained():
    task = shop()
    assert list(task.probes["retain"]) == list(task.request.retain)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"split": "halve"}, "did you mean 'half'"),
        ({"source": "nowhere"}, "nowhere does not exist"),
        ({"control": ("folder",)}, "give model as well"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        shop(**options)


@pytest.fixture
def cure4rec(tmp_path: Path) -> Path:
    """The world's interactions in CURE4Rec's files and column names."""
    for part in ("train", "test"):
        lines = [f"{row['user']},{row['item']},1" for row in world.records(part)]
        (tmp_path / f"{part}.csv").write_text("\n".join(["uid,iid,val", *lines]) + "\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("split", ["core", "edge", "random"])
def test_users_leave_as_in_cure4rec(cure4rec: Path, split: str):
    task = shop(source=str(cure4rec), split=split, share=0.1)
    train = Counter(row["user"] for row in world.records("train"))
    gone = {row["user"] for row in task.request.forget}
    assert len(gone) == int(0.1 * len(train))
    assert len(task.request.forget) == sum(train[user] for user in gone)
    assert not gone & {row["user"] for row in [*task.request.retain, *task.probes["test"]]}
    stay = [count for user, count in train.items() if user not in gone]
    if split == "core":
        assert min(train[user] for user in gone) >= max(stay)
    if split == "edge":
        assert max(train[user] for user in gone) <= min(stay)


def test_half_and_items_of_published_data(cure4rec: Path):
    train = world.records("train")
    half = shop(source=str(cure4rec), split="half", share=0.25)
    bought, gone = Counter(row["user"] for row in train), Counter(row["user"] for row in half.request.forget)
    assert len(gone) == int(0.25 * len(bought))
    assert all(count == bought[user] // 2 for user, count in gone.items())
    assert len(half.probes["test"]) == len(world.records("test"))
    items = shop(source=str(cure4rec), split="items")
    withdrawn = {row["item"] for row in items.request.forget}
    assert len(withdrawn) == int(0.05 * len({row["item"] for row in train}))
    assert not withdrawn & {row["item"] for row in items.probes["test"]}
    again = shop(source=str(cure4rec), split="items")
    assert again.request.fingerprint() == items.request.fingerprint()
    assert shop(source=str(cure4rec), split="items", seed=1).request.fingerprint() != items.request.fingerprint()
    with pytest.raises(InputError, match="forgets 0 of"):
        shop(source=str(cure4rec), split="items", share=0.001)


def test_a_file_names_what_is_forgotten_wherever_its_ids_begin(cure4rec: Path):
    """CURE4Rec counts train and test from 1 and its unlearn_set from 0."""
    train = world.records("train")
    users = sorted({row["user"] for row in train})[:3]
    gone = [row for row in train if row["user"] in users]
    for part in ("train", "test"):
        lines = [f"{row['user'] + 1},{row['item'] + 1},1" for row in world.records(part)]
        (cure4rec / f"{part}.csv").write_text("\n".join(["uid,iid,val", *lines]) + "\n", encoding="utf-8")
    named = cure4rec / "core_data_5%.csv"
    for step in (0, 1):
        lines = [f"{row['user'] + step},{row['item'] + step},1" for row in gone]
        named.write_text("\n".join(["uid,iid,val", *lines]) + "\n", encoding="utf-8")
        task = shop(source=str(cure4rec), forget=str(named))
        assert {row["user"] for row in task.request.forget} == set(users)
        assert len(task.request.forget) == len(gone)
        assert not set(users) & {row["user"] for row in task.probes["test"]}  # whole users leave the test, too
        assert "Ids were counted from 1." in task.note
    named.write_text("user\n9999\n", encoding="utf-8")
    with pytest.raises(InputError, match="user 9999 is in none of the interactions"):
        shop(source=str(cure4rec), forget=str(named), ids="1")
    with pytest.raises(InputError, match=r"forgets \d+ of"):
        shop(source=str(cure4rec), forget=str(cure4rec / "train.csv"))  # everything


def test_some_users_are_looked_at_with_all_that_they_retain(cure4rec: Path):
    task, every = (shop(source=str(cure4rec), split="random", share=0.2, users=users) for users in (20, 2000))
    assert task.request.fingerprint() == every.request.fingerprint()
    chosen = {row["user"] for records in task.probes.values() for row in records}
    assert len(chosen) <= 20
    assert len({row["user"] for row in task.probes["forget"]}) == 10
    for name, records in task.probes.items():
        assert list(records) == [row for row in every.probes[name] if row["user"] in chosen]
    assert "Looked at were 20 of" in task.note
    assert "Looked at" not in every.note


def test_planted_interactions_are_new_disliked_and_harmful():
    task = shop(split="harmful")
    clean = {(row["user"], row["item"]) for row in [*world.records("train"), *world.records("test")]}
    pairs = [(row["user"], row["item"]) for row in task.request.forget]
    assert len(set(pairs)) == len(pairs) > 100
    assert not clean & set(pairs)
    assert {(row["user"], row["item"]) for row in task.request.retain} == {
        (row["user"], row["item"]) for row in world.records("train")
    }


def test_given_models_are_loaded_and_without_any_they_are_trained(cure4rec: Path, monkeypatch: pytest.MonkeyPatch):
    made = Recommender(LightGCN(world.USERS, world.ITEMS, dim=4)).save(cure4rec / "model")
    given = shop(source=str(cure4rec), split="half", model=str(made), control=(str(made),))
    assert given.control is not None
    assert given.target(0).fingerprint() == given.control(1).fingerprint()
    assert shop(source=str(cure4rec), split="half", model=str(made)).control is None
    module = find("benchmark", "shop").function.__globals__
    monkeypatch.setitem(module, "RECIPE_PUBLISHED", {**module["RECIPE_PUBLISHED"], "epochs": 1})
    trained = shop(source=str(cure4rec), split="half")
    assert trained.control is not None
    target, control = trained.target(0), trained.control(1)
    forgotten = [(row["user"], row["item"]) for row in trained.request.forget]
    for model, knows in ((target, True), (control, False)):
        assert isinstance(model, Recommender)
        seen = model.net.seen()
        assert all(bool(seen[pair]) == knows for pair in forgotten)


def test_published_interactions_load(data_dir: Path):
    source = str(data_dir / "cure4rec-adm" / "adm_10core.tsv")
    task = shop(source=source, split="core")
    assert len(task.request.forget) + len(task.request.retain) == 18508
    assert len({row["user"] for row in task.request.forget}) == int(0.05 * 1049)
    assert len(task.request.forget) > 3000  # the most active twentieth
    assert len(task.request.holdout) == world.HOLDOUT


def test_every_metric_can_be_measured():
    from lethe.evidence import observe

    task = shop(split="users")
    untrained = Recommender(LightGCN(world.USERS, world.ITEMS)).fresh(0)
    evidence = observe(untrained, task.probes)
    calls = (*task.metrics, *task.beside)
    scores = measure(calls, evidence, [observe(untrained.fresh(1), task.probes)], evidence)
    assert len({score.name for score in scores}) == len(calls)
    known = next(score for score in scores if score.name == "recall.at20@forget")
    assert known.value < 0.35  # chance is 20 / 192
