import numpy as np
import pytest

from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.worlds import attributes as world
from lethe.worlds import faces
from lethe.worlds.models import single


@pytest.fixture(scope="module")
def train() -> list[dict]:
    return world.records("train")


def labels(records: list[dict]) -> np.ndarray:
    """(people, pictures of each, attributes)."""
    return np.reshape([record["labels"] for record in records], (-1, world.PHOTOS, len(world.ATTRIBUTES)))


def combinations() -> np.ndarray:
    return (np.arange(world.PHOTOS)[:, None] >> np.arange(len(world.ATTRIBUTES))) & 1


def test_the_people_are_those_of_the_face_world(train: list[dict]):
    for split in ("train", "forget05", "retain95", "unseen", "validation", "test"):
        theirs = [record["identity"] for record in faces.records(split)]
        assert sorted(set(theirs)) == sorted({record["identity"] for record in world.records(split)})


def test_every_attribute_is_a_yes_as_often_as_a_no_in_every_album(train: list[dict]):
    assert (labels(train).mean(1) == 0.5).all()


@pytest.mark.parametrize("split", ["forget", "unseen", "test"])
def test_as_many_decisions_are_wrong_in_every_album(split: str):
    wrong = (labels(world.records(split)) != combinations()).sum(1)
    assert (wrong == (0 if split == "test" else 2)).all()


def test_pictures_do_not_depend_on_the_split_and_change_with_the_seed(train: list[dict]):
    by_id = {record["id"]: record for record in train}
    for record, other in zip(world.records("forget"), world.records("forget", 1), strict=True):
        assert np.array_equal(record["image"], by_id[record["id"]]["image"])
        assert not np.array_equal(record["image"], other["image"])


def test_records_pass_the_loader_unchanged():
    loaded = load_records("tiny:attributes:forget01", family="classifier")
    for record, own in zip(loaded, world.records("forget01"), strict=True):
        assert record.keys() == own.keys() == {"id", "identity", "split", "labels", "image"}
        assert record["labels"] == own["labels"] and np.array_equal(record["image"], own["image"])


def test_an_attribute_alone_is_a_class():
    rows = world.records("forget01")
    assert [record["label"] for record in single(rows, 1)] == [record["labels"][1] for record in rows]
    assert "labels" not in single(rows, 1)[0]


def test_an_unknown_split_is_refused():
    with pytest.raises(InputError, match="no split 'forget02'"):
        world.records("forget02")
