"""Options that several commands share: what their values may be, and how those of fields are made."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncclick
import pytest

from nodus._arguments import MAX_SECONDS
from nodus._cli import options
from nodus._cli.output import Output
from nodus._fields import FILTERS, JOB


@pytest.mark.parametrize("read", [options.seconds, options.timeout_seconds, options.poll_seconds])
@pytest.mark.parametrize(("text", "number"), [("2", 2.0), ("0.5", 0.5), ("1e3", 1000.0), (" 3 ", 3.0)])
def test_times_are_read_as_python_writes_them(read: Callable[[object], float], text: str, number: float) -> None:
    """Whole or not."""
    assert read(text) == number


@pytest.mark.parametrize("read", [options.seconds, options.timeout_seconds, options.poll_seconds])
@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e999", "2s", "one"])
def test_what_is_no_time_is_refused_by_name(read: Callable[[object], float], text: str) -> None:
    """Before anything is sent."""
    with pytest.raises(asyncclick.BadParameter, match="is not a number of seconds") as caught:
        read(text)
    assert repr(text) in caught.value.message


def test_one_may_wait_for_no_time_but_not_poll_without_a_pause() -> None:
    """A wait of 0 seconds looks once."""
    assert options.timeout_seconds("0") == 0.0
    with pytest.raises(asyncclick.BadParameter, match=r"above 0\.$"):
        options.poll_seconds("0")


@pytest.mark.parametrize("read", [options.timeout_seconds, options.poll_seconds])
def test_nobody_waits_longer_than_the_library_does(read: Callable[[object], float]) -> None:
    """It would refuse the wait only once the job is submitted."""
    assert read(MAX_SECONDS) == MAX_SECONDS
    with pytest.raises(asyncclick.BadParameter, match="more than 1,000,000,000 seconds"):
        read(MAX_SECONDS + 1)


@pytest.mark.parametrize(
    ("limit", "everything", "default", "listed"),
    [
        (None, False, 50, (50, 50)),
        (7, False, 50, (7, 7)),
        (1000, False, 50, (1000, 200)),
        (None, True, 50, (None, 200)),
        (None, False, None, (None, 200)),
    ],
)
def test_a_listing_asks_for_no_more_than_it_shows(
    limit: int | None, everything: bool, default: int | None, listed: tuple[int | None, int]
) -> None:
    """And for at most a page at a time."""
    assert options.listed(limit, everything=everything, default=default) == listed


def test_all_and_a_limit_exclude_each_other() -> None:
    """Whichever of them is meant, the other is a mistake."""
    with pytest.raises(asyncclick.UsageError, match="exclude each other"):
        options.listed(5, everything=True)


def test_a_shell_completes_to_what_begins_so() -> None:
    """Of the values that are known."""
    complete: Any = options.completing(lambda: ["l40s", "h100_80gb", "h200_141gb"])

    assert complete(None, None, "h") == ["h100_80gb", "h200_141gb"]
    assert complete(None, None, "x") == []


@pytest.mark.parametrize("fields", [JOB, FILTERS])
def test_fields_become_options_of_their_names(fields: Any) -> None:
    """In their order, with type, default and meaning; a field may be left out, or have options of its own."""
    own = asyncclick.option("--mine")
    first, second, *others = fields.names

    @options.field_options(fields, {first: [], second: [own]})
    def callback() -> None: ...

    # As click keeps them until the command is made: the last decorator first.
    made = list(reversed(callback.__click_params__))  # type: ignore[attr-defined]  # click puts it there
    assert [option.opts[0] for option in made] == ["--mine", *(f"--{name.replace('_', '-')}" for name in others)]
    for name, option in zip(others, made[1:], strict=True):
        assert option.required == (name in fields.required)
        kinds = {"int": "integer", "int | None": "integer", "float | None": "float"}
        assert option.type.name == kinds.get(fields.types[name], "text")
        assert option.help.lower() == fields.meaning(name).replace("`", "").lower()
        if fields.defaults.get(name) is not None:
            assert option.default == fields.defaults[name]


class TestBodies:
    """Where a command reads a body from."""

    @pytest.fixture
    def output(self) -> Output:
        """Somewhere to say something."""
        return Output(io.StringIO(), io.StringIO())

    def test_a_file_is_read_as_it_is(self, tmp_path: Path, output: Output) -> None:
        """Every byte of it: what is signed or verified must be what was sent."""
        (tmp_path / "body").write_bytes(b"\xef\xbb\xbf{}\r\n\0")

        assert options.read_body(str(tmp_path / "body"), output) == b"\xef\xbb\xbf{}\r\n\0"

    def test_a_file_that_cannot_be_read_is_a_usage_error(self, tmp_path: Path, output: Output) -> None:
        """It names the file and says why."""
        with pytest.raises(asyncclick.UsageError, match="missing: No such file"):
            options.read_body(str(tmp_path / "missing"), output)

    def test_a_closed_stdin_is_a_usage_error(self, monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
        """As under some service managers."""
        monkeypatch.setattr("sys.stdin", None)

        with pytest.raises(asyncclick.UsageError, match="name a file"):
            options.read_body("-", output)
