"""Pictures of one's own in every layout that is read, and what is said about those that cannot be."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lethe.benchmarks.images import images
from lethe.errors import InputError
from lethe.evidence import observe
from lethe.measure import compute
from lethe.models.classifier import Classifier
from lethe.models.nets import SmallCNN

SIZE = 8
COUNTS = {"cat": 12, "dog": 9, "eel": 6}
NAMES = sorted(COUNTS)


def draw(path: Path, seed: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def fill(folder: Path, start: int = 0, counts: dict[str, int] = COUNTS) -> Path:
    seeds = iter(range(start, start + 1000))
    for name, count in counts.items():
        for number in range(count):
            draw(folder / name / f"{start + number}.png", next(seeds))
    return folder


def model(folder: Path, channels: int = 3, classes: int = 3, size: int = SIZE) -> str:
    return str(Classifier(SmallCNN(channels, classes, size)).save(folder / "model"))


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets as subfolders."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, name in enumerate(("train", "test", "unseen")):
        fill(folder / name, 1000 * number)
    return folder


def table(parted: Path, folder: Path, header: str = "image,label,split") -> Path:
    """The same as one csv."""
    rows = [header]
    for path in sorted(parted.glob("*/*/*.png")):
        rows.append(f"{path},{path.parent.name},{path.parent.parent.name}")
    file = folder / "pictures.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_the_sets_are_what_their_names_say(parted: Path, tmp_path: Path):
    task = images(source=str(parted), model=model(tmp_path), size=SIZE, share=0.3)
    assert len(task.request.forget) == round(0.3 * 27) and len(task.request.retain) == 27 - round(0.3 * 27)
    assert {len(task.probes["test"]), len(task.probes["holdout"])} == {27, 8}
    trained = {record["path"] for record in (*task.request.forget, *task.request.retain)}
    assert len(trained) == 27 and task.request.scope == "sample"
    assert all(record["image"].shape == (3, SIZE, SIZE) for record in task.request.forget)
    assert task.control is None and not task.presets


def test_a_table_is_read_as_the_folder_it_lists(parted: Path, tmp_path: Path):
    own = images(source=str(parted), model=model(tmp_path), size=SIZE, split="class", class_name="dog")
    other = images(
        source=str(table(parted, tmp_path)), model=model(tmp_path), size=SIZE, split="class", class_name="dog"
    )
    for name, records in own.probes.items():
        pairs = zip(records, other.probes[name], strict=True)
        assert all(a["label"] == b["label"] and np.array_equal(a["image"], b["image"]) for a, b in pairs)


def test_a_class_goes_as_a_whole_and_is_no_utility(parted: Path, tmp_path: Path):
    task = images(source=str(parted), model=model(tmp_path), size=SIZE, split="class", class_name="dog")
    assert [record["class"] for record in task.request.forget] == ["dog"] * COUNTS["dog"]
    assert (
        {record["class"] for record in task.request.retain}
        == {"cat", "eel"}
        == {record["class"] for record in task.probes["test"]}
    )
    assert {record["class"] for record in task.probes["holdout"]} == {"dog"}
    assert "head_mask" in task.floors and task.request.scope == "topic"
    last = images(source=str(parted), model=model(tmp_path), size=SIZE, split="class")
    assert {record["class"] for record in last.request.forget} == {"eel"}


def test_where_nothing_is_unseen_half_of_the_test_set_stands_in(parted: Path, tmp_path: Path):
    shutil.copytree(parted / "train", tmp_path / "data" / "train")
    shutil.copytree(parted / "test", tmp_path / "data" / "test")
    task = images(source=str(tmp_path / "data"), model=model(tmp_path), size=SIZE, share=0.5)
    assert [len(task.probes[name]) for name in ("test", "holdout")] == [14, 13]
    assert {r["class"] for r in task.probes["test"]} == {r["class"] for r in task.probes["holdout"]} == set(NAMES)


def test_pictures_without_sets_are_divided_by_the_seed_and_trained_on_here(tmp_path: Path):
    folder = fill(tmp_path / "data")
    task, again = (images(source=str(folder), size=SIZE, epochs=2, share=0.2) for _ in range(2))
    counts = {name: len(records) for name, records in task.probes.items()}
    assert counts == {"forget": 4, "retain": 15, "test": 5, "holdout": 3}
    assert task.request.fingerprint() == again.request.fingerprint()
    assert images(source=str(folder), size=SIZE, share=0.2, seed=3).request.fingerprint() != task.request.fingerprint()
    assert task.control is not None
    target, control = task.target(0), task.control(1)
    assert "mia_loss" not in task.metrics and "Too few pictures for mia_loss" in task.note
    seen = observe(target, task.probes, task.spec), [observe(control, task.probes, task.spec)]
    assert all(np.isfinite(compute(call, *seen).value) for call in task.metrics)
    assert isinstance(target.module, SmallCNN) and target.fingerprint() != control.fingerprint()
    with pytest.raises(InputError, match="does not say what the model was trained on"):
        images(source=str(folder), model=model(tmp_path), size=SIZE)


def test_a_residual_network_is_trained_from_random_weights(tmp_path: Path):
    counts = {"cat": 6, "dog": 6}
    task = images(source=str(fill(tmp_path / "data", 0, counts)), size=SIZE, epochs=1, share=0.3, network="resnet")
    found = task.target(0)
    assert type(found.module).__name__ == "ResNetForImageClassification"
    assert found.module.config.id2label == {0: "cat", 1: "dog"}


def cut_short(folder: Path) -> None:
    path = min((folder / "train" / "cat").iterdir())
    path.write_bytes(path.read_bytes()[:60])


def animated(folder: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    frames[0].save(folder / "train" / "cat" / "moving.gif", save_all=True, append_images=frames[1:])


def another_class(folder: Path) -> None:
    (folder / "test" / "cat").rename(folder / "test" / "catt")


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (cut_short, {}, r"train, row 1, field 'image': .*png: is not a whole image"),
        (animated, {}, r"row \d+, field 'image': .*moving.gif: has 3 frames; save the one that is meant"),
        (another_class, {}, "the label 'catt' is none of the classes; did you mean 'cat'"),
        (lambda folder: shutil.rmtree(folder / "test"), {}, "holds neither a table nor images in class subfolders"),
        (
            lambda folder: None,
            {"class_name": "cats", "split": "class"},
            "images has no class 'cats', did you mean 'cat'",
        ),
        (lambda folder: None, {"share": 1.5}, "share is 1.5"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(parted: Path, tmp_path: Path, change: Callable[[Path], None],
                                                   options: dict, told: str):  # fmt: skip
    folder = tmp_path / "data"
    shutil.copytree(parted, folder)
    change(folder)
    with pytest.raises(InputError, match=told):
        images(source=str(folder), model=model(tmp_path), size=SIZE, **options)


def test_a_table_that_lists_a_missing_file_names_the_row(parted: Path, tmp_path: Path):
    file = table(parted, tmp_path)
    file.write_text(file.read_text().replace("/cat/3.png", "/cat/nowhere.png"))
    with pytest.raises(InputError, match=r"pictures.csv, row \d+, field 'image': .*nowhere.png: there is no such file"):
        images(source=str(file), model=model(tmp_path), size=SIZE)


def test_a_random_draw_that_takes_a_whole_class_is_refused(tmp_path: Path):
    for number, name in enumerate(("train", "test")):
        fill(tmp_path / "data" / name, 100 * number, {"cat": 20, "yak": 1})
    with pytest.raises(
        InputError, match=r"takes every one of the 1 training records of class 'yak'.*split=class class_name=yak"
    ):
        for seed in range(20):
            images(source=str(tmp_path / "data"), model=model(tmp_path, classes=2), size=SIZE, share=0.5, seed=seed)


def test_a_model_of_fewer_classes_than_the_source_is_refused(parted: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"name 3 classes .'cat'.* and the model has 2 without names"):
        images(source=str(parted), model=model(tmp_path, classes=2), size=SIZE)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": 1}, "is 3 x 8 x 8, and the model reads 1 x 8 x 8; convert the images to as many channels"),
        ({"size": 16}, "is 3 x 8 x 8, and the model reads 3 x 16 x 16; load the images with size=16"),
    ],
)
def test_a_model_of_another_shape_is_refused(parted: Path, tmp_path: Path, options: dict, told: str):
    task = images(source=str(parted), model=model(tmp_path, **options), size=SIZE)
    with pytest.raises(InputError, match=told):
        task.target(0).encode([*task.request.forget, *task.request.retain])


def test_there_is_no_such_source():
    with pytest.raises(InputError, match="no folder or table nowhere"):
        images(source="nowhere")
