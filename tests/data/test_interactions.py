"""Recommenders' data: sparse matrices, atomic files, item features, ids from 1, and what a request means."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from lethe.data import interactions
from lethe.data.load import load_records
from lethe.data.sparse import load_features
from lethe.errors import InputError

PAIRS = [(0, 1), (0, 3), (2, 0), (2, 3)]


def pairs(records: Any) -> list[tuple[int, int]]:
    return [(record["user"], record["item"]) for record in records]


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_sparse_matrices_are_read_row_by_row(form: str, tmp_path: Path):
    rows, columns = zip(*PAIRS, strict=True)
    held = sparse.coo_matrix((np.array([1.0, 2.0, 1.0, 5.0]), (rows, columns)), shape=(4, 5))
    sparse.save_npz(tmp_path / "train.npz", held.asformat(form))
    assert pairs(load_records(tmp_path / "train.npz", family="recommender")) == PAIRS
    with_zero = sparse.coo_matrix(([1.0, 0.0, 1.0], ([0, 0, 0], [1, 2, 1])), shape=(1, 3))
    sparse.save_npz(tmp_path / "zero.npz", with_zero)
    assert pairs(load_records(tmp_path / "zero.npz", family="recommender")) == [(0, 1)]


def test_broken_and_pickled_arrays_are_refused(tmp_path: Path):
    path = tmp_path / "train.npz"
    whole = {"indices": [0, 1], "indptr": [0, 1, 2], "format": b"csr", "shape": [2, 2], "data": [1, 1]}
    for change, said in (
        ({"indices": [0, 7]}, "outside its shape"),
        ({"indptr": [0, 2]}, "do not add up"),
        ({"format": b"dia"}, "none of csr, csc, coo"),
        ({"data": np.array([{}, 1], dtype=object)}, "Object arrays cannot be loaded"),
    ):
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in {**whole, **change}.items()}
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=said):
            load_records(path, family="recommender")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="no intact matrix"):
        load_records(path, family="recommender")


@pytest.mark.parametrize("name", ["trn_mat.pkl", "trn_mat.mat", "pos_dict.npy"])
def test_what_runs_code_is_refused_with_what_to_do(name: str, tmp_path: Path):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match=r"npz|train\.csv"):
            load_records(source, family="recommender")


def test_atomic_files_of_recbole_say_their_types(write: Callable[[str, Any], Path]):
    typed = write("ml.inter", "user_id:token\titem_id:token\trating:float\tx_label:token\n1\t2\t4.0\t0\n1\t3\t1.0\t1\n")
    assert pairs(load_records(typed, family="recommender", split="valid")) == [(1, 3)]
    wrong = write("bad.inter", "user_id:token\titem_id:token\tx_label:token\n1\t2\t3\n")
    with pytest.raises(InputError, match=r"field 'x_label': is 3; write one of 0, 1, 2"):
        load_records(wrong, family="recommender")


def test_features_fit_the_items(tmp_path: Path):
    path = tmp_path / "image_feat.npy"
    np.save(path, np.arange(6, dtype=np.float64).reshape(3, 2))
    assert load_features(path, 3).dtype == np.float32
    with pytest.raises(InputError, match="holds features of 3 items and there are 4"):
        load_features(path, 4)
    for content, said in (
        (np.arange(3.0), "no table of numbers"),
        (np.array([[1.0], [np.nan]]), "row 1: holds NaN"),
        (np.array([{}], dtype=object), "pickled objects"),
    ):
        np.save(path, content)
        with pytest.raises(InputError, match=said):
            load_features(path, 2)
    with pytest.raises(InputError, match="no such file"):
        load_features(tmp_path / "none.npy", 2)


def records(found: list[tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"id": f"{u}-{i}", "user": u, "item": i} for u, i in found]


def test_ids_from_1_are_found_out_or_told():
    one = [(user + 1, item + 1) for user, item in PAIRS]
    for base, given, wanted in (("auto", one, 1), ("1", one, 1), ("auto", PAIRS, 0), ("0", one, 0)):
        moved, step = interactions.shifted(records(given), base)  # pyright: ignore[reportArgumentType]
        assert step == wanted
        assert pairs(moved) == [(user - step, item - step) for user, item in given]
    with pytest.raises(InputError, match="there is user 0, and its ids should begin at 1"):
        interactions.shifted(records(PAIRS), "1")


def test_repeated_interactions_and_ids_with_gaps_are_named():
    with pytest.raises(InputError, match="train, row 3: user 0 and item 1 stand in row 1 as well"):
        interactions.check_once(records([(0, 1), (1, 1), (0, 1)]), "train")
    assert interactions.counts(records(PAIRS), "train") == (3, 4)
    assert interactions.unused(records(PAIRS)) == (
        "No interaction has 1 user id below the highest and 1 item id below the highest."
    )
    with pytest.raises(InputError, match="2 items have ids up to 70000001; number them from 0"):
        interactions.counts(records([(0, 70000001), (1, 5)]), "train")


def test_a_request_names_interactions_users_or_items():
    asked = [{"user": 2}, {"item": 3}, {"user": 0, "item": 1}]
    assert pairs(interactions.expand(asked, PAIRS)) == [(2, 0), (2, 3), (0, 3), (0, 1)]
    pictures = interactions.expand([{"item": 3, "modality": "image"}], PAIRS)
    assert [(one["id"], one["modality"]) for one in pictures] == [("u0-i3-image", "image"), ("u2-i3-image", "image")]
    assert pairs(interactions.remaining(PAIRS, pictures)) == PAIRS  # the interactions stay
    for asked, said in (
        ([{"user": 7}], "row 1: user 7 is in none of the interactions"),
        ([{"user": 0, "item": 0}], "row 1: user 0 and item 0 are no interaction"),
        ([{"user": 1, "item": 2}, {"user": 3, "item": 4}], "request's ids seem to begin at 1"),
    ):
        with pytest.raises(InputError, match=said):
            interactions.expand(asked, PAIRS)


def test_a_request_file_may_mix_them_and_the_rest_is_retained(write: Callable[[str, Any], Path]):
    edges = list(zip(*PAIRS, strict=True))
    mixed = write("requests.tsv", "user\titem\n2\t\n\t1\n")
    forget, retain = interactions.requested(mixed, "", edges)
    assert (pairs(forget), pairs(retain)) == ([(2, 0), (2, 3), (0, 1)], [(0, 3)])
    with pytest.raises(InputError, match="row 2: names neither user nor item"):
        interactions.requested([{"user": 2}, {"id": "b"}], "", edges)
    with pytest.raises(InputError, match="there is no field 'usr'; rename it to 'user'"):
        interactions.requested(write("bad.tsv", "usr\titem\n2\t1\n"), "", edges)


def test_cure4rec_as_published_begins_at_0(data_dir: Path):
    table = data_dir / "cure4rec-adm" / "adm_10core.tsv"
    found = load_records(table, family="recommender")
    assert interactions.shifted(found, "auto")[1] == 0
    assert interactions.counts(found, "adm") == (1049, 990)
    interactions.check_once(found, "adm")
