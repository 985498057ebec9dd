"""The multi-modal benchmark: its requests, its published schema, and what is left of an image whose licence ended."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lethe.api import unlearn
from lethe.data.content import digest
from lethe.errors import InputError
from lethe.evidence import observe
from lethe.measure import compute
from lethe.models.base import Model
from lethe.models.recommender import Recommender
from lethe.registry import find
from lethe.runs.unlearn import apply_method
from lethe.task import Task
from lethe.worlds import modal_shop, shop
from lethe.worlds.modal_shop import REQUESTS, records


def build(**options: Any) -> Task:
    return find("benchmark", "mmrec").function(**options)


@cache
def licence() -> Task:
    return build(split="modality")


@cache
def sides() -> tuple[Recommender, Recommender]:
    task = licence()
    assert task.control is not None
    target, control = task.target(0), task.control(1)
    assert isinstance(target, Recommender)
    assert isinstance(control, Recommender)
    return target, control


def score(name: str, model: Model, *controls: Model) -> float:
    task = licence()
    seen = [observe(one, task.probes, task.spec) for one in (model, *controls)]
    return compute(name, seen[0], seen[1:]).value


def pairs(rows: Any) -> set[tuple[int, int]]:
    return {(row["user"], row["item"]) for row in rows}


# --- the world --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_divides_the_purchases(request_: str):
    train, forget, retain, test = (records(f"{part}_{request_}") for part in ("train", "forget", "retain", "test"))
    assert pairs(forget) <= pairs(train)
    assert {row["id"] for row in train} == {row["id"] for row in shop.records("train")}
    if request_ == "modality":
        assert retain == train  # purchases stay
        assert {row["modality"] for row in forget} == {"image"}
        items = {row["item"] for row in forget}
        assert len(items) == int(modal_shop.LICENSED * len({row["item"] for row in train}))
        assert pairs(forget) == {pair for pair in pairs(train) if pair[1] in items}
    else:
        assert pairs(forget) | pairs(retain) == pairs(train)
        assert not pairs(forget) & pairs(retain)
    for side in ("user", "item"):
        if f"{side}s" in request_:
            gone = {row[side] for row in forget} - {row[side] for row in retain}
            assert gone
            assert not gone & {row[side] for row in test}


def test_both_modalities_tell_the_shelf_and_neither_the_other():
    told = modal_shop.features()
    shelf = np.arange(shop.ITEMS) // shop.SHELF
    for rows in told.values():
        assert rows.shape == (shop.ITEMS, 32)
        centred = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        likeness = centred @ centred.T
        np.fill_diagonal(likeness, -1)
        assert (shelf[likeness.argmax(1)] == shelf).mean() > 0.95
    image, text = (rows - rows.mean(0) for rows in told.values())
    assert abs(np.corrcoef(image.ravel(), text.ravel())[0, 1]) < 0.1
    assert digest(modal_shop.features(1)) != digest(told) == digest(modal_shop.features())


def test_unknown_splits_are_named():
    with pytest.raises(InputError, match="no split 'forget_book' in the modal_shop world"):
        records("forget_book")
    with pytest.raises(InputError, match="did you mean 'modality'"):
        build(split="modalities")


# --- an image whose licence has ended ---------------------------------------------------------------------------------


def test_the_control_never_saw_the_images_and_the_purchases_stay():
    target, control = sides()
    items = sorted({record["item"] for record in licence().request.forget})
    assert target.net.content_image[items].any()
    assert not control.net.content_image[items].any()
    assert torch.equal(target.net.content_text, control.net.content_text)
    assert len(target.net.graph.keys) == len(control.net.graph.keys)
    leaks = [score("content_leak:set=forget", one) for one in (target, control)]
    assert leaks[0] > leaks[1] + 0.01
    assert leaks[1] > 0.6  # what the text tells is legitimate


@pytest.mark.parametrize("method", ["finetune", "mmrecun"])
def test_methods_that_serve_it_come_nearer_than_blank_rows_alone(method: str):
    """Blank rows alone forget too much: embeddings that leant on an image stand without it."""
    task, (target, control) = licence(), sides()
    blank = target.copy()
    blank.without(task.request.forget)
    made = apply_method(method, target, task.request, task.presets["finetune"], None)
    assert isinstance(made, Recommender)
    items = sorted({record["item"] for record in task.request.forget})
    assert not made.net.content_image[items].any()
    assert len(made.net.graph.keys) == len(target.net.graph.keys)
    near, far = (score("distance:set=forget", one, control) for one in (made, blank))
    assert near < 0.8 * far
    leaks = [score("content_leak:set=forget", one) for one in (control, made, blank)]
    assert abs(leaks[1] - leaks[0]) < abs(leaks[2] - leaks[0])


@pytest.mark.parametrize("method", ["ga", "grad_diff", "reverse_bpr", "unlearnrec"])
def test_methods_that_would_forget_the_purchase_refuse(method: str):
    with pytest.raises(InputError, match="finetune"):
        apply_method(method, sides()[0], licence().request, {}, None)


def test_a_base_without_content_has_none_to_withdraw():
    with pytest.raises(InputError, match="lightgcn reads no content that could be withdrawn"):
        build(split="modality", base="lightgcn")
    plain = Recommender(sides()[0].net.__class__(4, 4, text=3))
    with pytest.raises(InputError, match="reads no content called 'image'"):
        plain.without([{"user": 0, "item": 0, "modality": "image"}])


def test_a_file_that_names_an_item_and_its_image_is_a_request(tmp_path: Path):
    target, _ = sides()
    target.save(tmp_path / "model")
    (tmp_path / "licence.tsv").write_text("item\tmodality\n7\timage\n9\timage\n", encoding="utf-8")
    made = unlearn(
        tmp_path / "model",
        tmp_path / "licence.tsv",
        method="finetune",
        out=tmp_path / "out",
        options={"epochs": 1, "batch_size": 512},
    )
    assert isinstance(made, Recommender)
    assert not made.net.content_image[[7, 9]].any()
    assert made.net.content_image[8].any()
    assert len(made.net.graph.keys) == len(target.net.graph.keys)
    audited = find("benchmark", "records").function(
        model=str(tmp_path / "model"), forget=str(tmp_path / "licence.tsv"), control=(str(tmp_path / "out"),)
    )
    assert {record["item"] for record in audited.probes["forget"]} == {7, 9}
    assert observe(made, audited.probes).has("forget")


# --- published data ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The schema of MMRec: one table with x_label, and one array of features per modality."""
    rng = np.random.default_rng(0)
    lines = ["userID\titemID\trating\ttimestamp\tx_label"]
    lines += [
        f"{user}\t{item}\t1.0\t{1000 + item}\t{0 if place < 4 else place - 3}"
        for user in range(12)
        for place, item in enumerate(rng.permutation(15)[:6].tolist())
    ]
    (tmp_path / "baby.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    np.save(tmp_path / "image_feat.npy", rng.normal(size=(15, 5)).astype(np.float32))
    np.save(tmp_path / "text_feat.npy", rng.normal(size=(15, 3)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize("split", REQUESTS)
def test_a_folder_of_mmrec(folder: Path, split: str):
    task = build(source=str(folder), split=split, share=0.2, modality="text")
    assert len(task.request.forget) > 0
    seen = pairs(task.request.forget) | pairs(task.request.retain)
    assert len(seen) == 12 * 4  # of six interactions four to train on, one to choose by, one to test on
    assert not pairs(task.probes["test"]) & seen
    if split == "modality":
        assert {record["modality"] for record in task.request.forget} == {"text"}
        assert all("modality" not in record for record in task.probes["forget"])


def test_folders_that_lack_something_say_what(folder: Path):
    with pytest.raises(InputError, match="no folder; give tiny"):
        build(source=str(folder / "baby.inter"))
    (folder / "image_feat.npy").unlink()
    with pytest.raises(InputError, match="holds no image features"):
        build(source=str(folder), split="modality", share=0.2)
    (folder / "text_feat.npy").unlink()
    with pytest.raises(InputError, match="neither image_feat"):
        build(source=str(folder))
