"""Where things are written: data on stdout, everything else on stderr; colour only on a terminal.

A reader that went away (`nodus list | head -1`) is no error; the rest of the output is dropped.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

import asyncclick

STATUS_COLOURS = {
    "queued": "bright_black",
    "placed": "blue",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
}

_GAP = "  "


class OutputLostError(Exception):
    """Stdout cannot be written to, and not because its reader went away: a full disk, for example."""


class Output:
    """The two streams of one invocation.

    Args:
        stdout: for data; the process's by default.
        stderr: for progress, hints and errors; the process's by default.
        environ: the environment variables; the process's by default.

    Attributes:
        reader_gone: whether stdout was closed by whoever read it.
    """

    def __init__(
        self, stdout: TextIO | None = None, stderr: TextIO | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        # A stream that was closed before the process started is None.
        self._stdout = stdout or sys.stdout or io.StringIO()
        self._stderr = stderr or sys.stderr or io.StringIO()
        self._environ = os.environ if environ is None else environ
        self.reader_gone = False
        for stream in (self._stdout, self._stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                # That a terminal cannot show a character is no reason to lose the rest.
                reconfigure(errors="backslashreplace")

    def data(self, text: str) -> None:
        """Write a line of data."""
        self.raw(text + "\n")

    def json(self, value: object) -> None:
        """Write a value as one line of JSON."""
        self.data(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    def raw(self, text: str) -> None:
        """Write data as it is.

        Raises:
            OutputLostError: it cannot be written.
        """
        if self.reader_gone:
            return
        try:
            self._stdout.write(text)
            self._stdout.flush()
        except BrokenPipeError:
            self.reader_gone = True
            self.drop_stdout()
        except OSError as exc:
            raise self.lost(exc) from exc

    def note(self, text: str) -> None:
        """Write a line for people."""
        with contextlib.suppress(OSError):
            self._stderr.write(text + "\n")
            self._stderr.flush()

    def paint(self, text: str, colour: str | None, *, stream: TextIO | None = None) -> str:
        """Colour a text that goes to stdout (or to `stream`), if that shows colours."""
        if colour is None or not self._shows_colours(self._stdout if stream is None else stream):
            return text
        return asyncclick.style(text, fg=colour)

    def paint_note(self, text: str, colour: str | None) -> str:
        """Colour a text that goes to stderr, if that shows colours."""
        return self.paint(text, colour, stream=self._stderr)

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads stdout."""
        return _is_terminal(self._stdout)

    @property
    def width(self) -> int:
        """The terminal's columns."""
        return shutil.get_terminal_size((100, 24)).columns

    def _shows_colours(self, stream: TextIO) -> bool:
        # https://no-color.org: any value that is not empty.
        return _is_terminal(stream) and not self._environ.get("NO_COLOR") and self._environ.get("TERM") != "dumb"

    def lost(self, error: OSError) -> OutputLostError:
        """Drop what stdout did not take; return the error that says why."""
        self.drop_stdout()
        return OutputLostError(f"Stdout cannot be written to: {error.strerror or error}.")

    def drop_stdout(self) -> None:
        """Write nothing more to stdout, not even when the interpreter flushes it at exit."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stdout.fileno())
            os.close(nowhere)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def printable(text: str) -> str:
    """Return a text with control characters escaped, so that a terminal does not obey them."""
    return "".join(
        character if character.isprintable() or character == " " else character.encode("unicode_escape").decode()
        for character in text
    )


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, droppable: Sequence[str]) -> list[str]:
    """Lay out a table in columns.

    Args:
        header: the columns' names.
        rows: their cells, without colour.
        width: the columns of the terminal.
        droppable: names of columns to leave out, in that order, while the table is too wide.
    """
    kept = list(range(len(header)))
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    for name in droppable:
        if sum(widths[index] + len(_GAP) for index in kept) - len(_GAP) <= width:
            break
        kept.remove(header.index(name))
    return [_GAP.join(row[index].ljust(widths[index]) for index in kept).rstrip() for row in [header, *rows]]
