"""Small numbers are written out, and nothing else of a text is touched."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.json_numbers import plain_numbers
from nodus_core.money import usd

SMALL = st.integers(-200, 200).map(usd)
TEXTS = st.text() | st.sampled_from(["1e-06", "1e-05,", '"', "\\", '\\"2e-06}'])
VALUES = st.recursive(SMALL | TEXTS | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))


@pytest.mark.parametrize(
    ("micros", "text"), [(1, "0.000001"), (-1, "-0.000001"), (15, "0.000015"), (99, "0.000099"), (100, "0.0001")]
)
def test_amounts_are_plain_decimals(micros: int, text: str) -> None:
    """To the last micro-dollar."""
    assert plain_numbers(json.dumps(usd(micros))) == text
    assert plain_numbers(json.dumps({"a": [usd(micros)]})) == f'{{"a": [{text}]}}'


@given(VALUES)
def test_a_text_means_what_it_meant(value: Any) -> None:
    """Whatever stands in its strings; and outside of them there is no exponent any more."""
    text = plain_numbers(json.dumps(value, separators=(",", ":"), ensure_ascii=False))

    assert json.loads(text) == value
    assert "e-" not in re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
