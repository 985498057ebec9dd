import subprocess
import sys

import numpy as np
import pytest

from lethe.data.content import digest
from lethe.data.load import load_records
from lethe.errors import InputError
from lethe.request import Request
from lethe.worlds import digits

HASHED = """
from lethe.data.content import digest
from lethe.worlds import records
print(digest([records("digits", split, 3) for split in ("train", "unseen", "test")]))
"""


def ids(split: str, seed: int = 0) -> list[str]:
    return [record["id"] for record in digits.records(split, seed)]


def test_every_process_makes_the_same_records():
    run = subprocess.run([sys.executable, "-c", HASHED], capture_output=True, text=True, check=True)
    assert run.stdout == digest([digits.records(split, 3) for split in ("train", "unseen", "test")]) + "\n"
    assert ids("train", 1) != ids("train")


def test_every_scan_stands_in_one_split():
    everything = [name for split in ("forget", "retain", "unseen", "test") for name in ids(split)]
    assert len(everything) == len(set(everything)) == 1797
    assert ids("train") == ids("forget") + ids("retain")


def test_records_pass_the_loader_unchanged():
    for loaded, own in zip(
        load_records("tiny:digits:unseen", family="classifier"), digits.records("unseen"), strict=True
    ):
        assert loaded.keys() == own.keys() == {"id", "split", "label", "digit", "features"}
        assert np.array_equal(loaded["features"], own["features"])
        assert loaded["features"].shape == (64,)
        assert 0 <= loaded["features"].min() < loaded["features"].max() <= 1


def test_labels_are_wrong_where_membership_is_looked_for_and_right_where_utility_is():
    share = {
        split: np.mean([record["label"] != record["digit"] for record in digits.records(split)])
        for split in ("train", "unseen", "test")
    }
    assert share["test"] == 0
    for split, count in (("train", 320), ("unseen", 400)):
        assert abs(share[split] - digits.NOISE) < 3 * np.sqrt(digits.NOISE * (1 - digits.NOISE) / count)


@pytest.mark.parametrize("number", [0, 9])
def test_a_class_is_all_of_one_label_and_the_rest(number: int):
    forget, retain = digits.records(f"forget_class{number}"), digits.records(f"retain_class{number}")
    assert {record["label"] for record in forget} == {number}
    assert number not in {record["label"] for record in retain}
    assert sorted(record["id"] for record in forget + retain) == sorted(ids("train"))


@pytest.mark.parametrize("ending", ["", "_class9"])
def test_no_row_stands_on_both_sides_of_a_request(ending: str):
    sets = (digits.records(f"forget{ending}"), digits.records(f"retain{ending}"), digits.records("unseen"))
    assert Request(*sets).forget


def test_changing_a_record_changes_no_other_reader():
    digits.records("forget")[0]["features"][:] = 0.5
    assert digits.records("forget")[0]["features"].max() == 1.0


@pytest.mark.parametrize("split", ["valid", "forget_class10", "unseen_class1"])
def test_an_unknown_split_is_refused(split: str):
    with pytest.raises(InputError, match=f"no split '{split}' in the digits world"):
        digits.records(split)
