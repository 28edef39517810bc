"""The canonical text of a JSON value (RFC 8785), for ledger rows.

It covers strings, whole numbers, booleans, null, lists and objects. Fractions are refused: RFC 8785 writes them as
JavaScript does, and nothing that is hashed here may depend on how a float prints. Money is whole micro-USD.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

MAX_INTEGER = 2**53 - 1
"""Larger numbers do not read the same in every implementation of JSON (RFC 8785, section 3.2.2.3)."""

# Its escapes are those of RFC 8785, section 3.2.2.2; order and types are taken care of before it is used.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def canonical_json(value: object) -> str:
    """Return the canonical text of a value: no spaces, keys in the order of their UTF-16 code units.

    Raises:
        TypeError: it contains something that is not JSON, a float, or a key that is not a string.
        ValueError: a whole number beyond ±(2⁵³ − 1), or a lone surrogate, which has no UTF-8.
    """
    return _ENCODER.encode(_in_order(value))


def _in_order(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise ValueError(f"{value} is not exact in every reader of JSON: whole numbers end at ±(2⁵³ − 1)")
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a key must be a string, not {type(key).__name__}")
            _text(key)
        return {key: _in_order(value[key]) for key in sorted(value, key=_utf16)}
    if isinstance(value, (list, tuple)):
        return [_in_order(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in canonical JSON")


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate has no place in canonical JSON") from None
    return text


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")
