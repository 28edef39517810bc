"""What is printed, made fit for a terminal: colours, what a job's program printed, command lines to paste."""

from __future__ import annotations

import io
import shutil
import subprocess
from typing import TextIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodus._cli.terminal import ENABLE_VIRTUAL_TERMINAL_PROCESSING as ANSI
from nodus._cli.terminal import ProgramText, shell_line, shows_ansi

RESET = "\x1b[0m"
HOSTILE = ["a b", "$(touch x)", "it's", "a\nb", "\x1b[2J'\\", "\u202egnp", "\udcff", "", "-n", "~", "$'x'"]


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
    """A console without that mode gets no colours; other modes, and what is no console, are left alone."""
    console = FakeConsole(mode, knows_ansi=knows_ansi)

    assert (shows_ansi(io.StringIO(), console), console.mode) == (expected, mode_after)


def shown(*pieces: str) -> str:
    text = ProgramText()
    return "".join([*map(text.feed, pieces), text.end()])


def test_text_passes_as_it_is() -> None:
    """This includes line breaks, carriage returns, tabs and all languages."""
    text = "épöch 1\t50%\r100%\n日本 \U0001f469\u200d\U0001f4bb\xa0ok\n"

    assert shown(text) == text


def test_colours_pass_and_end_with_the_text() -> None:
    """What is printed afterwards has the terminal's own colours."""
    assert shown("\x1b[1;31mred\x1b[0m plain \x1b[38;5;12mblue") == (
        f"\x1b[1;31mred\x1b[0m plain \x1b[38;5;12mblue{RESET}"
    )


@pytest.mark.parametrize(
    ("hostile", "expected"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b]52;c;aGk=\x1b\\", "\\x1b]52;c;aGk=\\x1b\\"),
        ("\x1b[2J\x1b[H", "\\x1b[2J\\x1b[H"),
        ("\x1b[6n", "\\x1b[6n"),
        ("\x1bc", "\\x1bc"),
        ("\x9b31m", "\\x9b31m"),
        ("\x0e\x08\x7f\x00", "\\x0e\\x08\\x7f\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x1b[" + "1" * 65 + "m", "\\x1b[" + "1" * 65 + "m"),
    ],
)
def test_everything_else_is_shown(hostile: str, expected: str) -> None:
    """Sequences for the title, the clipboard, the cursor or a reset, and bidirectional controls, are escaped."""
    assert shown(f"a{hostile}b") == f"a{expected}b"


@given(
    st.lists(st.sampled_from(["\x1b", "[", "3", "1", ";", "m", "a", "\n", "\x9b", "]", "\x07"]), max_size=30),
    st.data(),
)
def test_where_a_text_is_cut_makes_no_difference(characters: list[str], data: st.DataObject) -> None:
    """A piece may end in the middle of a colour sequence."""
    text = "".join(characters)
    at = data.draw(st.integers(0, len(text)))

    assert shown(text[:at], text[at:]) == shown(text)


def test_what_might_begin_a_colour_is_held_back_and_not_for_ever() -> None:
    """It is shown once its end arrives, or can no longer arrive."""
    text = ProgramText()

    assert (text.feed("a\x1b["), text.feed("3"), text.feed("x"), text.end()) == ("a", "", "\\x1b[3x", "")
    assert shown("a\x1b[3") == "a\\x1b[3"


def test_ordinary_words_stay_as_they_are() -> None:
    """Words that need no quotes get none, and are easier to read."""
    assert shell_line("nodus", "wait", "01a22b90-5ce6") == "nodus wait 01a22b90-5ce6"


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1))
def test_a_line_cannot_steer_the_terminal(words: list[str]) -> None:
    """This holds for any words."""
    assert shell_line(*words).isprintable()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here to read the line")
@settings(max_examples=20)
@given(st.lists(st.sampled_from(HOSTILE) | st.text(st.characters(min_codepoint=1, exclude_categories=("Cs",)))))
def test_a_shell_reads_exactly_these_words(words: list[str]) -> None:
    """No part of them is expanded or run."""
    line = shell_line("printf", r"%s\0", *words, "end")
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)

    assert done.stdout == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in [*words, "end"])
