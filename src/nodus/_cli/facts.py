"""Blocks of facts, one name and value per line, aligned."""

from __future__ import annotations

from collections.abc import Iterable

from .output import Output


def show_facts(output: Output, facts: Iterable[tuple[str, str | None]]) -> None:
    """Write facts to stdout; those that are None or empty are left out."""
    known = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        output.data(f"{name.ljust(width)}  {value}")
