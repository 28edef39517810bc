"""The environment of a job, from `--env` and `--env-file`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodus._cli.submission import EnvironmentValueError, collect_variables, variable_names

SOURCE = {"TOKEN": "hush", "EMPTY": ""}


def test_a_name_alone_is_copied_from_the_environment() -> None:
    """A value that is given may hold equals signs and spaces, and may be empty."""
    assert collect_variables(["TOKEN", "EMPTY", "A=b=c d", "B="], [], SOURCE) == {
        "TOKEN": "hush",
        "EMPTY": "",
        "A": "b=c d",
        "B": "",
    }


def test_options_take_precedence_over_files_and_later_over_earlier(tmp_path: Path) -> None:
    """Blank lines and comments are skipped, and quotes belong to the value."""
    first, second = tmp_path / "first.env", tmp_path / "second.env"
    first.write_text("# comment\n\n  # another\n A=1\nB=1\nC='1'\nTOKEN\n", encoding="utf-8")
    second.write_text("B=2\n", encoding="utf-8")

    variables = collect_variables(["A=3", "A=4"], [str(first), str(second)], SOURCE)

    assert variables == {"A": "4", "B": "2", "C": "'1'", "TOKEN": "hush"}


@pytest.mark.parametrize("assignment", ["", "=x", "my secret=hush", "NOT_SET_ANYWHERE"])
def test_what_cannot_be_an_assignment_is_refused_without_its_value(assignment: str) -> None:
    """The value may be a secret."""
    with pytest.raises(EnvironmentValueError, match="--env: ") as caught:
        collect_variables([assignment], [], SOURCE)

    assert "hush" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """So is one that is not text."""
    binary = tmp_path / "binary.env"
    binary.write_bytes(b"A=\xff")
    for path in (tmp_path / "missing.env", binary):
        with pytest.raises(EnvironmentValueError, match=path.name):
            collect_variables([], [str(path)], SOURCE)


def test_names_are_listed_once() -> None:
    """Their values are left out of a command line that is printed."""
    assert variable_names(["A=1", "B", "A=2"]) == ["A", "B"]
