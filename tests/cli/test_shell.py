"""Lines that are there to be pasted into a shell."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodus._cli.shell import shell_line

HOSTILE = ["a b", "$(touch x)", "it's", "a\nb", "\x1b[2J'\\", "\u202egnp", "\udcff", "", "-n", "~", "$'x'"]


def test_ordinary_words_stay_as_they_are() -> None:
    """They are easier to read so."""
    assert shell_line("nodus", "wait", "01a22b90-5ce6") == "nodus wait 01a22b90-5ce6"


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1))
def test_a_line_cannot_steer_the_terminal(words: list[str]) -> None:
    """Whoever wrote the words."""
    assert shell_line(*words).isprintable()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here to read the line")
@settings(max_examples=20)
@given(st.lists(st.sampled_from(HOSTILE) | st.text(st.characters(min_codepoint=1, exclude_categories=("Cs",)))))
def test_a_shell_reads_exactly_these_words(words: list[str]) -> None:
    """Nothing of them is run."""
    line = shell_line("printf", r"%s\0", *words, "end")
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)

    assert done.stdout == b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in [*words, "end"])
