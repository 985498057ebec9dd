"""Refusals: one per record by the seed, from Lethe's own list or from a file as the published ones are."""

from pathlib import Path

import pytest

from lethe.data.refusals import LINES, read_refusals, refuse
from lethe.errors import InputError

RECORDS = [{"id": f"q{number}", "question": f"Question {number}?", "answer": "known"} for number in range(40)]


def test_a_refusal_is_fixed_by_seed_and_place():
    drawn = [record["answer"] for record in refuse(RECORDS, 0)]
    assert drawn == [record["answer"] for record in refuse(RECORDS, 0)]
    assert drawn != [record["answer"] for record in refuse(RECORDS, 1)]
    assert set(drawn) <= set(LINES)
    assert len(set(drawn)) > 10


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", 'No.\nAsk "them", not me.\n\n'),
        ("strings.jsonl", '"No."\n"Ask \\"them\\", not me."\n'),
        ("table.csv", 'No.\n"Ask ""them"", not me."\n'),
        ("headed.csv", 'Refusal Response\nNo.\n"Ask ""them"", not me."\n'),
        ("marked.txt", '\ufeffNo.\nAsk "them", not me.'),
    ],
)
def test_every_published_form_of_a_list_is_read(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_refusals(tmp_path / name) == ("No.", 'Ask "them", not me.')
    assert {record["answer"] for record in refuse(RECORDS, 0, tmp_path / name)} == {"No.", 'Ask "them", not me.'}


def test_published_lists_are_read_whole(data_dir: Path):
    counts = {"general": "", "copyright": "_copyright", "tofu": "_tofu"}
    found = {
        name: len(read_refusals(data_dir / "flat" / f"polite_refusal_responses{end}.csv"))
        for name, end in counts.items()
    }
    assert found == {"general": 48, "copyright": 49, "tofu": 33}
    for benchmark in ("tofu", "rwku", "rocr-ort"):
        assert len(read_refusals(data_dir / benchmark / "idontknow.jsonl")) == 100
    assert len(read_refusals(data_dir / "uld" / "refusal.jsonl")) == 33


def test_what_cannot_be_refused_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="Record 't1' has no question"):
        refuse([{"id": "t1", "text": "A tale."}], 0)
    with pytest.raises(InputError, match=r"nowhere\.txt: could not be read as refusals"):
        refuse(RECORDS, 0, tmp_path / "nowhere.txt")
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError, match=r"empty\.txt: holds no refusal"):
        refuse(RECORDS, 0, tmp_path / "empty.txt")
