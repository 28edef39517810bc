"""How the commands print their results: a label and a value on each line, or one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from nodus_core.money import MICROS_PER_USD

SHOWN_ONCE = "     # shown once, never again"

_VALUE_COLUMN = 16


def print_facts(facts: Mapping[str, str]) -> None:
    """Print labels and values in two columns."""
    for label, value in facts.items():
        sys.stdout.write(f"{label:<{_VALUE_COLUMN}}{value}\n")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns as wide as they need; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sys.stdout.write("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object, on one line, in ASCII: whatever the terminal's encoding, it stays JSON."""
    sys.stdout.write(json.dumps(document) + "\n")


def money(micros: int | None) -> str:
    """Return micro-USD as people read it: `$2500.00`, and more digits only where there are some; `none` for no cap.

    >>> money(2_500_000_000), money(21_500), money(None)
    ('$2500.00', '$0.0215', 'none')
    """
    if micros is None:
        return "none"
    whole, rest = divmod(micros, MICROS_PER_USD)
    decimals = f"{rest:06d}".rstrip("0")
    return f"${whole}.{decimals:0<2}"
