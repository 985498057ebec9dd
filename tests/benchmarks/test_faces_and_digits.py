"""What the contracts do not reach: faces from a folder, and a whole class of digits."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lethe.benchmarks.digits import digits
from lethe.benchmarks.faces import faces
from lethe.data.content import digest
from lethe.descent.published import clocked
from lethe.errors import InputError
from lethe.evidence import observe
from lethe.measure import compute
from lethe.methods.cf_k import cf_k
from lethe.methods.head_mask import head_mask
from lethe.models.classifier import Classifier
from lethe.models.nets import SmallCNN
from lethe.registry import find, parse_call, settle
from lethe.request import Request
from lethe.worlds import faces as world

LETTERS = "abcd"
PRESET = {"preset": "mufac"}


def save_picture(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray((image * 255).round().astype(np.uint8).transpose(1, 2, 0)).save(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model nobody trained: reading a folder does not ask for more."""
    net = SmallCNN(channels=3, classes=len(LETTERS), size=world.SIZE)
    return str(Classifier(net).save(tmp_path_factory.mktemp("models") / "target"))


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three people of the embedded world as households F0000 to F0002, in MUFAC's files; one test and one unseen."""
    folder = tmp_path_factory.mktemp("mufac")
    shown = {
        "train": world.records("forget05"),
        "val": world.records("test")[: world.PHOTOS],
        "test": world.records("unseen")[: world.PHOTOS],
    }
    for name, records in shown.items():
        with (folder / f"custom_{name}_dataset.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image_path", "age_class"])
            for row, record in enumerate(records):
                household, letter = row // world.PHOTOS, LETTERS[record["label"]]
                start = {"train": 0, "val": 800, "test": 850}[name]
                path = f"F{start + household:04d}_AGE_D_18_{letter}{row}.png"
                save_picture(record["image"], folder / f"{name}_images" / path)
                table.writerow([path, letter])
    return str(folder)


def test_the_official_files_are_divided_at_a_household(official: str, model: str):
    task = faces(source=official, model=model, cut=20, size=world.SIZE)
    assert len(task.request.forget) == 2 * world.PHOTOS  # row 20 stands in the second household
    assert len(task.request.retain) == world.PHOTOS
    assert np.array_equal(task.request.forget[0]["image"], world.records("forget05")[0]["image"])
    assert [record["label"] for record in task.request.forget] == [
        record["label"] for record in world.records("forget05")[: 2 * world.PHOTOS]
    ]
    assert np.array_equal(task.probes["test"][3]["image"], world.records("test")[3]["image"])
    assert np.array_equal(task.probes["holdout"][3]["image"], world.records("unseen")[3]["image"])
    assert task.control is None
    assert not task.presets


def test_the_published_cut_runs_through_a_household(official: str, model: str):
    task = faces(source=official, model=model, cut=20, size=world.SIZE, align_identity=False)
    assert [len(records) for records in (task.request.forget, task.request.retain)] == [20, 28]


def test_a_folder_is_observed_with_every_metric_that_needs_no_control(official: str, model: str):
    task = faces(source=official, model=model, cut=20, size=world.SIZE)
    evidence = observe(task.target(0), task.probes, task.spec)
    for call in task.metrics:
        if "control" not in find("metric", parse_call(call)[0]).requires:
            assert 0 <= compute(call, evidence).value <= 1


