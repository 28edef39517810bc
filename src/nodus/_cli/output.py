"""Where things are written: data on stdout, everything else on stderr; colour only on a terminal.

No text reaches either stream but through `Output`, which escapes what would steer a terminal: whatever a server says
is shown, not obeyed. A reader that went away (`nodus list | head -1`) is no error; the rest of the output is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TextIO

import asyncclick

from .._money import plain_numbers
from .._printable import json_escaped, printable
from .terminal import ProgramText, shows_ansi

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


class Painted(NamedTuple):
    """A text in a colour, where the stream shows colours; None for none."""

    text: str
    colour: str | None


class Output:
    """The two streams of one invocation.

    Args:
        stdout: for data; the process's by default.
        stderr: for progress, hints and errors; the process's by default.
        environ: the environment variables; the process's by default.
        for_programs: whether a program reads both streams (`--json`): then nothing is written for people.

    Attributes:
        reader_gone: whether the reader of stdout has closed its end of the pipe.
        for_programs: as given.
    """

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        for_programs: bool = False,
    ) -> None:
        # A stream that was closed before the process started is None.
        self._stdout = stdout or sys.stdout or io.StringIO()
        self._stderr = stderr or sys.stderr or io.StringIO()
        self._environ = os.environ if environ is None else environ
        self._program_text: ProgramText | None = None
        self.reader_gone = False
        self.for_programs = for_programs
        for stream in (self._stdout, self._stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                # A character that the terminal's encoding lacks must not raise, and lose the rest of the output.
                reconfigure(errors="backslashreplace")

    def data(self, *parts: str | Painted) -> None:
        """Write a line of data."""
        self._write(self._line(parts, self._stdout))

    def row(self, cells: Iterable[object]) -> None:
        """Write a line for `cut` and `awk`: tabs between the cells; those that are None are empty."""
        self._write("\t".join(printable("" if cell is None else str(cell)) for cell in cells) + "\n")

    def lines(self, text: str) -> None:
        """Write a text of several lines."""
        for line in text.removesuffix("\n").split("\n"):
            self._write(printable(line) + "\n")

    def json(self, value: object) -> None:
        """Write a value as one line of JSON."""
        self.json_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    def json_text(self, document: str) -> None:
        """Write a value that is JSON on one line already, as a model's `model_dump_json()` is."""
        self._write(_json_line(document, self._stdout))

    def program_text(self, text: str, *, raw: bool = False) -> None:
        """Write what a job's program printed: byte for byte into a pipe or a file; on a terminal, see `ProgramText`.

        Args:
            text: the next piece.
            raw: whether to leave it as it is on a terminal too.
        """
        if raw or not self.is_terminal:
            self._write(text)
            return
        if self._program_text is None:
            self._program_text = ProgramText()
        self._write(self._program_text.feed(text))

    def end_program_text(self) -> None:
        """Write what was held back of a program's text, and end its colours."""
        rest = "" if self._program_text is None else self._program_text.end()
        self._program_text = None
        if rest:
            self._write(rest)

    def note(self, *parts: str | Painted) -> None:
        """Write a line for people."""
        # A program's output may have left its colours on.
        self.end_program_text()
        if not self.for_programs:
            self._note(self._line(parts, self._stderr))

    def error(self, facts: Mapping[str, object]) -> None:
        """Write what went wrong as one line of JSON on stderr, for programs."""
        self._note(_json_line(json.dumps(facts, ensure_ascii=False, separators=(",", ":")), self._stderr))

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads stdout."""
        return _is_terminal(self._stdout)

    @property
    def can_ask(self) -> bool:
        """Whether a person sees what is asked on stderr, and can answer."""
        return (
            not self.for_programs and sys.stdin is not None and _is_terminal(sys.stdin) and _is_terminal(self._stderr)
        )

    def ask(self, question: str) -> None:
        """Write a question to stderr, to be answered on the same line."""
        self._note(printable(question))

    @property
    def width(self) -> int:
        """The terminal's columns."""
        return shutil.get_terminal_size((100, 24)).columns

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

    def _line(self, parts: Iterable[str | Painted], stream: TextIO) -> str:
        return "".join(self._rendered(part, stream) for part in parts) + "\n"

    def _rendered(self, part: str | Painted, stream: TextIO) -> str:
        if isinstance(part, str):
            return printable(part)
        text = printable(part.text)
        if part.colour is None or not text or not self._shows_colours(stream):
            return text
        return asyncclick.style(text, fg=part.colour)

    def _shows_colours(self, stream: TextIO) -> bool:
        """Whether to colour: `NO_COLOR` forbids, `FORCE_COLOR` and `CLICOLOR_FORCE` demand, else terminals have it."""
        environ = self._environ
        # https://no-color.org, https://force-color.org, https://bixense.com/clicolors: any value that is not empty.
        if environ.get("NO_COLOR"):
            return False
        if any(environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
            return True
        return _is_terminal(stream) and environ.get("TERM") != "dumb" and shows_ansi(stream)

    def _write(self, text: str) -> None:
        """Write to stdout.

        Raises:
            OutputLostError: it cannot be written to.
        """
        if self.reader_gone:
            return
        try:
            self._stdout.write(text)
            self._stdout.flush()
        except OSError as exc:
            if not is_reader_gone(exc):
                raise self.lost(exc) from exc
            self.reader_gone = True
            self.drop_stdout()

    def _note(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stderr.write(text)
            self._stderr.flush()


def is_reader_gone(error: OSError, *, platform: str = sys.platform) -> bool:
    """Whether a write failed because the reader has closed its end of the pipe."""
    # On Windows, the C library says that of a pipe with EINVAL.
    return error.errno in ((errno.EPIPE, errno.EINVAL) if platform == "win32" else (errno.EPIPE,))


def aligned(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int,
    droppable: Sequence[str],
    right: Collection[str] = (),
) -> list[str]:
    """Lay out a table in columns.

    Args:
        header: the columns' names.
        rows: their cells, as they are shown.
        width: the columns of the terminal.
        droppable: names of columns to leave out, in that order, while the table is too wide.
        right: names of columns of numbers, whose ends stand under each other.
    """
    kept = list(range(len(header)))
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    for name in droppable:
        if sum(widths[index] + len(_GAP) for index in kept) - len(_GAP) <= width:
            break
        kept.remove(header.index(name))
    justified = [str.rjust if name in right else str.ljust for name in header]
    return [
        _GAP.join(justified[index](row[index], widths[index]) for index in kept).rstrip() for row in [header, *rows]
    ]


def show_facts(output: Output, facts: Iterable[tuple[str, str | None]]) -> None:
    """Write facts to stdout; those that are None or empty are left out."""
    known = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        output.data(f"{name.ljust(width)}  {value}")


def local_time(when: datetime) -> str:
    """Format a time in the user's zone, to the second."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def utc_time(when: datetime) -> str:
    """Format a time in UTC, for programs."""
    return when.isoformat().replace("+00:00", "Z")


def _json_line(document: str, stream: TextIO) -> str:
    """Return a line of JSON that the stream's encoding has all characters of; other encodings than UTF-8 get ASCII."""
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-")
    return json_escaped(plain_numbers(document), ascii_only=encoding not in ("utf-8", "utf8")) + "\n"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False
