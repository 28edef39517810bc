"""The canonical text of what ledger rows hold, by the examples and rules of RFC 8785."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.canonical_json import MAX_INTEGER, canonical_json

SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


class Colour(str, enum.Enum):
    """A string that is also something else."""

    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, False, None]}, '{"a":[true,false,null],"b":1}'),
        ({}, "{}"),
        ([], "[]"),
        ((1, "2"), '[1,"2"]'),
        ({"outer": {"z": 0, "a": -1}}, '{"outer":{"a":-1,"z":0}}'),
        (MAX_INTEGER, "9007199254740991"),
        ({"kind": Colour.RED}, '{"kind":"red"}'),
        ('€$\u000f\nA\'"\\"/', '"€$\\u000f\\nA\'\\"\\\\\\"/"'),
        ("\b\t\f\r\x7f\u2028</", '"\\b\\t\\f\\r\x7f\u2028</"'),
        ("\x00\x1f", '"\\u0000\\u001f"'),
        ("\U0001f600é", '"\U0001f600é"'),
    ],
)
def test_a_value_has_one_text(value: Any, text: str) -> None:
    """No spaces, keys in order, and the escapes of RFC 8785 alone."""
    assert canonical_json(value) == text


def test_keys_are_in_the_order_of_their_utf_16_code_units() -> None:
    """The example of RFC 8785, section 3.2.3, where code points would give another order."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]

    ordered = list(json.loads(canonical_json(dict.fromkeys(keys, 0))))

    assert ordered == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(VALUES)
def test_the_text_reads_back_as_the_value(value: Any) -> None:
    """Nothing is lost, and a text that was read gives itself again."""
    text = canonical_json(value)

    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), SCALARS))
def test_the_order_of_insertion_does_not_show(value: dict[str, Any]) -> None:
    """Equal objects have equal texts."""
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize("value", [1.0, 0.5, float("nan"), b"bytes", {1: 2}, {"a": {None: 1}}, {1, 2}, [object()]])
def test_what_is_not_of_the_subset_is_refused(value: Any) -> None:
    """Fractions above all: no hash depends on how a float prints."""
    with pytest.raises(TypeError):
        canonical_json(value)


@pytest.mark.parametrize("value", [MAX_INTEGER + 1, -MAX_INTEGER - 1, "\ud800", {"\udfff": 1}, [["a\ud83d"]]])
def test_what_not_every_reader_could_read_is_refused(value: Any) -> None:
    """Numbers beyond the exact ones, and half of a surrogate pair."""
    with pytest.raises(ValueError, match=r"canonical|exact"):
        canonical_json(value)
