"""The canonical text of a JSON value (RFC 8785), for ledger rows.

It covers strings, whole numbers, booleans, null, lists and objects. Floats are refused: RFC 8785 writes them as
JavaScript does, and nothing that is hashed here may depend on how a float prints. Money is whole micro-USD. A fraction
comes as a `Decimal` of at most fifteen digits, six of them behind the point, which JavaScript writes out in full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

MAX_INTEGER = 2**53 - 1
"""Larger numbers do not read the same in every implementation of JSON (RFC 8785, section 3.2.2.3)."""


def canonical_json(value: object) -> str:
    """Return the canonical text of a value: no spaces, keys in the order of their UTF-16 code units.

    Raises:
        TypeError: it contains something that is not JSON, a float, or a key that is not a string.
        ValueError: a whole number beyond ±(2⁵³ − 1), a fraction with too many digits, or a lone surrogate, which has
            no UTF-8.
    """
    text = _written(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a lone surrogate has no place in canonical JSON") from None
    return text


def _written(value: object) -> str:
    write = _WRITERS.get(type(value))
    return _written_as_kind(value) if write is None else write(value)


def _written_as_kind(value: object) -> str:
    """Write a value whose type is a kind of those that are known."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, Decimal):
        return _plain(value)
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, (list, tuple)):
        return _list(value)
    raise TypeError(f"{type(value).__name__} has no place in canonical JSON")


def _whole(value: int) -> str:
    if abs(value) > MAX_INTEGER:
        raise ValueError(f"{value} is not exact in every reader of JSON: whole numbers end at ±(2⁵³ − 1)")
    return int.__repr__(value)


def _object(value: Mapping[object, object]) -> str:
    return "{" + ",".join([f"{encode_basestring(key)}:{_written(value[key])}" for key in _in_order(value)]) + "}"


def _list(value: Sequence[object]) -> str:
    return "[" + ",".join([_written(item) for item in value]) + "]"


def _plain(value: Decimal) -> str:
    text = f"{value.normalize():f}"
    whole, _, behind = text.lstrip("-").partition(".")
    if not value.is_finite() or len(behind) > 6 or len(whole.lstrip("0") + behind) > 15:
        raise ValueError(f"{text} is not exact in every reader of JSON: a fraction has at most fifteen digits")
    return "0" if value == 0 else text


def _in_order(keys: Mapping[object, object]) -> list[str]:
    names: list[str] = []
    is_plain = True
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"a key must be a string, not {type(key).__name__}")
        is_plain = is_plain and key.isascii()
        names.append(key)
    # Of ASCII, UTF-16 has the same order.
    names.sort(key=None if is_plain else _utf16)
    return names


def _utf16(key: str) -> bytes:
    try:
        return key.encode("utf-16-be")
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate has no place in canonical JSON") from None


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    str: encode_basestring,  # its escapes are those of RFC 8785, section 3.2.2.2
    int: _whole,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    Decimal: _plain,
    dict: _object,
    list: _list,
    tuple: _list,
}
