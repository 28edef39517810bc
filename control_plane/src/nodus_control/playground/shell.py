"""Words as a shell takes them, quoted so that people like to read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_PLAIN_IN_DOUBLE_QUOTES = re.compile(r"[^\"\\$`!]*\Z")


def quote(word: str) -> str:
    """Quote a word where it must be: in double quotes if it has single ones, and nothing that is special in them."""
    if "'" in word and _PLAIN_IN_DOUBLE_QUOTES.match(word):
        return f'"{word}"'
    return shlex.quote(word)


def join(words: Iterable[str]) -> str:
    """Write words as a line."""
    return " ".join(map(quote, words))
