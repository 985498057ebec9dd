import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from lethe.data.content import digest
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.request import Request, overlap
from lethe.worlds import faces
from lethe.worlds.population import Population

HASHED = """
from lethe.data.content import digest
from lethe.worlds import records
print(digest([records("faces", split, 3) for split in ("forget01", "test")]))
"""


@pytest.fixture(scope="module")
def train() -> list[dict]:
    return faces.records("train")


def identities(records: list[dict]) -> set[str]:
    return {record["identity"] for record in records}


def pictures(records: list[dict]) -> np.ndarray:
    """(people, pictures of each, pixels)."""
    stacked = np.stack([record["image"] for record in records]).astype(np.float64)
    return stacked.reshape(len(identities(records)), faces.PHOTOS, -1)


def test_every_process_draws_the_same_bytes():
    run = subprocess.run([sys.executable, "-c", HASHED], capture_output=True, text=True, check=True)
    assert run.stdout == digest([faces.records(split, 3) for split in ("forget01", "test")]) + "\n"


def test_another_seed_shows_other_people():
    same, other = faces.records("forget01"), faces.records("forget01", 1)
    assert [record["id"] for record in same] == [record["id"] for record in other]
    assert not any(np.array_equal(a["image"], b["image"]) for a, b in zip(same, other, strict=True))


def test_records_pass_the_loader_unchanged():
    loaded = load_records("tiny:faces:forget", family="classifier")
    for record, own in zip(loaded, faces.records("forget"), strict=True):
        assert record.keys() == own.keys() == {"id", "identity", "split", "label", "image"}
        assert record["image"].shape == (3, faces.SIZE, faces.SIZE)
        assert record["image"].dtype == np.float32
        assert np.array_equal(record["image"], own["image"])
        assert 0 <= record["image"].min() < record["image"].max() <= 1
        assert 0 <= record["label"] < len(faces.AGES)
        assert record["split"] == "train"


def test_pictures_survive_a_file_of_8_bits(train: list[dict]):
    steps = train[0]["image"].astype(np.float64) * 255
    assert np.abs(steps - steps.round()).max() < 1e-4


def test_people_of_train_test_and_unseen_are_disjoint(train: list[dict]):
    sets = [identities(train), identities(faces.records("test")), identities(faces.records("unseen"))]
    assert [len(people) for people in sets] == [60, 30, 6]
    assert len(set.union(*sets)) == 96


@pytest.mark.parametrize(("forget", "retain"), faces.RETAIN.items())
def test_forget_and_retain_are_the_people_of_the_authors_world(train: list[dict], forget: str, retain: str):
    gone, kept = faces.records(forget), faces.records(retain)
    assert identities(gone) == {person.id for person in Population(0).group(forget)}
    assert [record["id"] for record in kept + gone] == [record["id"] for record in train]
    by_id = {record["id"]: record for record in train}
    assert all(np.array_equal(record["image"], by_id[record["id"]]["image"]) for record in gone)


def test_the_plain_names_are_tofus_tenth():
    for plain, named in (("forget", "forget10"), ("retain", "retain90")):
        assert [record["id"] for record in faces.records(plain)] == [record["id"] for record in faces.records(named)]


def test_identity_says_nothing_of_the_label(train: list[dict]):
    people = sorted(identities(train))
    table = np.zeros((len(people), len(faces.AGES)))
    for record in train:
        table[people.index(record["identity"]), record["label"]] += 1
    assert (table == faces.PHOTOS / len(faces.AGES)).all()  # so no test of independence can find anything
    statistic, *_ = chi2_contingency(table)
    assert statistic == 0


@pytest.mark.parametrize("split", ["forget", "unseen", "test"])
def test_as_many_labels_are_wrong_in_every_album(split: str):
    wrong = [record["label"] != number % len(faces.AGES) for number, record in enumerate(faces.records(split))]
    albums = np.reshape(wrong, (-1, faces.PHOTOS)).sum(1)
    assert (albums == (0 if split == "test" else faces.SWAPPED)).all()


def test_nobody_stands_on_both_sides_of_a_request():
    forget, retain, unseen = (faces.records(split) for split in ("forget", "retain", "unseen"))
    assert Request(forget, retain, unseen).forget
    assert not overlap(forget, faces.records("test"))


def test_the_same_face_under_other_grain_is_refused(train: list[dict]):
    """The check that the worlds' own pictures pass would find a copy that differs by a little noise."""
    noise = np.random.default_rng(0).normal(0, 0.01, train[0]["image"].shape)
    twin = {
        **train[0],
        "id": "twin",
        "identity": "another",
        "image": np.clip(train[0]["image"] + noise, 0, 1).astype(np.float32),
    }
    with pytest.raises(InputError, match="alike"):
        Request([train[0]], [twin, *train[faces.PHOTOS : faces.PHOTOS + 4]])


def test_a_person_is_known_by_half_of_the_pictures(train: list[dict]):
    """People differ by more than pose, light, age and grain move the mean picture of one of them."""
    albums = pictures(train)
    one, other = (half.mean(1) for half in np.split(albums, 2, axis=1))  # all ages are in both
    apart = ((one[:, None] - other[None]) ** 2).mean(-1)
    own, others = np.diag(apart), apart[~np.eye(len(apart), dtype=bool)]
    assert np.median(own) < 0.4 * np.median(others)


def test_single_pictures_of_different_people_differ_more(train: list[dict]):
    albums = pictures(train)[:, :: len(faces.AGES)]  # of one age, so that only person and picture differ
    people, photos, _ = albums.shape
    flat = albums.reshape(people * photos, -1)
    squares = (flat**2).sum(1)
    apart = squares[:, None] + squares - 2 * flat @ flat.T
    same = np.kron(np.eye(people, dtype=bool), np.ones((photos, photos), dtype=bool))
    itself = np.eye(len(flat), dtype=bool)
    assert apart[same & ~itself].mean() < 0.9 * apart[~same].mean()


def test_age_shows_in_the_picture(train: list[dict]):
    """Everybody else's mean pictures of the four ages tell a person's ages far better than chance, 0.25."""
    albums = pictures(train).reshape(60, -1, len(faces.AGES), 3 * faces.SIZE**2).mean(1)  # (people, ages, pixels)
    centred = albums - albums.mean(1, keepdims=True)
    hits = []
    for person in range(60):
        ideal = np.delete(centred, person, 0).mean(0)
        hits.append(np.argmax(centred[person] @ ideal.T, 1) == np.arange(len(faces.AGES)))
    assert np.mean(hits) > 0.45


def test_an_unknown_split_is_refused():
    with pytest.raises(InputError, match="no split 'forget20' in the faces world"):
        faces.records("forget20")
