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
        if sys.stdin is None:  # it was closed before the process began
            raise asyncclick.UsageError("There is no standard input to read from: name a file.")
        if sys.stdin.isatty():
            output.note("Reading the body from the terminal: end it with Ctrl-D.")
        return sys.stdin.buffer.read()
    except OSError as exc:
        raise asyncclick.UsageError(f"{source}: {exc.strerror or exc}.") from exc
