"""Quotes words for a shell, in the way that is easiest to read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_PLAIN_IN_DOUBLE_QUOTES = re.compile(r"[^\"\\$`!]*\Z")


def quote(word: str) -> str:
    """Quote a word if necessary: in double quotes if it contains single ones, and nothing special in double quotes."""
    if "'" in word and _PLAIN_IN_DOUBLE_QUOTES.match(word):
        return f'"{word}"'
    return shlex.quote(word)


def join(words: Iterable[str]) -> str:
    """Return words as a command line."""
    return " ".join(map(quote, words))
