"""SISA: what has not seen a record stays bit-identical, what has is what it would be without, in both families."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tests.models import tiny

from lethe.attacks.merge import merge
from lethe.data.shards import assign
from lethe.errors import InputError
from lethe.findings import Tampered
from lethe.methods.sisa import sisa
from lethe.models import load, nets
from lethe.models.base import Model
from lethe.models.classifier import Classifier
from lethe.models.recommender import Recommender
from lethe.request import Request
from lethe.runs.environment import metered
from lethe.train import TRAINED

QUICK: dict[str, Any] = {"lr": 1e-2, "epochs": 2, "batch_size": 4, "shards": 3, "slices": 3}
FAMILIES = ("classifier", "recommender")


def case(family: str, forget: int = 1) -> tuple[Model, Request]:
    """A model and the deletion of its first records."""
    records = tiny.features(24) if family == "classifier" else tiny.interactions()
    return tiny.model(family), Request(records[:forget], records[forget:], seed=5, allow_overlap=True)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    own, its = one.state_dict(), other.state_dict()
    return own.keys() == its.keys() and all(torch.equal(own[name], its[name]) for name in own)


def runs_of_training(method: Any) -> tuple[Any, int]:
    """What the call returns, and how often it trained."""
    counts: list[int] = []
    before = TRAINED.set(counts)
    try:
        return method(), len(counts)
    finally:
        TRAINED.reset(before)


def constituents(model: Model) -> list[Any]:
    return list(model.module.constituents)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_deletion_gives_bit_for_bit_the_ensemble_that_never_saw_the_record(family: str, tmp_path: Path):
    model, request = case(family, forget=2)
    kept, gone = request.retain, request.forget
    # Two ways to the records without the first two: both at once, and one after the other from the stored ensemble.
    at_once = sisa(model, request, **QUICK)
    first = replace(request, forget=gone[:1], retain=[gone[1], *kept])
    second = replace(request, forget=gone[1:], retain=kept)
    sisa(model, first, **QUICK, store=tmp_path / "store")
    later = sisa(model, second, **QUICK, store=tmp_path / "store")
    assert same(at_once.module, later.module)
    # Neither ever trained on the records: the same ensemble, served with another record that is deleted as well.
    other = sisa(model, replace(request, forget=[{**dict(gone[0]), "id": "another"}]), **QUICK)
    assert same(at_once.module, other.module)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_shard_of_the_record_is_trained_again_and_only_from_its_slice_on(family: str, tmp_path: Path):
    model, request = case(family)
    everything = [*request.forget, *request.retain]
    another = [{**dict(everything[0]), "id": "added"}]  # served and gone: what is left is the ensemble of everything
    given = replace(request, forget=another, retain=everything)
    before = sisa(model, given, **QUICK, store=tmp_path)
    stored = {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    after, runs = runs_of_training(lambda: sisa(model, request, **QUICK, store=tmp_path))
    placed = assign(everything, QUICK["shards"], QUICK["slices"], request.seed)
    gone = request.forget[0]["id"]
    shard, part = next(
        (s, p) for s, slices in enumerate(placed) for p, rows in enumerate(slices) if gone in {r["id"] for r in rows}
    )
    assert runs == QUICK["slices"] - part
    pairs = list(zip(constituents(before), constituents(after), strict=True))
    assert [same(*pair) for pair in pairs] == [number != shard for number in range(QUICK["shards"])]
    # No checkpoint is left that has seen the record, and all others are the files they were.
    left = {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert len(stored.keys() - left.keys()) == QUICK["slices"] - part
    assert all(left[path] == stored[path] for path in left.keys() & stored.keys())
    assert gone not in (tmp_path / "ensemble.json").read_text()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_ensemble_that_is_loaded_is_served_without_a_store(family: str, tmp_path: Path):
    model, request = case(family, forget=2)
    kept, gone = request.retain, request.forget
    first = sisa(model, replace(request, forget=gone[:1], retain=[gone[1], *kept]), **QUICK)
    loaded = load(first.save(tmp_path / "model"))
    assert loaded.fingerprint() == first.fingerprint()
    made, runs = runs_of_training(lambda: sisa(loaded, replace(request, forget=gone[1:], retain=kept), **QUICK))
    assert 0 < runs <= QUICK["slices"]
    assert same(made.module, sisa(model, request, **QUICK).module)
    with pytest.raises(InputError, match=r"was not trained on these .* \(shard \d.* differs\)"):
        sisa(loaded, replace(request, forget=kept[:1], retain=kept[1:]), **QUICK)


def test_constituents_decide_by_mean_probability_or_by_majority():
    model, request = case("classifier")
    mean, vote = (sisa(model, request, **QUICK, combine=combine) for combine in ("mean", "vote"))
    x = torch.stack([torch.as_tensor(record["features"]) for record in request.retain])
    with torch.no_grad():
        single = torch.stack([part(x).softmax(-1) for part in constituents(mean)])
        torch.testing.assert_close(mean.module(x).exp(), single.mean(0))
        decided = vote.module(x).exp()
    torch.testing.assert_close(decided.sum(-1), torch.ones(len(x)))
    votes = torch.nn.functional.one_hot(single.argmax(-1), 4).sum(0)
    most = votes == votes.max(-1, keepdim=True).values
    chosen = (single.mean(0) * most).argmax(-1)  # ties go to the higher mean
    assert torch.equal(decided.argmax(-1), chosen)
    assert bool((votes.max(-1).values < QUICK["shards"]).any())  # else this compares nothing
    assert mean.fingerprint() != vote.fingerprint()
    batch = next(mean.batches(mean.encode(request.retain)))
    assert mean.features(batch).shape == (len(request.retain), 3 * 16)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_ensemble_is_merged_with_the_single_model_constituent_by_constituent(family: str):
    model, request = case(family)
    made = sisa(model, request, **QUICK)
    for point in merge(made, request, model, alphas=(0.25,)):
        assert isinstance(point, Tampered)
        for own, before in zip(constituents(point.model), constituents(made), strict=True):
            known = dict(model.module.named_parameters())
            for name, weight in own.named_parameters():
                torch.testing.assert_close(weight, 0.25 * known[name] + 0.75 * before.get_parameter(name))


def test_a_recommenders_score_is_the_mean_of_its_constituents_and_each_knows_its_own_interactions():
    model, request = case("recommender")
    made = sisa(model, request, **QUICK)
    with torch.no_grad():
        scores = [users @ items.T for users, items in (part.embed() for part in constituents(made))]
        torch.testing.assert_close(made.module.embed()[0] @ made.module.embed()[1].T, torch.stack(scores).mean(0))
    placed = assign(request.retain, QUICK["shards"], QUICK["slices"], request.seed)
    for part, slices in zip(constituents(made), placed, strict=True):
        assert part.edges.T.tolist() == [[r["user"], r["item"]] for rows in slices for r in rows]
    made.without(request.retain[:3])
    assert made.module.edges.shape[1] == len(request.retain) - 3
    with pytest.raises(InputError, match="1 interactions are in no shard"):
        made.module.set_edges(torch.tensor([[0], [1]]))


@pytest.mark.parametrize("name", ["SimGCL", "VBPR", "MGCN"])
def test_every_recommender_can_be_sharded(name: str, tmp_path: Path):
    content = {"image": torch.randn(12, 5), "text": torch.randn(12, 3)}
    net: Any = nets.ARCHITECTURES[name](8, 12, dim=6, **({"image": 5, "text": 3} if name != "SimGCL" else {}))
    if name != "SimGCL":
        net.set_content(content)
    net.set_edges(torch.tensor([[r["user"], r["item"]] for r in tiny.interactions()]).T)
    made = sisa(Recommender(net.eval()), case("recommender")[1], **{**QUICK, "epochs": 1})
    loaded = load(made.save(tmp_path / "model"))
    assert loaded.fingerprint() == made.fingerprint()
    users = torch.arange(8)
    with torch.no_grad():
        assert torch.equal(cast(Recommender, loaded).scores(users), made.scores(users))


def test_yes_or_no_decisions_are_averaged_one_by_one():
    model = Classifier(tiny.drawn(lambda: nets.SmallCNN(1, 4, 8, width=4, multi_label=True)).eval())
    plain = [{"id": record["id"], "image": record["image"]} for record in tiny.images(12)]
    records = [{**record, "labels": [row % 2, 1, 0, row % 3 % 2]} for row, record in enumerate(plain)]
    made = sisa(model, Request(records[:1], records[1:], allow_overlap=True), **QUICK)
    batch = next(made.batches(made.encode(records)))
    with torch.no_grad():
        each = torch.stack([part(batch.inputs["x"]).sigmoid() for part in constituents(made)])
        torch.testing.assert_close(made.logits(batch).softmax(-1)[..., 1], each.mean(0))


def test_a_shard_that_loses_its_last_record_falls_silent():
    model, request = case("classifier")
    records = [*request.forget, *request.retain][:8]
    placed = assign(records, 4, 1, 5)
    lone = min((slices[0] for slices in placed if slices[0]), key=len)
    kept = [record for record in records if record not in lone]
    made = sisa(model, replace(request, forget=lone, retain=kept), **{**QUICK, "shards": 4, "slices": 1})
    silent = [not any(slices) or slices[0] == lone for slices in placed]
    assert made.module.voting.tolist() == [not one for one in silent]
    assert bool(torch.isfinite(made.module(torch.zeros(2, 6))).all())


def test_the_training_of_the_ensemble_is_counted_apart(tmp_path: Path):
    model, request = case("classifier")
    with metered() as first:
        started = time.perf_counter()
        sisa(model, request, **QUICK, store=tmp_path)
        whole = time.perf_counter() - started
    assert first.prepared > first.seconds > 0
    assert first.prepared + first.seconds == pytest.approx(whole, rel=0.2)
    with metered() as second:
        sisa(model, replace(request, forget=request.retain[:1], retain=request.retain[1:]), **QUICK, store=tmp_path)
    assert second.prepared == 0 < second.seconds


def test_what_cannot_be_served_is_said_in_one_sentence(tmp_path: Path):
    model, request = case("classifier")
    sisa(model, request, **QUICK, store=tmp_path)
    stranger = replace(request, forget=[{**dict(request.retain[0]), "id": "stranger"}])
    refusals = {
        "99 shards are more than the 24 records": {"shards": 99},
        "slices is 0": {"slices": 0},
        "holds an ensemble with seed=5, and seed=6": {"seed": 6, "store": tmp_path},
        "holds an ensemble with shards=3, and shards=4": {"shards": 4, "store": tmp_path},
        "has no field 'person'": {"by": "person"},
    }
    for text, options in refusals.items():
        with pytest.raises(InputError, match=text):
            sisa(model, request, **{**QUICK, **options})
    with pytest.raises(InputError, match="record 'stranger' is not in the ensemble"):
        sisa(model, stranger, **QUICK, store=tmp_path)
    fewer = replace(request, forget=request.retain[:1], retain=request.retain[2:])
    with pytest.raises(InputError, match=r"1 records of the ensemble .* stand neither in forget nor in retain"):
        sisa(model, fewer, **QUICK, store=tmp_path)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"torn")
    with pytest.raises(InputError, match="is damaged"):
        sisa(model, replace(request, forget=request.retain[:1], retain=request.retain[1:]), **QUICK, store=tmp_path)
    with pytest.raises(InputError, match="combine=vote is for classifiers"):
        sisa(*case("recommender"), **QUICK, combine="vote")
