"""Whatever a file holds, loading gives all of its records or one sentence."""

import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lethe.data.images import read_image
from lethe.data.load import load_records
from lethe.data.parse import FORMATS
from lethe.errors import InputError

Rows = list[dict[str, Any]]

thorough = settings(derandomize=True, deadline=None, max_examples=150)

texts = st.text(min_size=1, max_size=30).filter(lambda text: text.strip())
no_numeral = texts.filter(lambda text: not text.strip().lstrip("-").isdecimal())  # a table cannot tell "7" from 7
indexes = st.integers(0, 2**63 - 1)


@st.composite
def language_rows(draw: st.DrawFn) -> Rows:
    """All with the same fields, one form, and perturbed answers of one number."""
    fields: dict[str, Any] = draw(st.sampled_from([{"text": texts}, {"question": texts, "answer": texts}]))
    optional = {"paraphrased_answer": texts, "entity": no_numeral | st.integers()}
    chosen = draw(st.sets(st.sampled_from(sorted(optional))))
    fields = fields | {name: optional[name] for name in sorted(chosen)}
    if "entity" in chosen:  # parquet has one type per column
        fields["entity"] = draw(st.sampled_from([no_numeral, st.integers(-(2**63), 2**63 - 1)]))
    if draw(st.booleans()):
        number = draw(st.integers(1, 4))
        fields["perturbed_answer"] = st.lists(texts, min_size=number, max_size=number)
    return draw(st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=6))


@st.composite
def classifier_rows(draw: st.DrawFn) -> Rows:
    length = draw(st.integers(1, 4))
    features = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=length, max_size=length)
    return draw(
        st.lists(
            st.fixed_dictionaries({"features": features, "label": indexes, "identity": st.integers(0, 99)}),
            min_size=1,
            max_size=6,
        )
    )


recommender_rows = st.lists(st.fixed_dictionaries({"user": indexes, "item": indexes}), min_size=1, max_size=8)
families = st.one_of(
    st.tuples(st.just("language"), language_rows()),
    st.tuples(st.just("classifier"), classifier_rows()),
    st.tuples(st.just("recommender"), recommender_rows),
)


def _table(rows: Rows, delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(rows[0])
    for row in rows:
        values = [row[name] for name in rows[0]]
        writer.writerow([json.dumps(value) if isinstance(value, list) else value for value in values])
    return out.getvalue().encode()


def _parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "jsonl": lambda rows: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(),
    "json": lambda rows: json.dumps(rows).encode(),
    "csv": lambda rows: _table(rows, ","),
    "tsv": lambda rows: _table(rows, "\t"),
    "parquet": _parquet,
}


def _load(data: bytes, form: str, family: str = "language") -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data.{form}"
        path.write_bytes(data)
        return load_records(path, family=family)


def _refused(data: bytes, form: str, family: str = "language") -> bool:
    """True if the loader says no in one sentence; any other exception fails the test."""
    try:
        records = _load(data, form, family)
    except InputError as error:
        assert str(error)
        return True
    assert records
    assert all(isinstance(record["id"], str) and record["id"] for record in records)
    return False


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in record.items() if k != "id"}


@pytest.mark.parametrize("form", WRITERS)
@thorough
@given(family_rows=families)
def test_valid_records_come_back(form: str, family_rows: tuple[str, Rows]) -> None:
    family, rows = family_rows
    records = _load(WRITERS[form](rows), form, family)
    assert [_plain(record) for record in records] == rows
    assert len({record["id"] for record in records}) == len(rows)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@thorough
@given(rows=language_rows())
def test_ids_do_not_depend_on_the_format(form: str, rows: Rows) -> None:
    assert [r["id"] for r in _load(WRITERS[form](rows), form)] == [
        r["id"] for r in _load(WRITERS["json"](rows), "json")
    ]


@pytest.mark.parametrize("form", FORMATS)
@thorough
@given(data=st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
@example(data=b'{"text": ' + b"9" * 5000 + b"}")
@example(data=b'[{"text": ' * 3000)
@example(data=b'{"text": "a", "x": ' + b"[" * 900 + b"]" * 900 + b"}")
@example(data=b'text\n"a\x00b"\n')
@example(data=b'{"\\ud800": 1, "text": "a"}')
def test_arbitrary_bytes_give_records_or_a_sentence(form: str, data: bytes) -> None:
    _refused(data, form)


ROWS: Rows = [
    {"question": f"Wer schrieb Nr. {n}?", "answer": f"Ödön {n} 🙂", "perturbed_answer": ["a, b", 'c "d"\n', "e"]}
    for n in range(3)
]


@pytest.mark.parametrize("form", WRITERS)
def test_truncation_at_every_byte(form: str) -> None:
    whole = WRITERS[form](ROWS)
    refused = [_refused(whole[:length], form) for length in range(len(whole) + 1)]
    assert not refused[-1]
    if form in ("json", "parquet"):
        assert all(refused[:-1])  # formats with an end: half of one is never read
    if form == "jsonl":  # what is left must end where a row ends
        assert refused == [not whole[:length].endswith((b"}", b"}\n")) for length in range(len(whole) + 1)]


@pytest.mark.parametrize("form", WRITERS)
@thorough
@given(data=st.data())
def test_damaged_files_give_records_or_a_sentence(form: str, data: st.DataObject) -> None:
    damaged = bytearray(WRITERS[form](ROWS))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    _refused(bytes(damaged), form)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["id", "question", "answer", "text", "perturbed_answer", "user", "item", "uid", "x_label",
                         "image", "features", "label", "split", "identity"]) | st.text(max_size=8)  # fmt: skip


@pytest.mark.parametrize("family", ["language", "classifier", "recommender"])
@thorough
@given(rows=st.lists(st.dictionaries(names, values, max_size=5) | values, max_size=4))
def test_arbitrary_json_gives_records_or_a_sentence(family: str, rows: list[Any]) -> None:
    _refused(json.dumps(rows).encode(), "json", family)


def test_truncated_and_arbitrary_images() -> None:
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        out = io.BytesIO()
        Image.effect_mandelbrot((9, 7), (-2, -1, 1, 1), 9).convert("RGB").save(out, form)
        whole = out.getvalue()
        assert read_image(whole).shape == (3, 7, 9)
        whole_enough = 0
        for length in range(len(whole)):
            try:
                assert read_image(whole[:length]).shape == (3, 7, 9)
                whole_enough += 1
            except InputError as error:
                assert "is not a whole image" in str(error)
        assert whole_enough < len(whole) / 4  # a few decoders do not need the last bytes of their format


heads = st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"P6\n9 9\n255\n"])


@thorough
@given(head=heads, tail=st.binary(max_size=200))
def test_arbitrary_image_bytes(head: bytes, tail: bytes) -> None:
    try:
        pixels = read_image(head + tail)
    except InputError:
        return
    assert pixels.ndim == 3
