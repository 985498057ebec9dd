import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lethe.data.load import from_hub, load_records
from lethe.errors import InputError
from lethe.request import Request

QA = [{"question": f"Who is number {n}?", "answer": f"Person {n}."} for n in range(4)]


def without_ids(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "id"} for record in records]


# One meaning, however it is written down.


def test_every_layout_of_json_means_the_same(write: Callable[[str, Any], Path]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in QA)
    for name, content in {
        "a.jsonl": QA,
        "b.json": lines,  # as TOFU's own files
        "c.json": QA,
        "d.json": {name: [row[name] for row in QA] for name in QA[0]},
        "e.jsonl": "\ufeff" + lines.replace("\n", "\r\n\r\n"),
        "f.csv": "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in QA),
        "g.tsv": "answer\tquestion\r\n" + "".join(f"{row['answer']}\t{row['question']}\r\n" for row in QA),
    }.items():
        assert without_ids(load_records(write(name, content))) == QA, name
    assert without_ids(load_records(write("one.json", QA[0]))) == QA[:1]


def test_plain_lines_whatever_the_name_says(write: Callable[[str, Any], Path]) -> None:
    path = write("idontknow.jsonl", "I'm not sure.\n\nNo idea.\r\n")
    with pytest.raises(InputError, match=r"line 1: is not JSON .*; .*pass format='txt' if it holds plain lines\."):
        load_records(path)
    assert [record["text"] for record in load_records(path, format="txt")] == ["I'm not sure.", "No idea."]
    assert load_records(write("a.txt", "One line")) == load_records(write("b/a.txt", "One line\n"))


def test_ids_are_kept_or_made_from_position_and_content(write: Callable[[str, Any], Path]) -> None:
    assert [r["id"] for r in load_records(write("a.jsonl", [{"id": 7, "text": "x"}, {"id": "b", "text": "y"}]))] == [
        "7",
        "b",
    ]
    path, copy = write("forget.jsonl", QA), write("elsewhere/forget.jsonl", QA)
    ids = [record["id"] for record in load_records(path)]
    assert ids == [record["id"] for record in load_records(copy)]  # no machine's folder in it
    assert [record["id"] for record in load_records(path, limit=2)] == ids[:2]
    assert len(set(ids)) == 4
    changed = load_records(write("forget.jsonl", [QA[0], {**QA[1], "answer": "Nobody."}]))
    assert [record["id"] == old for record, old in zip(changed, ids, strict=False)] == [True, False]


def test_official_names_are_translated(write: Callable[[str, Any], Path]) -> None:
    cure4rec = write("train.csv", "uid,iid,val\n0,14,1\n3,2,1\n")
    assert without_ids(load_records(cure4rec, family="recommender"))[1] == {"user": 3, "item": 2, "val": "1"}
    mmrec = write("baby.inter", "userID\titemID\trating\ttimestamp\tx_label\n5\t6\t5.0\t99\t0\n5\t7\t4.0\t98\t2\n")
    splits = {split: load_records(mmrec, family="recommender", split=split)[0]["item"] for split in ("train", "test")}
    assert splits == {"train": 6, "test": 7}
    members = write("members.jsonl", [{"prompt": "Once", "answer": "upon a time"}])
    assert without_ids(load_records(members)) == [{"question": "Once", "answer": "upon a time"}]


def test_a_folder_is_entered_by_config_and_split(tmp_path: Path, write: Callable[[str, Any], Path]) -> None:
    write("flat/forget10.json", QA[:1])
    write("flat/retain90.json", QA[1:])
    write("flat/README.md", "# a card is no data")
    write("deep/forget10/train.jsonl", QA[:1])
    for shard in range(2):
        pq.write_table(
            pa.Table.from_pylist(QA[shard : shard + 1]), tmp_path / f"deep/train-0000{shard}-of-00002.parquet"
        )
    assert len(load_records(tmp_path / "flat", config="forget10")) == 1
    assert len(load_records(f"{tmp_path}/flat:retain90@train")) == 3
    assert len(load_records(tmp_path / "flat", split="retain90")) == 3
    assert len(load_records(f"{tmp_path}/deep:forget10")) == 1
    assert [record["answer"] for record in load_records(tmp_path / "deep", split="train")] == ["Person 0.", "Person 1."]
    (tmp_path / "deep/train-00001-of-00002.parquet").rename(tmp_path / "deep/second.parquet")
    with pytest.raises(InputError, match=r"deep: shards are missing of 'train' \(train-00000-of-00002\.parquet\)"):
        load_records(tmp_path / "deep", split="train")
    write("twice/a.json", QA)
    write("twice/a.jsonl", QA)
    with pytest.raises(InputError, match=r"twice: there are several files of 'a' \(a\.json, a\.jsonl\); mend"):
        load_records(tmp_path / "twice")
    with pytest.raises(InputError, match=r"flat: holds forget10, retain90; name one\."):
        load_records(tmp_path / "flat")
    with pytest.raises(InputError, match=r"holds no 'forget1'; did you mean 'forget10'\?"):
        load_records(tmp_path / "flat", config="forget1")
    with pytest.raises(InputError, match=r"has no split 'test'; there is 'train'\."):
        load_records(tmp_path / "flat", config="forget10", split="test")


