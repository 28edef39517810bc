"""A job as it is being written in the page's form: from text to a spec, and what is wrong with it, field by field.

The limits are those of submissions, from the one place that has them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from nodus_core.spec import FIELDS, IDEMPOTENCY_KEY, InvalidSpec, is_idempotency_key, parse_spec

from .shell import join

Fields = dict[str, Any]

_INTEGER = re.compile(r"[0-9]{1,9}\Z")
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?\Z")
_VALID = {"image": "image", "gpu": "l40s"}


def write_fields(payload: Mapping[str, Any]) -> Fields:
    """Return the form's text for a payload, whoever wrote it and whether it is valid or not."""
    command, env, labels = payload.get("command"), payload.get("env"), payload.get("labels")
    tiers = payload.get("require_tiers")
    return {
        **{name: _text(payload, name, _default(name)) for name in _READERS},
        "command": join(map(str, command)) if isinstance(command, list) else "",
        "require_tiers": [str(tier) for tier in tiers] if isinstance(tiers, list) else [],
        "env": "\n".join(_setting(*pair) for pair in env.items()) if isinstance(env, dict) else "",
        "labels": "\n".join(f"{key}={value}" for key, value in labels.items()) if isinstance(labels, dict) else "",
    }


def read_fields(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the form's text; return the payload, without what is left to its default, and the errors by field."""
    payload: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, reader in _READERS.items():
        try:
            value = reader(fields.get(name))
            if value is not None or name == "image":
                _check(name, value)
                payload[name] = value
        except InvalidSpec as exc:
            errors[name] = exc.message
    return payload, errors


def _check(name: str, value: object) -> None:
    if name != "idempotency_key":
        parse_spec({**_VALID, name: value})
    elif not is_idempotency_key(value):
        raise InvalidSpec("An idempotency key is 1 to 128 printable ASCII characters.")


def _read_text(text: object) -> str | None:
    return text if isinstance(text, str) and text else None


def _read_integer(text: object) -> object:
    value = str(text).strip()
    return int(value) if _INTEGER.match(value) else value


def _read_amount(text: object) -> object:
    value = str(text or "").strip()
    return (float(value) if _AMOUNT.match(value) else value) if value else None


def _read_tiers(tiers: object) -> object:
    return tiers or None


def _read_command(text: object) -> list[str] | None:
    try:
        return shlex.split(str(text or "")) or None
    except ValueError as exc:
        raise InvalidSpec(f"A shell could not parse `command`: {str(exc).lower()}.") from None


def _read_env(text: object) -> dict[str, str] | None:
    env: dict[str, str] = {}
    for number, line in enumerate(str(text or "").split("\n"), start=1):
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not name or any(mark.isspace() for mark in name):
            raise InvalidSpec(f"Line {number} must be NAME=value, without spaces in the name.")
        if name in env:
            raise InvalidSpec(f"Line {number} sets a name that is set before.")
        env[name] = _unquoted(value, number)
    return env or None


def _read_labels(text: object) -> dict[str, str] | None:
    labels: dict[str, str] = {}
    for number, line in enumerate(str(text or "").split("\n"), start=1):
        key, _, value = line.partition("=")
        if not line.strip():
            continue
        if key.strip() in labels:
            raise InvalidSpec(f"Line {number} gives a label that is given before.")
        labels[key.strip()] = value
    return labels or None


def _unquoted(value: str, number: int) -> str:
    """Read a value; one in double quotes is JSON, which is how a line break gets in."""
    if not value.startswith('"'):
        return value
    try:
        content = json.loads(value)
    except ValueError:
        content = None
    if not isinstance(content, str):
        raise InvalidSpec(f"Line {number} begins its value with a double quote, so it must be a JSON string.")
    return content


def _setting(name: str, value: object) -> str:
    text = str(value)
    return f"{name}={json.dumps(text) if text.startswith(chr(34)) or not text.isprintable() else text}"


def _default(name: str) -> str:
    if name == "gpu":
        return "h100_80gb"
    return str(FIELDS[name].schema.get("default", "")) if name in FIELDS else ""


def _reader(name: str) -> Callable[[object], object]:
    if name in _SPECIAL:
        return _SPECIAL[name]
    kinds = FIELDS[name].schema.get("type")
    if kinds == "integer":
        return _read_integer
    if kinds == ["integer", "null"]:
        return lambda text: _read_integer(text) if _read_text(text) else None
    return _read_amount if kinds == ["number", "null"] else _read_text


def _text(payload: Mapping[str, Any], name: str, default: str = "") -> str:
    value = payload.get(name)
    return default if value is None else str(value)


_SPECIAL: Mapping[str, Callable[[object], object]] = {
    "command": _read_command,
    "env": _read_env,
    "labels": _read_labels,
    "require_tiers": _read_tiers,
}
_READERS = {**{name: _reader(name) for name in FIELDS}, IDEMPOTENCY_KEY: _read_text}
