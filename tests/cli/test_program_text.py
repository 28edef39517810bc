"""What a job printed, on a terminal: colours pass, and nothing else steers it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus._cli.program_text import ProgramText

RESET = "\x1b[0m"


def shown(*pieces: str) -> str:
    text = ProgramText()
    return "".join([*map(text.feed, pieces), text.end()])


def test_text_passes_as_it_is() -> None:
    """Line breaks, returns, tabs and every language among it."""
    text = "épöch 1\t50%\r100%\n日本 \U0001f469\u200d\U0001f4bb\xa0ok\n"

    assert shown(text) == text


def test_colours_pass_and_end_with_the_text() -> None:
    """What is printed after it has the terminal's own."""
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
    """Titles, the clipboard, the cursor, answers typed by the terminal, its reset, and what reorders text."""
    assert shown(f"a{hostile}b") == f"a{expected}b"


@given(
    st.lists(st.sampled_from(["\x1b", "[", "3", "1", ";", "m", "a", "\n", "\x9b", "]", "\x07"]), max_size=30),
    st.data(),
)
def test_where_a_text_is_cut_makes_no_difference(characters: list[str], data: st.DataObject) -> None:
    """Even in the middle of a colour."""
    text = "".join(characters)
    at = data.draw(st.integers(0, len(text)))

    assert shown(text[:at], text[at:]) == shown(text)


def test_what_might_begin_a_colour_is_held_back_and_not_for_ever() -> None:
    """Until its end comes, or cannot come any more."""
    text = ProgramText()

    assert (text.feed("a\x1b["), text.feed("3"), text.feed("x"), text.end()) == ("a", "", "\\x1b[3x", "")
    assert shown("a\x1b[3") == "a\\x1b[3"