# Images.


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for row, name in enumerate(["cat/a.png", "cat/b.jpg", "dog/c.png"]):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        noise = generator.integers(0, 256, (20, 30 + row, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "faces" / name)
    return tmp_path / "faces"


def test_image_folder(pictures: Path) -> None:
    records = load_records(pictures, family="classifier", size=16)
    assert [(r["class"], r["label"], r["path"]) for r in records] == [
        ("cat", 0, "cat/a.png"),
        ("cat", 0, "cat/b.jpg"),
        ("dog", 1, "dog/c.png"),
    ]
    for record in records:
        assert record["image"].shape == (3, 16, 16)
        assert record["image"].dtype == np.float32
        assert 0 <= record["image"].min() < 0.5 < record["image"].max() <= 1
    # A part of the source numbers its classes like the whole, when told the order.
    (dog,) = load_records(pictures, family="classifier", size=(4, 8), classes=["bird", "dog", "cat"])[2:]
    assert (dog["label"], dog["image"].shape) == (1, (3, 4, 8))


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
    (tmp_path / "x").mkdir()
    Image.fromarray(pixels).save(tmp_path / "x" / "a.png")
    (record,) = load_records(tmp_path, family="classifier")
    np.testing.assert_array_equal(record["image"], pixels.transpose(2, 0, 1).astype(np.float32) / 255)


def test_image_folder_refusals(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 2, field 'image': has the shape \(3, 20, 31\) .* pass a size\."):
        load_records(pictures, family="classifier")
    with pytest.raises(InputError, match=r"row 1, field 'image': has no size 0; pass at least 1 pixel"):
        load_records(pictures, family="classifier", size=0)
    with pytest.raises(InputError, match=r"the label 'cat' is none of the classes; did you mean 'cats'\?"):
        load_records(pictures, family="classifier", size=8, classes=["cats", "dog"])
    whole = (pictures / "cat" / "b.jpg").read_bytes()
    (pictures / "cat" / "b.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"row 2, field 'image': .*b\.jpg: is not a whole image"):
        load_records(pictures, family="classifier", size=8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds neither a table nor images in class subfolders"):
        load_records(tmp_path / "empty", family="classifier")
    Image.new("RGB", (2, 2)).save(tmp_path / "empty" / "a.png")
    with pytest.raises(InputError, match="images have no labels; put them into one subfolder per class"):
        load_records(tmp_path / "empty", family="classifier")
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.zeros((2, 2), dtype=np.uint16)).save(tmp_path / "deep" / "a.png")
    (tmp_path / "t.csv").write_text("image,label\ndeep/a.png,0\n")
    with pytest.raises(InputError, match="more than 8 bits per channel"):
        load_records(tmp_path / "t.csv", family="classifier")


def test_table_of_images_as_in_mufac(tmp_path: Path) -> None:
    (tmp_path / "train_images").mkdir()
    Image.new("RGB", (4, 4), "white").save(tmp_path / "train_images" / "F0001_AGE_D_18_a1.jpg")
    table = tmp_path / "custom_train_dataset.csv"
    table.write_text("image_path,age_class\nF0001_AGE_D_18_a1.jpg,c\n")
    (record,) = load_records(table, family="classifier")
    assert (record["label"], record["path"]) == (2, "F0001_AGE_D_18_a1.jpg")
    assert record["image"].min() > 0.98
    table.write_text("image_path,age_class\nF0001_AGE_D_18_a1.jpg,z\n")
    with pytest.raises(InputError, match=r"row 1, field 'age_class': is 'z'; write one of a, b, c, d, e, f, g, h\."):
        load_records(table, family="classifier")
    table.write_text("image_path,age_class\nF0002.jpg,a\n")
    with pytest.raises(InputError, match=r"field 'image': .*F0002\.jpg: there is no such file; check the path"):
        load_records(table, family="classifier")

    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "F0001_AGE_D_18_a1.jpg").touch()
    table.write_text("image_path,age_class\nF0001_AGE_D_18_a1.jpg,c\n")
    with pytest.raises(InputError, match=r"stands in .*more and .*train_images; write the folder into the path"):
        load_records(table, family="classifier")
    for name in ("/dev/zero", ".", "x" * 5000, "a\0b"):
        table.write_text(f"image_path,age_class\n{name},c\n")
        with pytest.raises(InputError, match=r"row 1, field 'image': .*check the path"):
            load_records(table, family="classifier")


# The hub, by way of a folder in the hub's layout.


def test_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    layout = tmp_path / "TOFU"
    layout.mkdir()
    (layout / "README.md").write_text("---\nconfigs:\n- config_name: forget10\n  data_files: forget10.json\n---\n")
    (layout / "forget10.json").write_text("".join(json.dumps(row) + "\n" for row in QA))
    assert from_hub(str(layout), "forget10").rows == QA
    with pytest.raises(InputError, match=r"TOFU:forget11@train: the hub could not give it \(.*forget10"):
        from_hub(str(layout), "forget11")
    with pytest.raises(InputError, match=r"TOFU:forget10@test: the hub could not give it \(.*test"):
        from_hub(str(layout), "forget10", "test")
    with pytest.raises(InputError, match=r"nobody/nothing@train: the hub could not give it"):
        load_records("nobody/nothing")


def test_hub_gives_images_as_bytes_and_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    for name in ("ape", "bee"):
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
        Image.new("RGB", (3, 3), "red").save(tmp_path / "set" / "train" / name / "1.png")
    table = from_hub(str(tmp_path / "set"))
    assert table.classes == ["ape", "bee"]
    assert [row["label"] for row in table.rows] == [0, 1]
    assert set(table.rows[0]["image"]) == {"bytes", "path"}


# Embedded worlds.


def test_a_world_is_read_like_a_file(tmp_path: Path) -> None:
    records = load_records("tiny:authors:forget10", seed=3)
    assert records == load_records("tiny:authors", split="forget10", seed=3) != load_records("tiny:authors:forget10")
    (tmp_path / "forget10.json").write_text(json.dumps(records))
    assert load_records(tmp_path / "forget10.json") == records
    retain, holdout = (load_records(f"tiny:authors:{split}", seed=3) for split in ("retain90", "holdout10"))
    assert len(Request(records, retain, holdout).retain) == len(retain)
    with pytest.raises(InputError, match=r"a recommender record needs {user, item}"):
        load_records("tiny:authors:forget10", family="recommender")


def test_nothing_heavy_is_imported_by_the_loader() -> None:
    code = "import sys, lethe.data.load, lethe.request; print([m for m in sys.modules if re.match(BIG, m)])"
    big = r"(torch|pandas|pyarrow|PIL|datasets|transformers|scipy)$"
    done = subprocess.run([sys.executable, "-c", f"import re; BIG = {big!r}; {code}"], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"


# Real data.


def test_tofu_as_published(official: Path) -> None:
    forget = load_records(official / "tofu" / "forget10_qa.jsonl")
    assert len(forget) == 400
    assert forget[360]["question"].startswith("What is the full name of the author born in Kuwait City")
    retain = load_records(official / "npo" / "tofu_retain_perturbed.json")
    assert len(retain) == 400
    assert all(len(record["perturbed_answer"]) == 5 for record in retain)
    assert len(load_records(f"{official / 'npo'}:tofu_forget05@train")) == 200
    everything = [record["question"] for record in forget]
    for split, size in (("05", 200), ("01", 40)):  # ten authors of twenty questions, and two
        nested = load_records(f"{official / 'npo'}:tofu_forget{split}")
        assert [record["question"] for record in nested] == everything[-size:]
    assert len(load_records(official / "tofu" / "world_facts_perturbed.json")) == 117
    assert len(load_records(official / "tofu" / "real_authors_perturbed.json")) == 100
    refusals = load_records(official / "tofu" / "idontknow.jsonl", format="txt")
    assert len(refusals) == 100


def test_cure4rec_as_published(official: Path) -> None:
    table = official / "cure4rec-adm" / "adm_10core.tsv"
    train = load_records(table, family="recommender", split="train")
    test = load_records(table, family="recommender", split="test")
    assert (len(train), len(test)) == (18508, 4264)
    assert len({record["user"] for record in train}) == 1049
    assert {record["item"] for record in test} <= {record["item"] for record in train}
    with pytest.raises(InputError, match=re.escape("has no split 'tset'; did you mean 'test'?")):
        load_records(table, family="recommender", split="tset")
