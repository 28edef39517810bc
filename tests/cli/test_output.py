"""What is written where, and how it looks to a person and to a program."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime

import pytest

from nodus._cli import exit_codes
from nodus._cli.output import Output, Painted, aligned, is_reader_gone, local_time
from tests.cli.conftest import Command
from tests.cli.pseudo_terminal import terminal
from tests.cli.stub import API_KEY, CREATED_AT, Answer, Stub, job

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="terminals and pipes are POSIX's")


class Screen(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (Screen(), {}, "\x1b[32mok\x1b[0m"),
        (Screen(), {"NO_COLOR": "1"}, "ok"),
        (Screen(), {"NO_COLOR": ""}, "\x1b[32mok\x1b[0m"),
        (Screen(), {"TERM": "dumb"}, "ok"),
        (io.StringIO(), {}, "ok"),
        (io.StringIO(), {"FORCE_COLOR": "1"}, "\x1b[32mok\x1b[0m"),
        (io.StringIO(), {"CLICOLOR_FORCE": "1"}, "\x1b[32mok\x1b[0m"),
        (io.StringIO(), {"FORCE_COLOR": "", "CLICOLOR_FORCE": "0"}, "ok"),
        (Screen(), {"FORCE_COLOR": "1", "TERM": "dumb"}, "\x1b[32mok\x1b[0m"),
        (Screen(), {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, "ok"),
    ],
)
def test_colour_is_for_terminals_unless_it_is_forbidden_or_demanded(
    stream: io.StringIO, environ: Mapping[str, str], expected: str
) -> None:
    """`NO_COLOR` wins over `FORCE_COLOR`, and that over what the stream is; each stream by itself."""
    stdout, stderr = type(stream)(), type(stream)()
    Output(stdout, io.StringIO(), environ).data(Painted("ok", "green"))
    Output(io.StringIO(), stderr, environ).note(Painted("ok", "green"))

    assert (stdout.getvalue(), stderr.getvalue()) == (f"{expected}\n", f"{expected}\n")


def test_a_closed_stream_is_no_terminal() -> None:
    """Asking a closed stream would raise."""
    stream = io.StringIO()
    stream.close()

    assert not Output(stream, stream).is_terminal


def test_a_reader_that_went_away_is_no_error() -> None:
    """The rest of the output is dropped, and the command can see that."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        output = Output(stream, io.StringIO())
        output.data("nobody reads this")
        output.data("nor this")

        assert output.reader_gone


def test_a_reader_of_notes_that_went_away_is_no_error_either() -> None:
    """`2>&1 | head` closes both streams."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")

    Output(io.StringIO(), stream).note("nobody reads this")

    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_terminal_that_lacks_a_character_gets_an_escape() -> None:
    """The command must not fail with a traceback."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")

    Output(stream, io.StringIO()).data("caf\u00e9")

    assert written.getvalue() == b"caf\\xe9\n"


def test_a_table_is_aligned_and_fitted() -> None:
    """Columns that matter less are left out, in the order given, until it fits."""
    header, rows = ["ID", "STATUS", "REGION", "COST"], [["a", "completed", "r1", "-"], ["long", "x", "-", "$1.00"]]

    wide = aligned(header, rows, width=80, droppable=["REGION", "STATUS"])
    narrow = aligned(header, rows, width=22, droppable=["REGION", "STATUS"])
    hopeless = aligned(header, rows, width=1, droppable=["REGION", "STATUS"])

    assert wide == ["ID    STATUS     REGION  COST", "a     completed  r1      -", "long  x          -       $1.00"]
    assert narrow == ["ID    STATUS     COST", "a     completed  -", "long  x          $1.00"]
    assert hopeless == ["ID    COST", "a     -", "long  $1.00"]


def test_streams_that_were_closed_beforehand_swallow_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nodus list >&-` has no stdout at all."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    output = Output()

    output.data("x")
    output.note("x")

    assert not output.is_terminal


def test_a_table_of_jobs_is_coloured_by_their_status(
    stub: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table fits the width of the terminal."""
    monkeypatch.setattr("nodus._cli.output._is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "50")
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": [job("a", "paused"), job("bcd", "failed", cost_usd=2.0)]}))

    result = nodus("list")

    created = local_time(datetime.fromisoformat(CREATED_AT.replace("Z", "+00:00")))
    assert result.stdout == (
        "ID   STATUS  SUPPLIER  COST   CREATED\n"
        f"a    paused  -         -      {created}\n"
        f"bcd  \x1b[31mfailed\x1b[0m  -         $2.00  {created}\n"
    )


@posix_only
def test_a_list_on_a_terminal_is_a_table(stub: Stub) -> None:
    """It has a header and colours, and times are local."""
    stub.answer(
        "GET /v1/jobs", Answer(200, {"jobs": [job("a", "failed"), job("b", cost_usd=1.5)], "next_cursor": None})
    )
    environ = {"NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url, "COLUMNS": "100", "TZ": "UTC"}

    with terminal("list", environ=environ) as screen:
        status = screen.end()

    assert status == 0
    header, first, second = screen.screen.splitlines()
    assert header.split() == ["ID", "STATUS", "GPU", "SUPPLIER", "REGION", "COST", "CREATED"]
    assert first.startswith("a   \x1b[31mfailed\x1b[0m     1 x h100_80gb  -")
    assert "2026-01-02 03:04:05" in second


@posix_only
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["run", "--help"], ["completion", "fish"]])
def test_a_reader_that_never_listened_is_no_error_either(words: list[str]) -> None:
    """The pipe was closed before anything was written; the interpreter's exit stays quiet too."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-m", "nodus", *words], stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["completion", "fish"], ["list"], ["list", "--json"]])
def test_a_full_disk_is_told_in_a_line(stub: Stub, words: list[str]) -> None:
    """The exit status is neither that of a failed job nor of an API error."""
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": [job("a")]}))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nodus", *words],
            env={**os.environ, "NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.returncode == exit_codes.OUTPUT_LOST
    message = "Stdout cannot be written to: No space left on device."
    told = json.loads(done.stderr)["message"] if "--json" in words else done.stderr
    assert told == (message if "--json" in words else f"Error: {message}\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full is Linux's")
def test_notes_that_cannot_be_written_change_nothing(stub: Stub) -> None:
    """The command succeeded, and stdout and the exit status say so."""
    stub.answer("POST /v1/jobs", Answer(202, job("a", "queued")))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nodus", "run", "--image", "i"],
            env={**os.environ, "NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url},
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )

    assert (done.returncode, done.stdout) == (0, "a\n")


@posix_only
@pytest.mark.parametrize("words", [["--version"], ["list"]])
def test_a_process_without_stdout_has_nothing_to_complain_about(stub: Stub, words: list[str]) -> None:
    """`nodus list >&-` closes stdout beforehand."""
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": [job("a")]}))
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "nodus", *words],
        env={**os.environ, "NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url},
        stderr=subprocess.PIPE,
    )

    assert (done.returncode, done.stderr) == (0, b"")


@posix_only
def test_a_list_into_head_is_silent(stub: Stub) -> None:
    """The reader has read what it wanted."""
    jobs = [job(f"job-{number}") for number in range(200)]
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": jobs, "next_cursor": "again"}))
    process = subprocess.Popen(
        [sys.executable, "-m", "nodus", "list", "--all"],
        env={**os.environ, "NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()

    assert first.startswith("job-0\t")
    assert (process.wait(), stderr) == (0, "")


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
    """The error number differs on Windows."""
    assert is_reader_gone(error, platform=platform) is expected
