"""Where records about targets come from: files of all targets, or the released codes' folder of each."""

import json
from pathlib import Path

import pytest

from lethe.data.targets import Targets
from lethe.errors import InputError

NAMES = ("Stephen King", "Confucius", "Bruce Lee")


def official(name: str) -> dict[str, list[dict]]:
    """What the released code writes about one target."""
    base = {"subject": name}
    return {
        "intro": [{"target": name, "intro": f"{name} is renowned."}],
        "passage": [{"text": f"{name} lived.", **base}],
        "forget_level1": [{"query": f"{name} is ___.", "answer": "famous", "level": "1", "type": "cloze", **base}],
        "forget_mcp": [
            {"query": f"{name} is ___.\nA. a\nB. b", "answer": "A", "level": "4", "type": "multiple choice", **base}
        ],
        "retain_mmlu": [
            {"question": "1+1?", "choices": ["1", "2"], "answer": 1, "task": "maths", "examples": [], **base}
        ],
        "retain_bbh": [{"question": "So?", "answer": ["(A)"], "cot": "", "task": "logic", **base}],
        "truthful": [{"question": "Is it?", "mc1_targets": {"choices": ["yes", "no"], "labels": [1, 0]}, **base}],
        "triviaqa": [{"question": "Who?", "answers": ["me"], **base}],
        "fluency": [{"instruction": "Write.", "output": "Written.", **base}],
    }


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three folders, of which the tenth sorts last."""
    for number, name in zip((10, 2, 1), reversed(NAMES), strict=True):
        folder = tmp_path / f"{number}_{name.replace(' ', '_')}"
        folder.mkdir()
        for file, rows in official(name).items():
            (folder / f"{file}.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The same as configs, one in a folder of its own as on the hub."""
    tables: dict[str, list[dict]] = {}
    for name in NAMES:
        for file, rows in official(name).items():
            tables.setdefault({"intro": "forget_target"}.get(file, file), []).extend(rows)
    for name, rows in tables.items():
        path = tmp_path / name / "test.jsonl" if name == "forget_level1" else tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        lines = "\n".join(map(json.dumps, rows))
        path.write_text(lines if path.suffix == ".jsonl" else json.dumps(rows), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("layout", ["folders", "files"])
def test_both_layouts_give_the_same_records(layout: str, request: pytest.FixtureRequest):
    records = Targets("rwku", str(request.getfixturevalue(layout)))
    assert list(records.people) == list(NAMES)
    assert records.people["Confucius"] == "Confucius is renowned."
    assert records.choose(2, "Confucius") == ["Confucius", "Bruce Lee"]
    rows = records.read("forget_level1", ["Bruce Lee", "Stephen King"])
    assert [row["question"] for row in rows] == ["Stephen King is ___.", "Bruce Lee is ___."]
    assert len({row["id"] for row in rows}) == 2
    assert records.has("forget_mcp")
    assert not records.has("neighbor_mcp")
    assert not records.has("mia_forget")


def test_a_folder_per_target_has_names_of_its_own_for_the_suites(folders: Path):
    records = Targets("ort", str(folders))
    made = records.suites(("general", "reason", "truthfulness", "factuality", "fluency"), ["Confucius"], "")
    assert {name: len(rows) for name, rows in made.items()} == {
        "utility_general": 1, "utility_reason": 1, "utility_truthfulness": 1, "utility_factuality": 1,
        "utility_fluency": 1,
    }  # fmt: skip
    assert made["utility_fluency"][0]["answer"] == "Written."
    assert made["utility_truthfulness"][0]["question"].startswith("Q: What is human life expectancy")
    assert records.texts("train_original_passage", ["Confucius"])[0]["text"] == "Confucius lived."


def test_folders_without_introductions_are_named_by_themselves(folders: Path):
    for path in folders.glob("*/intro.json"):
        path.unlink()
    assert Targets("ort", str(folders)).people == dict.fromkeys(NAMES, "")


def test_what_is_not_there_is_refused(folders: Path):
    records = Targets("ort", str(folders))
    with pytest.raises(InputError, match="no target 'Steven King', did you mean 'Stephen King'"):
        records.choose(1, "Steven King")
    with pytest.raises(InputError, match="1 targets from 'Bruce Lee' on are fewer than 2"):
        records.choose(2, "Bruce Lee")
    with pytest.raises(InputError, match="nowhere is not a folder; give tiny, hub"):
        Targets("ort", "nowhere").choose(1)
    broken = folders / "1_Stephen_King" / "forget_level1.json"
    broken.write_text('[{"query": "?", "level": "1"}]', encoding="utf-8")
    with pytest.raises(InputError, match=r"forget_level1.json, row 1: has no field 'answer'"):
        records.read("forget_level1")
