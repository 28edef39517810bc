"""What others wrote is shown, and never obeyed."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus._printable import json_escaped, printable

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_words_are_left_alone() -> None:
    """This holds for any language, for punctuation and for symbols."""
    assert printable("größer – ok ☃ 日本 \U0001f600") == "größer – ok ☃ 日本 \U0001f600"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tb\r\n", "a\\tb\\r\\n"),
        ("\x1b[1m", "\\x1b[1m"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202e\u2066", "\\u202e\\u2066"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, expected: str) -> None:
    """Control characters, bidirectional controls, line separators and surrogates are escaped."""
    assert printable(text) == expected


@given(ANY_TEXT)
def test_everything_becomes_printable_once_and_for_all(text: str) -> None:
    """Escaping twice gives the same as escaping once."""
    shown = printable(text)

    assert shown.isprintable()
    assert printable(shown) == shown


@given(st.dictionaries(ANY_TEXT, ANY_TEXT), st.booleans())
def test_json_keeps_its_value(value: dict[str, str], ascii_only: bool) -> None:
    """The escaped JSON parses to the same value."""
    document = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    escaped = json_escaped(document, ascii_only=ascii_only)

    assert json.loads(escaped) == json.loads(document)
    assert escaped.isprintable()
    assert escaped.isascii() or not ascii_only


def test_every_single_character_is_judged() -> None:
    """All code points of Unicode are tried."""
    characters = "".join(map(chr, range(sys.maxunicode + 1)))

    assert printable(characters).isprintable()
    assert json.loads(json_escaped(f'"{characters[0x20:].translate({0x22: None, 0x5C: None})}"')).startswith(" !#$")
