"""TOML as it is read here: by the standard library, and before Python 3.11 by the library that it was taken from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

InvalidToml: type[ValueError] = tomllib.TOMLDecodeError


def read_toml(text: str, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Read a document.

    Args:
        text: the document.
        parse_float: makes a number that is not whole of its text.

    Raises:
        InvalidToml: it is none.
        ValueError: a number in it has thousands of digits.
        RecursionError: its values are nested too deeply.
    """
    document: dict[str, Any] = tomllib.loads(text, parse_float=parse_float)
    return document
