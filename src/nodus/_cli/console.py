"""Whether a terminal understands the escape sequences of colours: all do, but for the consoles of older Windows."""

from __future__ import annotations

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


def shows_ansi(stream: TextIO, console: Console | None = None) -> bool:
    """Whether a terminal shows colours; on Windows, it is told to.

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
