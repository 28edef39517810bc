"""Colours on consoles of Windows."""

from __future__ import annotations

import io
from typing import TextIO

import pytest

from nodus._cli.console import ENABLE_VIRTUAL_TERMINAL_PROCESSING as ANSI
from nodus._cli.console import shows_ansi
from nodus._cli.output import is_reader_gone


class FakeConsole:
    """A console with a mode, that may or may not know the one for escape sequences."""

    def __init__(self, mode: int | None, *, knows_ansi: bool) -> None:
        self.mode = mode
        self._knows_ansi = knows_ansi

    def get_mode(self, stream: TextIO) -> int | None:
        return self.mode

    def set_mode(self, stream: TextIO, mode: int) -> bool:
        if self._knows_ansi:
            self.mode = mode
        return self._knows_ansi


@pytest.mark.parametrize(
    ("mode", "knows_ansi", "expected", "mode_after"),
    [
        (3, True, True, 3 | ANSI),
        (3 | ANSI, False, True, 3 | ANSI),
        (3, False, False, 3),
        (None, False, True, None),
    ],
)
def test_a_console_is_told_to_show_colours(
    mode: int | None, knows_ansi: bool, expected: bool, mode_after: int | None
) -> None:
    """One that cannot gets none; its other modes stay; what is no console is left alone."""
    console = FakeConsole(mode, knows_ansi=knows_ansi)

    assert (shows_ansi(io.StringIO(), console), console.mode) == (expected, mode_after)


@pytest.mark.parametrize(
    ("error", "platform", "expected"),
    [
        (BrokenPipeError(32, "Broken pipe"), "linux", True),
        (BrokenPipeError(32, "Broken pipe"), "win32", True),
        (OSError(22, "Invalid argument"), "win32", True),
        (OSError(22, "Invalid argument"), "linux", False),
        (OSError(28, "No space left on device"), "win32", False),
    ],
)
def test_a_reader_that_went_away_is_known_by_its_number(error: OSError, platform: str, expected: bool) -> None:
    """Windows has another for it."""
    assert is_reader_gone(error, platform=platform) is expected
