"""`nodus events` and `nodus logs --follow`."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.cli.conftest import Command
from tests.cli.stub import Answer, Request, Stub, job
from tests.cli.test_interrupts import posix_only
from tests.support.streams import frame, frames

EVENTS = "GET /v1/jobs/job-1/events"
ALL_EVENTS = "GET /v1/events"
LOGS = "GET /v1/jobs/job-1/logs"
GET = "GET /v1/jobs/job-1"

pytestmark = pytest.mark.usefixtures("backend")


def stream(content: bytes) -> Answer:
    """A stream that ends."""
    return Answer(200, content.decode(), {"Content-Type": "text/event-stream"})


def test_the_events_of_a_job_are_a_line_each(stub: Stub, nodus: Command) -> None:
    """The stream is followed to the job's end, with tabs between the columns."""
    stub.answer(EVENTS, stream(frames(1, 2, 3, 4)))
    result = nodus("events", "job-1")

    assert result.status == 0
    assert [line.split("\t")[2:6] for line in result.stdout.splitlines()] == [
        ["job-1", "1", "queued", "0"],
        ["job-1", "2", "placed", "1"],
        ["job-1", "3", "running", "1"],
        ["job-1", "4", "completed", "1"],
    ]


def test_the_events_of_a_job_are_json_lines(stub: Stub, nodus: Command) -> None:
    """A dropped connection is reported on stderr, and no event is repeated."""
    stub.answer(EVENTS, stream(frames(1, 2)), stream(frames(2, 3, 4)))
    result = nodus("events", "job-1", "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.status == 0
    assert [event["status"] for event in told] == ["queued", "placed", "running", "completed"]
    assert [request.headers.get("last-event-id") for request in stub.called(EVENTS)] == [None, "2"]


def test_after_is_passed_on(stub: Stub, nodus: Command) -> None:
    """`--after` makes the stream begin behind that event."""
    stub.answer(EVENTS, stream(frames(3, 4)))
    result = nodus("events", "job-1", "--after", "2")

    assert len(result.stdout.splitlines()) == 2
    assert stub.called(EVENTS)[0].headers["last-event-id"] == "2"


def test_an_unknown_job_exits_4(stub: Stub, nodus: Command) -> None:
    """The status is the same as for every other command."""
    absent = Answer(404, {"error": "job_not_found", "message": "There is no such job."})
    for route in (EVENTS, LOGS):
        stub.answer(route, absent)

    assert nodus("events", "job-1").status == 4
    assert nodus("logs", "job-1", "--follow").status == 4


@posix_only
def test_interrupted_it_says_how_to_go_on(stub: Stub, nodus: Command) -> None:
    """The printed command continues behind the last event that was shown."""
    answers = [stream(frame(1, id=17))]

    def serve(request: Request) -> Answer:
        if answers:
            return answers.pop()
        os.kill(os.getpid(), signal.SIGINT)
        stub.release.wait()
        return Answer(503)

    stub.scripts[ALL_EVENTS] = serve
    result = nodus("events")

    assert result.status == 130
    assert len(result.stdout.splitlines()) == 1
    assert "nodus events --after 17" in result.stderr
    assert "Traceback" not in result.stderr


@posix_only
def test_interrupted_the_job_goes_on(stub: Stub, nodus: Command) -> None:
    """The lines to watch it again and to cancel it are printed."""

    def serve(request: Request) -> Answer:
        os.kill(os.getpid(), signal.SIGINT)
        stub.release.wait()
        return Answer(503)

    stub.scripts[LOGS] = serve
    result = nodus("logs", "job-1", "-f")

    assert (result.status, result.stdout) == (130, "")
    assert "nodus wait job-1" in result.stderr


def test_logs_are_followed_to_the_end(stub: Stub, nodus: Command) -> None:
    """The text is written byte for byte."""
    stub.answer(LOGS, Answer(200, "épöch 1\nepoch 2"), Answer(416))
    stub.answer(GET, Answer(200, job(status="completed")))
    result = nodus("logs", "job-1", "--follow")

    assert (result.status, result.stdout) == (0, "épöch 1\nepoch 2")
    assert stub.called(LOGS)[0].query == {"follow": ["true"]}


def test_logs_are_followed_as_json_lines(stub: Stub, nodus: Command) -> None:
    """Each piece is an object of its own."""
    stub.answer(LOGS, Answer(200, "one\n"), Answer(206, "two\n"), Answer(416))
    stub.answer(GET, Answer(200, job(status="completed")))
    result = nodus("logs", "job-1", "--follow", "--json")
    pieces = [json.loads(line) for line in result.stdout.splitlines()]

    assert pieces == [{"job_id": "job-1", "text": "one\n"}, {"job_id": "job-1", "text": "two\n"}]
