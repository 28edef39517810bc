"""Jobs that are chosen by what they have in common: waited for, and cancelled, all together."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Command
from tests.cli.pseudo_terminal import terminal
from tests.cli.stub import API_KEY, Answer, Stub, job

CHOICE = ("--label", "team=search:1", "--label", "gpu-test", "--name", "a b", "--since", "2026-11-01")
QUERY = {
    "label": ["team:search:1", "gpu-test"],
    "name": ["a b"],
    "created_after": ["2026-11-01"],
}


def fitting(job_id: str, status: str = "completed") -> dict[str, object]:
    """A job that fits the choice."""
    labels = {"team": "search:1", "gpu-test": "x"}
    return job(job_id, status, name="a b", labels=labels, created_at="2026-11-01T00:00:00Z")


def listing(*jobs: object) -> Answer:
    """All jobs on one page."""
    return Answer(200, {"jobs": list(jobs), "next_cursor": None})


def test_list_asks_for_what_is_chosen(stub: Stub, nodus: Command) -> None:
    """A value after the first equals sign, a key alone for any; long ago, or at a time."""
    stub.answer("GET /v1/jobs", listing(fitting("a")))

    listed = nodus("list", *CHOICE, "--until", "2026-11-01T00:00:00.001Z")
    nodus("list", "--since", "2w")
    nodus("list", "--label", "a=b=c", "--label", "d=")

    first, second, third = stub.called("GET /v1/jobs")
    assert listed.stdout.startswith("a\tcompleted")
    assert first.query == {"limit": ["50"], **QUERY, "created_before": ["2026-11-01T00:00:00.001Z"]}
    assert second.query["created_after"][0].endswith("+00:00")
    assert third.query["label"] == ["a:b=c", "d:"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("list", "--since", "yesterday"), 2, "neither how long ago"),
        (("list", "--since", "99999999w"), 2, "neither how long ago"),
        (("list", "--since", "999999w"), 2, "neither how long ago"),
        (("list", "--until", "2026-11-31"), 2, "neither how long ago"),
        (("list", "--label", "a=1", "--label", "a=2"), 2, "--label a is given twice"),
        (("list", "--label", "Team=x"), 5, "`labels` must have keys of"),
        (("run", "--image", "i", "--label", "a=1", "--label", "a"), 2, "--label a is given twice"),
        (("wait",), 2, "Name a job by its ID, or choose several by --label"),
        (("cancel",), 2, "Name a job by its ID, or choose several by --label"),
        (("wait", "job-1", "--label", "a"), 2, "not both"),
        (("cancel", "job-1", "--since", "1h"), 2, "not both"),
    ],
)
def test_a_choice_that_cannot_be_understood_is_told_the_rule(
    stub: Stub, nodus: Command, arguments: tuple[str, ...], status: int, message: str
) -> None:
    """Nothing is sent."""
    result = nodus(*arguments)

    assert result.status == status
    assert message in " ".join(result.stderr.split())
    assert stub.requests == []


@pytest.mark.usefixtures("backend")
def test_wait_ends_when_all_are_over(stub: Stub, nodus: Command) -> None:
    """Those that were over count too; a row for each as it ends."""
    before = [fitting("a"), fitting("b", "running"), fitting("c", "running")]
    stub.answer(
        "GET /v1/jobs",
        listing(*before),
        listing(fitting("b", "running"), fitting("c", "running")),
        listing(fitting("c", "running")),
        listing(),
    )
    stub.answer("GET /v1/jobs/b", Answer(200, fitting("b")))
    stub.answer("GET /v1/jobs/c", Answer(200, fitting("c")))

    result = nodus("wait", *CHOICE, "--poll-seconds", "0.001")

    assert result.status == 0
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [[each, "completed"] for each in "abc"]
    assert "Waiting for 3 jobs, of which 1 are over." in result.stderr
    assert stub.called("GET /v1/jobs")[0].query == {"limit": ["200"], **QUERY}


def test_wait_fails_if_one_did_not_complete(stub: Stub, nodus: Command) -> None:
    """With the status of a job that was waited for by its id; which one is on stdout."""
    stub.answer("GET /v1/jobs", listing(fitting("a"), fitting("b", "failed"), fitting("c", "cancelled")))

    result = nodus("wait", "--label", "team")
    programs = nodus("wait", "--label", "team", "--json")

    assert result.status == programs.status == 1
    assert "2 of 3 jobs did not complete." in result.stderr
    assert {json.loads(line)["id"]: json.loads(line)["status"] for line in programs.stdout.splitlines()} == {
        "a": "completed",
        "b": "failed",
        "c": "cancelled",
    }
    assert programs.stderr == ""


def test_waiting_for_nothing_is_a_mistake(stub: Stub, nodus: Command) -> None:
    """A misspelt label must not pass for jobs that completed."""
    stub.answer("GET /v1/jobs", listing())

    result = nodus("wait", "--label", "tema=search")
    told = nodus("wait", "--label", "tema=search", "--json")

    assert (result.status, result.stdout, result.stderr) == (4, "", "No job is chosen by that.\n")
    assert json.loads(told.stderr)["error"] == "job_not_found"


def test_a_wait_that_takes_too_long_says_how_to_go_on(stub: Stub, nodus: Command) -> None:
    """The same jobs are waited for again; those that go on are on stdout."""
    stub.answer("GET /v1/jobs", listing(fitting("b", "running")))
    stub.answer("GET /v1/jobs/b", Answer(200, fitting("b", "running")))

    result = nodus("wait", *CHOICE, "--timeout", "0")

    assert result.status == 124
    assert result.stdout.startswith("b\trunning")
    again = "nodus wait --name 'a b' --label team=search:1 --label gpu-test --since 2026-11-01 --timeout 0"
    assert f"To wait for them again:  {again}" in result.stderr


@pytest.mark.usefixtures("backend")
def test_cancel_ends_those_that_are_not_over(stub: Stub, nodus: Command) -> None:
    """Each by itself: one that fails leaves the others, and is told. Nobody is asked in a pipe."""
    stub.answer("GET /v1/jobs", listing(*(fitting(each, "running") for each in "abc")))
    stub.answer("POST /v1/jobs/a/cancel", Answer(200, fitting("a", "cancelled")))
    stub.answer("POST /v1/jobs/b/cancel", Answer(403, {"error": "forbidden_principal", "message": "Not yours."}))
    stub.answer("POST /v1/jobs/c/cancel", Answer(200, fitting("c", "running")))

    result = nodus("cancel", *CHOICE)

    assert stub.called("GET /v1/jobs")[0].query == {"limit": ["200"], **QUERY, "status": ["queued,placed,running"]}
    assert sorted(line.split("\t")[0] for line in result.stdout.splitlines()) == ["a", "c"]
    assert "Job b could not be cancelled: Not yours." in result.stderr
    assert result.status == 3


def test_cancel_says_how_to_wait_for_suppliers(stub: Stub, nodus: Command) -> None:
    """And that there was nothing to do, which is no mistake."""
    stub.answer("GET /v1/jobs", listing(fitting("a", "running")), listing())
    stub.answer("POST /v1/jobs/a/cancel", Answer(200, fitting("a", "running")))

    result = nodus("cancel", "--label", "team=search:1")
    nothing = nodus("cancel", "--label", "team")

    assert result.status == nothing.status == 0
    assert "To wait for that: nodus wait --label team=search:1\n" in result.stderr
    assert (nothing.stdout, nothing.stderr) == ("", "No job that is not over is chosen by that.\n")


@pytest.mark.parametrize(
    ("backend", "answer", "cancelled"), [("asyncio", "y\r", True), ("trio", "YES\r", True), ("trio", "\r", False)]
)
def test_a_person_is_asked_before_several_jobs_are_cancelled(
    stub: Stub, backend: str, answer: str, cancelled: bool
) -> None:
    """They are shown first; anything but yes leaves them alone."""
    stub.answer("GET /v1/jobs", listing(*(fitting(f"job-{number}", "running") for number in range(12))))
    for number in range(12):
        stub.answer(f"POST /v1/jobs/job-{number}/cancel", Answer(200, fitting(f"job-{number}", "cancelled")))
    environ = {"NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url, "NODUS_BACKEND": backend, "NO_COLOR": "1"}

    with terminal("cancel", "--label", "team", environ=environ) as screen:
        screen.wait_for("Cancel them? [y/N] ")
        asked = screen.screen
        assert "To be cancelled: 12 jobs." in asked
        assert "job-9  running  a b" in asked
        assert "and 2 more" in asked
        screen.type(answer)
        status = screen.end()

    assert status == 0
    assert len([request for request in stub.requests if request.method == "POST"]) == (12 if cancelled else 0)
    assert ("Nothing was cancelled." in screen.screen) is not cancelled


def test_a_question_can_be_interrupted(stub: Stub) -> None:
    """Nothing was cancelled, and nobody need press Enter as well."""
    stub.answer("GET /v1/jobs", listing(fitting("a", "running"), fitting("b", "running")))

    with terminal(
        "cancel", "--label", "team", environ={"NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url}
    ) as screen:
        screen.wait_for("Cancel them? [y/N] ")
        screen.type("\x03")
        assert screen.end() == 130

    assert [request.method for request in stub.requests] == ["GET"]


@pytest.mark.parametrize(("option", "jobs"), [("--yes", 2), (None, 1)])
def test_nobody_is_asked_who_is_sure(stub: Stub, option: str | None, jobs: int) -> None:
    """Nor about a single job."""
    stub.answer("GET /v1/jobs", listing(*(fitting(f"job-{number}", "running") for number in range(jobs))))
    for number in range(jobs):
        stub.answer(f"POST /v1/jobs/job-{number}/cancel", Answer(200, fitting(f"job-{number}", "cancelled")))

    with terminal(
        *("cancel", "--label", "team", *([option] if option else [])),
        environ={"NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url},
    ) as screen:
        assert screen.end() == 0

    assert "Cancel them?" not in screen.screen
    assert len([request for request in stub.requests if request.method == "POST"]) == jobs


def test_an_interrupted_wait_says_how_to_go_on_or_cancels(stub: Stub) -> None:
    """The jobs go on, unless they were to be cancelled: then those that are not over."""
    stub.answer("GET /v1/jobs", listing(fitting("a"), fitting("b", "running"), fitting("c", "running")))
    for each in "bc":
        stub.answer(f"POST /v1/jobs/{each}/cancel", Answer(200, fitting(each, "cancelled")))
    environ = {"NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url, "NO_COLOR": "1"}
    with terminal("wait", "--label", "team", environ=environ) as left:
        left.wait_for("a  completed")
        left.type("\x03")
        assert left.end() == 130
    assert "The jobs go on." in left.screen
    assert "To wait for them again:  nodus wait --label team" in left.screen
    assert all(request.method == "GET" for request in stub.requests)

    with terminal("wait", "--label", "team", "--cancel-on-interrupt", environ=environ) as cancelled:
        cancelled.wait_for("a  completed")
        cancelled.type("\x03")
        assert cancelled.end() == 130
    assert "They are cancelled, or about to be." in cancelled.screen
    assert len([request for request in stub.requests if request.method == "POST"]) == 2
