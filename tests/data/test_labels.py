"""Class names are numbered once for all sets, as the model numbers them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models import tiny
from transformers import ResNetConfig, ResNetForImageClassification

from lethe.api import unlearn
from lethe.data.labels import aligned
from lethe.errors import InputError
from lethe.models import classes_of_model
from lethe.models.classifier import Classifier
from lethe.models.nets import MLP

NAMES = ("zebra", "ant", "mole")  # not in the order of the alphabet


def rows(*names: str) -> list[dict[str, Any]]:
    known = sorted(set(names))
    return [{"id": f"{i}{name}", "class": name, "label": known.index(name)} for i, name in enumerate(names)]


def labels(records: Any) -> list[int]:
    return [record["label"] for record in records]


def test_a_set_of_one_class_is_numbered_with_the_others():
    found = aligned({"forget": rows("mole", "mole"), "retain": rows("ant", "zebra")})
    assert labels(found["forget"]) == [1, 1] and labels(found["retain"]) == [0, 2]


def test_the_models_own_order_goes_first():
    found = aligned({"forget": rows("mole"), "retain": rows("ant", "zebra")}, NAMES, 3)
    assert labels(found["forget"]) == [2] and labels(found["retain"]) == [1, 0]
    with pytest.raises(InputError, match="retain record '0ants': the model has no class 'ants'; did you mean 'ant'"):
        aligned({"retain": rows("ants")}, NAMES, 3)


def test_without_names_the_sets_must_hold_every_class():
    assert labels(aligned({"forget": rows("ant", "mole")}, (), 2)["forget"]) == [0, 1]
    with pytest.raises(InputError, match=r"name 1 classes .* and the model has 3 without names"):
        aligned({"forget": rows("mole")}, (), 3)


def test_numbers_are_taken_as_they_are():
    records = [{"id": "a", "label": 2}]
    assert aligned({"forget": records}, NAMES, 3) == {"forget": records}


def test_what_a_folder_and_a_model_know_of_their_classes(tmp_path: Path):
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], layer_type="basic", num_channels=1,
                          id2label=dict(enumerate(NAMES)))  # fmt: skip
    named = Classifier(ResNetForImageClassification(config))
    folder = named.save(tmp_path / "named")
    assert classes_of_model(named) == classes_of_model(folder) == (NAMES, 3)
    nameless = Classifier(MLP(6, 4))
    assert classes_of_model(nameless) == classes_of_model(nameless.save(tmp_path / "net")) == ((), 4)
    plain = ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], layer_type="basic",
                         id2label={i: f"LABEL_{i}" for i in range(5)})  # fmt: skip
    assert classes_of_model(Classifier(ResNetForImageClassification(plain))) == ((), 5)
    (tmp_path / "timm").mkdir()
    for more, wanted in (({}, ((), 3)), ({"label_names": NAMES}, (NAMES, 3))):
        told = {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": {}, **more}
        (tmp_path / "timm" / "config.json").write_text(json.dumps(told))
        assert classes_of_model(tmp_path / "timm") == wanted


def test_a_forget_file_of_one_class_is_that_class_to_the_model(tmp_path: Path):
    """Numbered by itself it would be class 0, and another class would be forgotten."""
    model = tiny.classifier()
    names = ["ant", "bee", "cow", "dog"]
    drawn = tiny.features(12)
    for name, wanted in (("forget", (3,)), ("retain", (0, 1, 2))):
        chosen = [{**r, "features": r["features"].tolist(), "label": names[r["label"]]} for r in drawn
                  if r["label"] in wanted]  # fmt: skip
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, chosen)))
    made = unlearn(
        model, forget=tmp_path / "forget.jsonl", retain=tmp_path / "retain.jsonl", method="head_mask", scope="topic"
    )
    before, after = (one.module.state_dict()["head.bias"] for one in (model, made))
    assert after[3] < -1e3 and torch.equal(before[:3], after[:3])
