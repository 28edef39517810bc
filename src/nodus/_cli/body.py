"""Reads the bytes that a signature covers."""

from __future__ import annotations

import sys
from pathlib import Path

import asyncclick

from .output import Output


def read_body(source: str, output: Output) -> bytes:
    """Read a file whole, or stdin for `-`.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if source != "-":
            return Path(source).read_bytes()
        if sys.stdin.isatty():
            output.note("Reading the body from the terminal: end it with Ctrl-D.")
        return sys.stdin.buffer.read()
    except OSError as exc:
        raise asyncclick.UsageError(f"{source}: {exc.strerror or exc}.") from exc
