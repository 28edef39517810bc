"""Watching a job to its end: what is said on the way, and what the end means for the exit status."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest

from nodus import JobView
from nodus._cli import exit_codes
from nodus._cli.output import Output
from nodus._cli.waiting import Progress, WaitOptions, report


@pytest.fixture
def said() -> io.StringIO:
    """What stderr receives."""
    return io.StringIO()


@pytest.fixture
def output(said: io.StringIO) -> Output:
    """A program's stdout and stderr, neither of them a terminal."""
    return Output(io.StringIO(), said)


def seen(status: str, **fields: object) -> Any:
    """A job's handle, of which only the view matters here."""
    view = JobView.model_validate({"id": "a", "status": status, **fields})
    return SimpleNamespace(view=view, status=view.status)


def test_progress_is_a_line_for_each_change(output: Output, said: io.StringIO) -> None:
    """Of the status or of the place, with the time; a poll that finds nothing new says nothing."""
    progress = Progress(output)
    for job in (
        seen("queued"),
        seen("queued"),
        seen("running", supplier="lambda", region="us-east-1"),
        seen("running", supplier="lambda", region="us-east-1", duration_s=2.0),
        seen("running", supplier="coreweave", region="us-east-1", simulated=True),
    ):
        progress(job)

    lines = said.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d  ", line) for line in lines)
    assert [line[10:] for line in lines] == [
        "queued",
        "running on lambda, us-east-1",
        "running on coreweave, us-east-1 (simulated)",
    ]


@pytest.mark.parametrize(
    ("how", "wait", "words"),
    [
        (WaitOptions(None, None, False, False), False, ""),
        (WaitOptions(None, None, False, False), True, "--wait"),
        (
            WaitOptions(1e9, 0.5, True, True),
            True,
            "--wait --timeout 1000000000 --poll-seconds 0.5 --cancel-on-interrupt --json",
        ),
    ],
)
def test_how_to_wait_can_be_said_again(how: WaitOptions, wait: bool, words: str) -> None:
    """As the options that go on with an interrupted wait."""
    assert how.options(wait=wait) == words.split()


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"status": "completed"}, exit_codes.OK, ""),
        (
            {"status": "failed", "error_message": "out of memory", "error_code": "oom"},
            1,
            "Job a failed: out of memory\n",
        ),
        ({"status": "failed", "error_code": "oom"}, 1, "Job a failed: oom\n"),
        ({"status": "cancelled"}, 1, "Job a cancelled.\n"),
    ],
)
def test_a_job_that_did_not_complete_is_explained(
    output: Output, said: io.StringIO, fields: dict[str, object], status: int, text: str
) -> None:
    """In the server's words, or else by its code; the exit status says it to programs."""
    assert report(output, JobView.model_validate({"id": "a", **fields})) == status
    assert said.getvalue() == text
