"""CelebA-HQ's own files, as MUCAC divides them; the contracts hold the embedded world."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lethe.benchmarks.mucac import mucac
from lethe.data import celeba
from lethe.data.identities import apart
from lethe.errors import InputError
from lethe.models.classifier import Classifier
from lethe.models.nets import SmallCNN
from lethe.request import Request

SIZE = 16
WHO = {  # people on both sides of every bound
    "test": (0, 189),
    "forget": (190, 1249),
    "retain": (1250, 4854),
    "holdout": (4855, 6216),
}
NAMES = [f"Attribute_{number}" for number in range(celeba.WIDTH)]
for name, place in celeba.COLUMNS.items():
    NAMES[place] = name.capitalize()
PEOPLE = [number for numbers in WHO.values() for number in numbers]


def write(folder: Path, *, drop: int = 0) -> Path:
    """One picture of each person, number.jpg, with labels that spell the row's number in binary."""
    (folder / "CelebA-HQ-img").mkdir(parents=True)
    rng = np.random.default_rng(0)
    identities, rows = [], []
    for row, who in enumerate(PEOPLE):
        name = f"{row}.png"
        identities.append(f"{name} {who}")
        values = ["-1"] * celeba.WIDTH
        for bit, place in enumerate(celeba.COLUMNS.values()):
            values[place] = "1" if row >> bit & 1 else "-1"
        rows.append(f"{name}  {' '.join(values)}")
        picture = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        if row >= drop:
            Image.fromarray(picture).save(folder / "CelebA-HQ-img" / name)
    (folder / celeba.IDENTITIES).write_text("\n".join(identities) + "\n")
    (folder / celeba.ATTRIBUTES).write_text("\n".join([str(len(rows)), " ".join(NAMES), *rows]) + "\n")
    return folder


def model(folder: Path, outputs: int = 3) -> str:
    net = SmallCNN(channels=3, classes=outputs, size=SIZE, multi_label=outputs == 3)
    return str(Classifier(net).save(folder / f"model{outputs}"))


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mucac") / "data")


def test_people_are_divided_by_their_number(official: Path, tmp_path: Path):
    task = mucac(source=str(official), model=model(tmp_path), size=SIZE)
    found = {name: [record["identity"] for record in records] for name, records in task.probes.items()}
    assert found == {name: list(numbers) for name, numbers in WHO.items()}
    assert [record["identity"] for record in task.request.holdout] == list(WHO["holdout"])
    labels = [record["labels"] for name in WHO for record in task.probes[name]]
    assert labels == [[row >> bit & 1 for bit in range(3)] for row in range(len(PEOPLE))]
    one = task.probes["retain"][0]
    assert one["image"].shape == (3, SIZE, SIZE) and 0 <= one["image"].min() <= one["image"].max() <= 1
    target = task.target(0)
    assert target.logits(target.collate(target.encode(task.probes["test"]), [0, 1])).shape == (2, 3, 2)


@pytest.mark.parametrize(("attribute", "bit"), [("gender", 0), ("male", 0), ("smiling", 1), ("young", 2)])
def test_one_attribute_is_a_class_of_two(official: Path, tmp_path: Path, attribute: str, bit: int):
    task = mucac(source=str(official), model=model(tmp_path, 2), size=SIZE, attribute=attribute)
    assert [record["label"] for record in task.probes["retain"]] == [4 >> bit & 1, 5 >> bit & 1]
    assert task.target(0).encode(task.probes["retain"])


def test_a_model_of_the_other_kind_is_refused(official: Path, tmp_path: Path):
    task = mucac(source=str(official), model=model(tmp_path, 2), size=SIZE)
    with pytest.raises(InputError, match="needs label"):
        task.target(0).encode(task.probes["retain"])


def test_the_embedded_world_knows_single_attributes_too():
    task = mucac(attribute="smiling")
    assert {record["label"] for record in task.request.forget} == {0, 1}
    with pytest.raises(InputError, match="no attribute 'smile', did you mean 'smiling'"):
        mucac(attribute="smile")


def test_missing_pictures_are_counted_and_left_out_only_on_request(tmp_path: Path):
    folder = write(tmp_path / "data", drop=1)
    with pytest.raises(
        InputError, match=r"1 of the 8 pictures .* are missing, the first is 0.png; or set allow_missing"
    ):
        mucac(source=str(folder), model=model(tmp_path), size=SIZE)
    task = mucac(source=str(folder), model=model(tmp_path), size=SIZE, allow_missing=True)
    assert [record["identity"] for record in task.probes["test"]] == [189]
    assert "1 of the listed pictures are missing" in task.note


def test_no_pictures_at_all_are_never_accepted(tmp_path: Path):
    folder = write(tmp_path / "data", drop=len(PEOPLE))
    with pytest.raises(InputError, match=r"8 of the 8 pictures .* put the pictures there"):
        mucac(source=str(folder), model=model(tmp_path), size=SIZE, allow_missing=True)


def attributes(change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / celeba.ATTRIBUTES
        path.write_text(change(path.read_text()))

    return apply


def identities(change: Callable[[str], str]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / celeba.IDENTITIES
        path.write_text(change(path.read_text()))

    return apply


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (attributes(lambda text: text.replace("Smiling", "Smilling")), "did you mean 'smilling'"),
        (
            attributes(lambda text: text.replace("Attribute_0 ", "")),
            "names 'male' as attribute 20 of 39; CelebA-HQ has",
        ),
        (attributes(lambda text: text.replace("Male", "X").replace("Attribute_3", "Male")), "as attribute 4 of 40"),
        (attributes(lambda text: "\n".join(text.splitlines()[:-1])), "says '8' pictures and has 7; it is truncated"),
        (
            attributes(lambda text: text.replace("-1 -1", "0 -1")),
            "line 3: holds 40 values; write the file name and 40",
        ),
        (attributes(lambda text: text.replace("7.png", "70.png")), "has no line for '7.png'"),
        (identities(lambda text: text.replace("3.png 1249", "3.png")), "line 4: is '3.png'; write a file name and the"),
        (identities(lambda text: text + "3.png 4000\n"), "line 9: '3.png' stands in an earlier line as well"),
        (identities(lambda text: ""), "is empty"),
        (lambda folder: (folder / celeba.IDENTITIES).unlink(), "there is no such file"),
        (lambda folder: (folder / "CelebA-HQ-img" / "2.png").write_bytes(b"no picture"), "2.png: is not a whole image"),
    ],
)
def test_files_in_another_form_are_refused(tmp_path: Path, spoil: Callable[[Path], None], told: str):
    folder = write(tmp_path / "data")
    spoil(folder)
    with pytest.raises(InputError, match=told):
        mucac(source=str(folder), model=model(tmp_path), size=SIZE)


def test_nobody_stands_on_two_sides():
    rows = [{"id": str(number), "identity": number % 3, "features": [float(number)], "label": 0} for number in range(6)]
    apart({"forget": [rows[0], rows[3]], "retain": rows[1:3]})
    with pytest.raises(InputError, match=r"identity 0 stands in forget \('0'\) and in retain \('3'\); move all its"):
        Request(rows[:1], rows[1:])
    assert Request(rows[:1], rows[1:], scope="sample").retain
    assert Request(rows[:1], rows[1:], allow_overlap=True).retain
