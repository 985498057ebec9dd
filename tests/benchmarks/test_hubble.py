"""Hubble: twins that differ in the insertions alone, levels that differ in copies alone, and the official layout."""

import json
from pathlib import Path

import numpy as np
import pytest

from lethe.benchmarks.hubble import hubble
from lethe.errors import InputError
from lethe.evidence import observe
from lethe.headlines import hubble_memorization
from lethe.measure import compute
from lethe.worlds import canaries
from lethe.worlds.cache import cache_folder


def test_the_twins_read_the_same_but_for_the_insertions():
    entries = canaries.entries()
    inserted = canaries.perturbed(entries, canaries.WINDOWS)
    standard = canaries.windows(canaries.WINDOWS)
    changed = (inserted.windows != standard).any(axis=1)
    assert changed.sum() == len(inserted.log) == sum(entry["meta"]["duplicates"] for entry in entries)
    counts = dict.fromkeys(canaries.SIZES, 0)
    for entry in entries:
        counts[entry["meta"]["duplicates"]] += 1
    assert counts == canaries.SIZES
    small, large = canaries.windows(50), canaries.windows(80)
    assert (large[:50] == small).all()  # a larger corpus goes on where the smaller one ends
    told = " ".join(canaries.documents(2000))
    assert not [entry["id"] for entry in entries if entry["text"].partition(";")[0] + ";" in told]


def test_memorisation_grows_with_the_copies():
    task = hubble()
    seen = observe(task.target(0), task.probes, task.spec, cache=cache_folder() / "evidence")
    recall = {name: compute(f"duplicates:set={name}", seen) for name in ("holdout", "level16", "forget")}
    assert recall["holdout"].value < recall["level16"].value < recall["forget"].value
    assert recall["holdout"].high < recall["forget"].low
    assert compute("membership:set=forget", seen).value > 0.95
    assert compute("membership:set=level1", seen).value < 0.9
    assert "level64" not in task.probes  # the level that is forgotten and kept


def rows(levels: dict[int, int]) -> list[dict]:
    return [
        {
            "text": f"Person {level} {number} was born in the town of T{level}n{number} and lived there as a baker.",
            "meta": json.dumps({"duplicates": level, "uuid": f"{level}-{number}"}),
        }
        for level, count in levels.items()
        for number in range(count)
    ]


def test_the_official_layout(tmp_path: Path):
    file = tmp_path / "biographies_yago_nodup.jsonl"
    file.write_text("\n".join(map(json.dumps, [*rows({0: 4, 16: 3, 256: 6}), rows({0: 1})[0]])), encoding="utf-8")
    task = hubble(source=str(file), model="somewhere", prefix=6)
    assert {name: len(some) for name, some in task.probes.items()} == {
        "forget": 3, "retain": 3, "holdout": 4, "level16": 3,
    }  # fmt: skip
    assert all(record["duplicates"] == 256 for name in ("forget", "retain") for record in task.probes[name])
    record = task.probes["holdout"][0]
    assert record["raw_prompt"] == "Person 0 0 was born in"
    assert record["answer"] == " the town of T0n0 and lived there as a baker."
    assert task.control is None
    assert len(hubble(source=str(file), model="somewhere", rows=2).probes["holdout"]) == 2


@pytest.mark.parametrize(
    ("levels", "options", "said"),
    [
        ({1: 4, 4: 4}, {}, "level 0 and two texts of a higher level are needed"),
        ({0: 4, 4: 1}, {}, "1 at 4 copies; level 0 and two"),
        ({0: 4, 4: 4}, {"prefix": 99}, "too short to be continued"),
        ({0: 4, 4: 4}, {"rows": 1}, "give 2 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, levels: dict[int, int], options: dict, said: str):
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(map(json.dumps, rows(levels))), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        hubble(source=str(file), model="somewhere", **options)
    with pytest.raises(InputError, match="needs the perturbed model's folder"):
        hubble(source=str(_plain(tmp_path)))


def _plain(folder: Path) -> Path:
    file = folder / "plain.jsonl"
    file.write_text("\n".join(map(json.dumps, rows({0: 2, 4: 2}))), encoding="utf-8")
    return file


def test_recall_by_level_of_the_headline():
    """The figures function of the claim: on the benchmark's own target the highest level stands out."""
    entries = canaries.entries()
    recall = hubble_memorization._recall(hubble().target(0), entries)
    assert list(recall) == sorted(canaries.SIZES)
    assert recall[64] > max(recall[0], recall[1]) + 0.3
    assert np.isfinite(list(recall.values())).all()
