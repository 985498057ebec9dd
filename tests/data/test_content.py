import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lethe.data.content import digest
from lethe.errors import InputError

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


def _typed(value: Any) -> Any:
    """Python's equality, without True == 1 == 1.0 and 0.0 == -0.0."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return type(value).__name__, repr(value)


@settings(derandomize=True, deadline=None)
@given(values, values)
def test_equal_content_equal_digest_and_nothing_else(one: Any, two: Any) -> None:
    assert (digest(one) == digest(two)) == (_typed(one) == _typed(two))


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.text(), values))
def test_order_of_keys_does_not_count(value: dict[str, Any]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_boundaries_between_values_count() -> None:
    different = [["ab", "c"], ["a", "bc"], ["a", "b", "c"], [["a", "b"], "c"], "abc", b"abc", [1, 23], [12, 3], {}, []]
    assert len({digest(value) for value in different}) == len(different)


def test_arrays_count_by_type_shape_and_numbers_not_by_layout() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest(array) == digest(np.asfortranarray(array)) == digest(array.astype(">f4"))
    others = [array.reshape(3, 2), array.astype(np.float64), array + 1, array.tolist()]
    assert len({digest(other) for other in [array, *others]}) == 5
    assert digest(np.float64(0.5)) == digest(0.5)
    assert digest((1, 2)) == digest([1, 2])


def test_tensors_count_as_arrays() -> None:
    torch = pytest.importorskip("torch")
    assert digest(torch.arange(3)) == digest(np.arange(3))


def test_what_has_no_content_is_refused() -> None:
    digest([datetime.date(2024, 1, 1), Path("x")])
    for value in (object(), {1, 2}, np.array([object()])):
        with pytest.raises(InputError, match="A record holds a"):
            digest({"x": value})
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(InputError, match="nested too deeply"):
        digest(deep)
