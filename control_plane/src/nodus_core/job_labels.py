"""Labels of jobs: what their keys and values may be, and how a column holds them."""

from __future__ import annotations

import json
import re

MAX_LABELS = 16
MAX_LABEL_VALUE_LENGTH = 128
LABEL_KEY = "[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?"
"""What a key is, as a regular expression."""

LABEL_KEY_RULE = "1 to 63 characters of a-z, 0-9, '_', '.' and '-', with a letter or digit at either end"
LABEL_VALUE_RULE = f"a string of at most {MAX_LABEL_VALUE_LENGTH} printable characters"

_KEY = re.compile(LABEL_KEY)


def is_label_key(value: object) -> bool:
    """Say whether a value can be the key of a label."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def is_label_value(value: object) -> bool:
    """Say whether a value can be a label's."""
    return isinstance(value, str) and len(value) <= MAX_LABEL_VALUE_LENGTH and value.isprintable()


def read_labels(column: str | None) -> dict[str, str]:
    """Return the labels that a column holds; none where it holds nothing."""
    read: dict[str, str] = json.loads(column) if column else {}
    return read
