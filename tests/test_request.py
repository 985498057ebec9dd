import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from lethe.errors import InputError
from lethe.request import Request

FORGET = [{"id": f"f{n}", "question": f"What did Ann Alder write in chapter {n}?", "answer": "Rain."} for n in range(3)]
RETAIN = [{"id": f"r{n}", "question": f"What did Bo Birch eat on day {n}?", "answer": "Soup."} for n in range(3)]


def test_a_request_keeps_what_it_was_given() -> None:
    request = Request(FORGET, RETAIN, intent="suppression", seed=3)
    assert request.forget == tuple(FORGET)
    assert (request.holdout, request.validation, request.scope) == ((), (), "entity")
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.seed = 4  # pyright: ignore[reportAttributeAccessIssue]
    assert Request(FORGET[:1], []).retain == ()  # one row, and nothing to retain


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"forget": []}, r"^The forget set is empty; give at least one record to forget\.$"),
        ({"intent": "removel"}, r"^There is no intent 'removel'; did you mean 'removal'\?$"),
        ({"intent": 3}, r"^There is no intent 3; there is 'removal', 'suppression', 'unsure'\.$"),
        ({"scope": "entitty"}, r"no scope 'entitty'; did you mean 'entity'\?"),
        ({"retain": [*RETAIN, RETAIN[0]]}, r"^retain row 1 and retain row 4 have the same id 'r0'; make ids unique\.$"),
        ({"holdout": [{**RETAIN[1], "id": "f0"}]}, r"^forget row 1 and holdout row 1 have the same id 'f0'"),
        ({"forget": ["x"]}, r"^forget row 1: is a str; a record is a dict with named fields\.$"),
        ({"forget": [{"id": 3, "text": "x"}]}, r"^forget row 1, field 'id': is 3; ids are texts\.$"),
        (
            {"retain": [*RETAIN, {**FORGET[1], "id": "copy"}]},
            r"^forget row 2 \('f1'\) and retain row 4 \('copy'\) are the same; take them out of one of the ",
        ),
        (
            {"holdout": [{**FORGET[2], "id": "copy"}]},
            r"^forget row 3 \('f2'\) and holdout row 1 \('copy'\) are the",
        ),
        ({"retain": FORGET}, r"^forget row 1 \('f0'\) and retain row 1 \('f0'\) are the same \(2 more such pairs\)"),
        ({"validation": FORGET[:1]}, r"^forget row 1 \('f0'\) and validation row 1 \('f0'\) are the same"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Request(**{"forget": FORGET, "retain": RETAIN, **changes})


def test_near_duplicates_are_refused_with_their_likeness() -> None:
    long = "What did Ann Alder tell the people of the harbour about the storm that came in the night of the feast?"
    forget = [{"id": "f", "question": long, "answer": "That it would pass."}]
    retain = [{"id": "r", "question": "So, " + long[:-1] + "?!", "answer": "That it would pass"}]
    with pytest.raises(InputError, match=r"^forget row 1 \('f'\) and retain row 1 \('r'\) are 9\d% alike; take"):
        Request(forget, retain)


def test_overlap_can_be_allowed_but_not_ids_that_mean_two_things() -> None:
    assert len(Request(FORGET, FORGET + RETAIN, allow_overlap=True).retain) == 6
    with pytest.raises(InputError, match="same id"):
        Request(FORGET, [{**RETAIN[0], "id": "f0"}], allow_overlap=True)


def test_missing_ids_come_from_position_and_content() -> None:
    bare = [{"text": "one"}, {"text": "two"}]
    request = Request(bare, [{"text": "three"}])
    ids = [record["id"] for record in (*request.forget, *request.retain)]
    assert [record_id.rsplit(":", 1)[0] for record_id in ids] == ["forget:1", "forget:2", "retain:1"]
    assert ids == [record["id"] for record in (*Request(bare, [{"text": "three"}]).forget, *request.retain)]
    assert "id" not in bare[0]  # what was given is left as it is
    assert Request([{"text": "ONE!"}], []).forget[0]["id"] != ids[0]


def test_fingerprint_is_of_the_content() -> None:
    request = Request(FORGET, RETAIN, seed=1)
    same = Request([dict(reversed(record.items())) for record in FORGET], tuple(RETAIN), seed=1, reason="asked by mail")
    assert request.fingerprint() == same.fingerprint()
    changes: list[dict[str, Any]] = [
        {"seed": 2},
        {"intent": "unsure"},
        {"scope": "topic"},
        {"forget": FORGET[:2]},
        {"forget": FORGET[::-1]},
        {"retain": RETAIN[:2]},
        {"retain": RETAIN[:2], "holdout": RETAIN[2:]},
        {"retain": RETAIN[:2], "validation": RETAIN[2:]},
    ]
    prints = {dataclasses.replace(request, **change).fingerprint() for change in changes}
    assert len(prints | {request.fingerprint()}) == len(changes) + 1
    images = [np.zeros((1, 2, 2), dtype=np.float32), np.full((1, 2, 2), 1e-7, dtype=np.float32)]
    assert len({Request([{"id": "x", "image": image}], []).fingerprint() for image in images}) == 2


def test_fingerprint_is_the_same_in_every_process() -> None:
    code = "from lethe.request import Request; print(Request([{'id': 'a', 'b': 1.5, 'text': 'x'}], []).fingerprint())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].strip()) == 64
