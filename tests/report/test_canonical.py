"""Canonical JSON against the published examples of RFC 8785, against node, and back."""

import json
import math
import shutil
import struct
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lethe.report.canonical import EXACT, canonical, parse

# RFC 8785, appendix B: IEEE 754 bits and the text they have as JSON.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-EXACT, EXACT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_the_rfc_has_them(bits: str, text: str):
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value).decode() == text


def test_the_example_of_the_rfc():
    given = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(given).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_stand_in_the_order_of_their_utf16_units():
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\xf6"]  # RFC 8785, section 3.2.3
    found = parse(canonical(dict.fromkeys(keys, 0)))
    assert list(found) == ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]


@given(VALUES)
def test_content_survives_and_has_one_spelling(value: Any):
    spelt = canonical(value)
    assert parse(spelt) == value
    assert canonical(parse(spelt)) == spelt
    assert canonical(parse(json.dumps(value, indent=3).encode())) == spelt


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, whose JSON.stringify is the RFC's definition")
def test_numbers_are_those_of_node():
    draws = [struct.unpack(">d", struct.pack(">Q", n * 0x9E3779B97F4A7C15 % 2**64))[0] for n in range(1, 3000)]
    values = [value for value in draws if math.isfinite(value)] + [
        n / 7 * 10**e for n in range(1, 9) for e in range(-9, 24)
    ]
    script = "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0))))"
    said = subprocess.run(["node", "-e", script], input=json.dumps(values), capture_output=True, text=True, check=True)
    assert canonical(values).decode() == said.stdout


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [1, math.nan]}, r"^\$\.a\[1\] is nan"),
        ({"a": math.inf}, r"^\$\.a is inf"),
        ([EXACT + 1], r"^\$\[0\] is 9007199254740993, beyond 2\^53"),
        ({"a": "\ud800"}, r"^\$\.a holds a lone surrogate"),
        ({"a": {1}}, r"^\$\.a is a set"),
        (b"a", r"^\$ is a bytes"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: Any, said: str):
    with pytest.raises(ValueError, match=said):
        canonical(value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":1,"a":2}', "the key 'a' comes twice"),
        (b"[NaN]", "holds NaN"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"\xff", "can't decode"),
        (b'{"a":', "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_readers_could_read_differently_is_not_read(data: bytes, said: str):
    with pytest.raises(ValueError, match=said):
        parse(data)
