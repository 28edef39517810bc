"""What is printed, made fit for a terminal: its colours, what a job's program printed, command lines to paste."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Any, Protocol, TextIO

ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x0004
"""https://learn.microsoft.com/windows/console/setconsolemode"""


class Console(Protocol):
    """The part of Windows that knows the modes of consoles."""

    def get_mode(self, stream: TextIO) -> int | None:
        """Return the console's mode; None if the stream is no console."""

    def set_mode(self, stream: TextIO, mode: int) -> bool:
        """Set it; return whether the console has such a mode."""
        ...


def shows_ansi(stream: TextIO, console: Console | None = None) -> bool:
    """Whether a terminal shows colours; on Windows, they are turned on first.

    Args:
        stream: what writes to the terminal.
        console: Windows; by default, the system's, if it is that.
    """
    if console is None:
        if sys.platform != "win32":
            return True
        console = _WindowsConsole()
    mode = console.get_mode(stream)
    if mode is None:
        return True  # a terminal that is no console of Windows, such as mintty's
    if mode & ENABLE_VIRTUAL_TERMINAL_PROCESSING:
        return True
    return console.set_mode(stream, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING)


class _WindowsConsole:  # pragma: no cover  # Windows alone has it
    def __init__(self) -> None:
        import ctypes
        import importlib

        self._ctypes: Any = ctypes
        self._kernel: Any = self._ctypes.windll.kernel32
        self._handle_of: Any = importlib.import_module("msvcrt").__dict__["get_osfhandle"]

    def get_mode(self, stream: TextIO) -> int | None:
        mode = self._ctypes.c_uint32()
        found = self._kernel.GetConsoleMode(self._handle(stream), self._ctypes.byref(mode))
        return int(mode.value) if found else None

    def set_mode(self, stream: TextIO, mode: int) -> bool:
        return bool(self._kernel.SetConsoleMode(self._handle(stream), mode))

    def _handle(self, stream: TextIO) -> Any:
        return self._ctypes.c_void_p(self._handle_of(stream.fileno()))


# Colours and other attributes of characters (ECMA-48, SGR), with no more parameters than anybody needs.
_SGR = re.compile(r"\x1b\[[0-9;:]{0,64}m")
_BEGINNING_OF_SGR = re.compile(r"\x1b(?:\[[0-9;:]{0,64})?\Z")
# Controls but for line breaks and tabs, what breaks lines besides them, and what reorders text (Unicode TR 9).
_STEERING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_RESET = "\x1b[0m"


class ProgramText:
    """Escapes a text that arrives in pieces, which may be cut anywhere: also in the middle of a colour sequence."""

    def __init__(self) -> None:
        self._held = ""
        self._coloured = False

    def feed(self, piece: str) -> str:
        """Return what can be shown after another piece; the beginning of a colour is held back until its end comes."""
        text = self._held + piece
        beginning = _BEGINNING_OF_SGR.search(text)
        self._held = "" if beginning is None else text[beginning.start() :]
        return self._shown(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """Return what is left to show, and reset the colours."""
        rest, self._held = _escaped_controls(self._held), ""
        return rest + _RESET if self._coloured else rest

    def _shown(self, text: str) -> str:
        shown, at = [], 0
        for colour in _SGR.finditer(text):
            self._coloured = True
            shown += [_escaped_controls(text[at : colour.start()]), colour[0]]
            at = colour.end()
        return "".join([*shown, _escaped_controls(text[at:])])


def _escaped_controls(text: str) -> str:
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shell_line(*words: str) -> str:
    """Return a command line of exactly these words, quoted for a shell, without control characters."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # `$'…'` is known to bash, zsh, ksh and POSIX.1-2024.
    return "$'" + "".join(map(_escaped_character, word)) + "'"


def _escaped_character(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    # A byte of the command line that was no UTF-8 is a surrogate in Python (PEP 383).
    errors = "surrogateescape" if "\udc80" <= character <= "\udcff" else "surrogatepass"
    # Octal, because a hexadecimal escape goes on for as long as digits follow it in some shells.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", errors))
