"""Every mistake is one sentence with the place and the way out."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lethe.data.load import load_records
from lethe.errors import InputError

MISTAKES = {
    "a.jsonl": {
        "": r"holds no records; give a file",
        " \n": r"holds no records",
        '{"question": "a", "answer": "b"}\n{"question": "c", "ans': r"line 2: is not JSON .*; it is truncated",
        '{"question": "a", "anwser": "b"}': r"row 1: has no field 'answer'; is 'anwser' meant\? Then rename it",
        '{"q": "a", "a": "b"}': r"row 1: has no field '\w+', only 'q', 'a'; a language record needs {question, answer}",
        '{"question": "a", "answer": "b"}\n{"text": "c"}': r"row 2: lacks the field 'question' and row 1 has it",
        '{"question": "a", "answer": 3}': r"row 1, field 'answer': is 3; write a text that is not blank\.",
        '{"question": " ", "answer": "b"}': r"row 1, field 'question': is ' '; write a text that is not blank",
        '{"text": "a\\ud800"}': r"row 1, field 'text': holds half of a surrogate pair at character 1",
        '["a"]': r"row 1: is a list; a record must be an object",
        '{"id": "x", "text": "a"}\n{"id": "x", "text": "b"}': r"row 2: has the same id 'x' as row 1; make ids unique",
        '{"id": true, "text": "a"}': r"row 1, field 'id': is True",
        '{"text": "a", "question": "b", "answer": "c"}': r"row 1: holds the fields of more than one form",
        '{"question": "a", "answer": "b", "perturbed_answer": []}': r"'perturbed_answer': is an empty list; give at le",
        '{"question": "a", "answer": "b", "perturbed_answer": "c"}': r"'perturbed_answer': is 'c'; write a list of tex",
        '{"question": "a", "answer": "b", "perturbed_answers": ["c"]}': r"no field 'perturbed_answers'; rename it to ",
        '{"question": "a", "answer": "b", "perturbed_answer": ["c"]}\n'
        '{"question": "a", "answer": "b", "perturbed_answer": ["c", "d"]}': r"row 2, field 'perturbed_answer': has the",
        '{"prompt": "a", "question": "b", "answer": "c"}': r"row 1: has 'question' twice, once under another name",
        "[" * 5000: r"line 1: is not JSON",
        b'{"text": "caf\xe9"}': r"is not UTF-8 at byte 13 \(0xe9\); save it as UTF-8",
        b'\xef\xbb\xbf{"text": "\xc3': r"ends in the middle of a character at byte 13; it is truncated",
    },
    "a.json": {
        '[{"text": "a"}, {"te': r"is not JSON \(.*line 1, column \d+\); it is truncated",
        '[{"text": "a"},, {"text": "b"}]': r"is not JSON \(.*column 16.*\); mend it there",
        '{"question": ["a", "b"], "answer": ["c"]}': r"its lists differ in length .*; make them equal",
        "3": r"row 1: is a int; a record must be an object",
        "[]": r"holds no records",
        "[" * 5000: r"nesting too deep",
    },
    "a.csv": {
        'question,answer\n"a,b\n': r"line 2: unexpected end of data",
        "question,answer\na,b,c\n": r"line 2: has 3 cells and the header has 2; put quotes around",
        "text,text\na,b\n": r"two columns have the same name",
        "text\n": r"holds no records",
    },
    "a.parquet": {b"PAR1": r"is not whole parquet \(.*\); get it again", b"": r"holds no records"},
    "a.txt": {"\n \n": r"holds no records"},
    "a.bin": {"x": r"the format '\.bin' is unknown; pass one of jsonl, json, csv, tsv, parquet, txt, inter, npz"},
}
MISTAKES_OF = {
    "classifier": {
        '{"features": [1, 2], "label": NaN}': r"row 1, field 'label': is nan; write a whole number of 0 or more, or a",
        '{"features": [1, 2], "label": -1}': r"row 1, field 'label': is -1; write a whole number of 0 or more",
        '{"features": [1, NaN], "label": 1}': r"row 1, field 'features': holds NaN or infinity",
        '{"features": [1, 1e300], "label": 1}': r"row 1, field 'features': holds NaN or infinity",
        '{"features": [[1], [2]], "label": 1}': r"row 1, field 'features': is a list; write a list of finite numbers",
        '{"features": [[1], 2], "label": 1}': r"row 1, field 'features': is a list; write a list of finite numbers",
        '{"features": [1], "label": 1}\n{"features": [1, 2], "label": 0}': r"row 2, field 'features': has the shape",
        '{"features": [1], "label": 1}\n{"features": [1], "label": "b"}': r"some labels are numbers and some are names",
        '{"features": [1], "lable": 1}': r"row 1: has no field 'label'; is 'lable' meant\?",
        '{"image": [[[2.0]]], "label": 1}': r"row 1, field 'image': has the shape \(1, 1, 1\) and values up to 2",
        '{"image": 3, "label": 1}': r"row 1, field 'image': is a int; give an image file's path or bytes",
    },
    "recommender": {
        '{"user": -1, "item": 2}': r"row 1, field 'user': is -1; write a whole number of 0 or more",
        '{"user": 1.5, "item": 2}': r"row 1, field 'user': is 1\.5; write a whole",
        '{"user": true, "item": 2}': r"row 1, field 'user': is True; write a whole",
        '{"user": 1, "item": 1e400}': r"row 1, field 'item': is inf; write a whole",
        '{"user": 1, "item": 99999999999999999999}': r"row 1, field 'item': is 99999999999999999999; write a whole",
        '{"user": "ann", "item": 2}': r"row 1, field 'user': is 'ann'; write a whole",
        '{"user": 1}': r"row 1: has no field 'item', only 'user'; a recommender record needs {user, item}",
        '{"user": 1, "item": 2, "x_label": 5}': r"row 1, field 'x_label': is 5; write one of 0, 1, 2",
    },
}


def _cases() -> list[Any]:
    general = [("language", name, *case) for name, cases in MISTAKES.items() for case in cases.items()]
    return general + [(family, "a.jsonl", *case) for family, cases in MISTAKES_OF.items() for case in cases.items()]


@pytest.mark.parametrize(("family", "name", "content", "said"), _cases(), ids=[f"{n}" for n in range(len(_cases()))])
def test_every_mistake_is_one_sentence(
    write: Callable[[str, Any], Path], family: str, name: str, content: str | bytes, said: str
) -> None:
    path = write(name, content)
    with pytest.raises(InputError, match=said) as caught:
        load_records(path, family=family)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message[-1] in ".?"


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("nowhere/a.jsonl", {}, r"nowhere/a\.jsonl: does not exist; check the path"),
        ("no such thing", {}, "does not exist"),
        ("/nonexistent/place", {}, "does not exist"),
        ("x" * 5000, {}, r"cannot be read \(file name too long\)"),
        ("a\0b", {}, "does not exist"),
        ("tiny:nowhere:forget", {}, "nowhere"),
        ("tiny:authors", {}, r"names a whole world; write tiny:authors:SPLIT"),
        ("a.jsonl", {"family": "langauge"}, r"no family 'langauge'; did you mean 'language'\?"),
        ("a.jsonl", {"limit": 0}, "limit is 0; it must be at least 1"),
        ("a.jsonl", {"config": "x"}, "is one file and has no config 'x'"),
        ("a.jsonl", {"format": "xml"}, "the format 'xml' is unknown; pass one of jsonl"),
    ],
)
def test_bad_arguments(
    write: Callable[[str, Any], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    source: str,
    options: dict[str, Any],
    said: str,
) -> None:
    write("a.jsonl", [{"text": "x"}])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        load_records(source, **options)


def test_unreadable_file(write: Callable[[str, Any], Path]) -> None:
    path = write("a.jsonl", "")
    if os.geteuid() == 0:  # root may read everything, but not /proc/self/mem from its start
        path.unlink()
        path.symlink_to("/proc/self/mem")
    else:
        path.chmod(0)
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be read \(.*\); check the path and its permissions"):
        load_records(path)