def test_tables_with_identities_are_read_by_their_own_names(tmp_path: Path, model: str):
    for name, split in (("train", "forget05"), ("test", "test"), ("unseen", "unseen")):
        rows = [
            {"id": r["id"], "label": world.AGES[r["label"]], "identity": r["identity"], "image": r["image"].tolist()}
            for r in world.records(split)[-world.PHOTOS * 2 :]
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = faces(source=str(tmp_path), model=model, cut=1, size=world.SIZE)
    assert {record["identity"] for record in task.request.forget} == {"p058"}
    names = sorted(world.AGES)
    for record in (*task.request.forget, *task.probes["test"]):
        assert names[record["label"]] == record["class"]


def test_folders_that_cannot_be_divided_are_refused(official: str, model: str, tmp_path: Path):
    with pytest.raises(InputError, match="is not a folder"):
        faces(source=str(tmp_path / "nowhere"), model=model)
    with pytest.raises(InputError, match="needs the target's folder"):
        faces(source=official, cut=20, size=world.SIZE)
    with pytest.raises(InputError, match="of 48 training rows give 1 to 47"):
        faces(source=official, model=model, cut=1500, size=world.SIZE)
    with pytest.raises(InputError, match="all identities stand in the first 40"):
        faces(source=official, model=model, cut=40, size=world.SIZE)


def test_pictures_without_a_person_are_refused_or_cut_as_they_stand(tmp_path: Path, model: str):
    for name, split in (("train", "forget01"), ("test", "test"), ("unseen", "unseen")):
        for number, record in enumerate(world.records(split)[: world.PHOTOS]):
            folder = tmp_path / name / world.AGES[record["label"]]
            folder.mkdir(parents=True, exist_ok=True)
            save_picture(record["image"], folder / f"{number}.png")
    with pytest.raises(InputError, match="names no identity"):
        faces(source=str(tmp_path), model=model, cut=4, size=world.SIZE)
    task = faces(source=str(tmp_path), model=model, cut=4, size=world.SIZE, align_identity=False)
    assert len(task.request.forget) == 4


def test_a_forgotten_class_is_known_to_the_target_alone():
    task = digits(split="class")
    assert task.control is not None
    target, control = (observe(model, task.probes, task.spec) for model in (task.target(0), task.control(1)))
    assert compute(task.knowledge, target).value == 1.0
    assert compute(task.knowledge, control).value == 0.0
    assert compute(task.utility, control).value > 0.95 * compute(task.utility, target).value


def test_a_forgotten_class_is_no_part_of_utility_and_the_holdout_is_of_it():
    task = digits(split="class", number=4)
    assert 4 not in {record["label"] for record in task.probes["test"]}
    assert {record["label"] for record in task.probes["holdout"]} == {4}
    assert len(task.probes["holdout"]) == len(task.probes["forget"])


def test_the_head_mask_stands_beside_class_forgetting_only():
    task = digits(split="class")
    assert "head_mask" in task.floors
    masked = observe(head_mask(task.target(0), task.request), task.probes, task.spec)
    assert compute(task.knowledge, masked).value == 0.0
    assert "head_mask" not in digits().floors
    with pytest.raises(InputError, match="whole classes"):
        head_mask(digits().target(0), digits().request)


def test_digits_come_from_scikit_learn_alone():
    with pytest.raises(InputError, match="give tiny"):
        digits(source="hub")
    with pytest.raises(InputError, match="a class from 0 to 9"):
        digits(split="class", number=10)


def renamed(official: str, folder: Path, names: dict[str, str]) -> str:
    """The official files under other names, with the folders of pictures as they are."""
    shutil.copytree(official, folder)
    for old, new in names.items():
        (folder / f"custom_{old}_dataset.csv").rename(folder / new)
    return str(folder)


@pytest.mark.parametrize(
    "names",
    [
        {"test": "custom_unseen_dataset.csv", "val": "custom_test_dataset.csv"},
        {"test": "unseen.csv", "val": "test.csv", "train": "train.csv"},
        {"test": "test.csv", "val": "val.csv", "train": "train.csv"},
    ],
)
def test_every_naming_of_the_sets_is_read_alike(official: str, model: str, tmp_path: Path, names: dict[str, str]):
    own = faces(source=official, model=model, cut=20, size=world.SIZE)
    other = faces(source=renamed(official, tmp_path / "data", names), model=model, cut=20, size=world.SIZE)
    for name, records in own.probes.items():
        assert [digest(one["image"]) for one in records] == [digest(one["image"]) for one in other.probes[name]]


def test_the_household_of_a_file_name_is_the_identity_and_stands_on_one_side(official: str, model: str, tmp_path: Path):
    task = faces(source=official, model=model, cut=20, size=world.SIZE)
    assert {record["identity"] for record in task.request.forget} == {"F0000", "F0001"}
    assert task.request.scope == "entity"
    assert faces(source=official, model=model, cut=20, size=world.SIZE, align_identity=False).request.scope == "sample"
    folder = Path(renamed(official, tmp_path / "data", {}))
    for path in (folder / "test_images").iterdir():
        path.rename(path.with_name(path.name.replace("F0850", "F0001")))
    table = folder / "custom_test_dataset.csv"
    table.write_text(table.read_text().replace("F0850", "F0001"))
    with pytest.raises(InputError, match=r"faces: identity 'F0001' stands in training .* and in holdout"):
        faces(source=str(folder), model=model, cut=20, size=world.SIZE)


def test_a_table_that_names_a_missing_file_says_in_which_row(official: str, model: str, tmp_path: Path):
    folder = Path(renamed(official, tmp_path / "data", {}))
    rows = (folder / "custom_train_dataset.csv").read_text().splitlines()
    (folder / "train_images" / rows[7].partition(",")[0]).unlink()
    with pytest.raises(InputError, match=r"custom_train_dataset.csv, row 7, field 'image': .* there is no such file"):
        faces(source=str(folder), model=model, cut=20, size=world.SIZE)


def test_the_note_says_what_nomus_is_not():
    assert "NoMUS is no distance to the retrained model" in faces().note
    assert "untrained" in faces().floors


@pytest.mark.parametrize(
    ("retain", "forget", "epochs", "steps"), [(130, 64, 1, 2), (130, 64, 2, 4), (8525, 1500, 2, 255)]
)
def test_the_published_neggrad_skips_ticks_whose_batches_differ(retain: int, forget: int, epochs: int, steps: int):
    assert clocked(retain, forget, 64, epochs) == steps <= epochs * 2 * (retain // 64)
    assert find("method", "ga").presets["mufac"]["steps"] == 255


def test_the_published_cf_3_moves_two_stages_and_the_head():
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 4, "hidden_sizes": [4, 4, 8, 8], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    config = ResNetConfig(id2label=dict(enumerate(LETTERS)), **sizes)
    target, options = Classifier(ResNetForImageClassification(config).eval()), settle(find("method", "cf_k"), PRESET)
    records = world.records("forget01")
    made = cf_k(target, Request(records[:8], records[8:], scope="sample"), **options)
    before, after = target.module.state_dict(), made.module.state_dict()
    moved = {name.partition(".layers")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"resnet.encoder.stages.2", "resnet.encoder.stages.3", "classifier.1.weight", "classifier.1.bias"}
