"""The commands that show jobs: what goes to stdout, and the exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest

from nodus import JobView
from nodus._cli.jobs import show_job, show_rows, show_tab_separated
from nodus._cli.output import Output
from nodus._cli.waiting import Progress
from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub, job

if TYPE_CHECKING:
    from nodus import AsyncJob


def listing(*jobs: object, cursor: str | None = None) -> Answer:
    """A page of jobs."""
    return Answer(200, {"jobs": list(jobs), "next_cursor": cursor})


@pytest.mark.usefixtures("backend")
def test_health_is_one_line_on_either_event_loop(stub: Stub, nodus: Command) -> None:
    """Deploy scripts read the exit status, people the line."""
    stub.answer("GET /healthz", Answer(200, {"status": "ok", "version": "9.9"}))

    assert nodus("health") == (0, "ok 9.9\n", "")


def test_health_as_json_is_what_the_server_said(stub: Stub, nodus: Command) -> None:
    """No member is added or left out."""
    stub.answer("GET /healthz", Answer(200, {"status": "ok", "region": "x"}))

    assert json.loads(nodus("health", "--json").stdout) == {"status": "ok", "region": "x"}


def test_a_control_plane_that_is_not_well_fails_the_health_check(stub: Stub, nodus: Command) -> None:
    """It answers, but reports a problem itself."""
    stub.answer("GET /healthz", Answer(200, {"status": "degraded"}))

    result = nodus("health")

    assert (result.status, result.stdout) == (10, "degraded\n")
    assert "reports a problem" in result.stderr


@pytest.mark.usefixtures("backend")
def test_a_list_that_is_piped_has_a_job_a_line_with_tabs_between(stub: Stub, nodus: Command) -> None:
    """`cut -f1` gives ids; a cell without a value is empty."""
    stub.answer("GET /v1/jobs", listing(job("a", supplier="lambda", region="r1", cost_usd=47.62), job("b", "queued")))

    result = nodus("list")

    assert result == (
        0,
        "a\tcompleted\t1 x h100_80gb\tlambda\tr1\t47.62\t2026-01-02T03:04:05Z\n"
        "b\tqueued\t1 x h100_80gb\t\t\t\t2026-01-02T03:04:05Z\n",
        "",
    )


def test_a_list_as_json_is_an_object_a_line(stub: Stub, nodus: Command) -> None:
    """NDJSON: each line stands alone."""
    stub.answer("GET /v1/jobs", listing(job("a"), job("b", "failed", error_message="boom")))

    lines = nodus("list", "--json").stdout.splitlines()

    assert [json.loads(line)["id"] for line in lines] == ["a", "b"]
    assert json.loads(lines[1])["error_message"] == "boom"


def test_a_limit_is_kept_across_pages(stub: Stub, nodus: Command) -> None:
    """The server may return fewer or more per page than was asked for."""
    stub.answer("GET /v1/jobs", listing(job("a"), job("b"), cursor="2"), listing(job("c"), job("d"), cursor="3"))

    result = nodus("list", "--limit", "3")

    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["a", "b", "c"]
    assert [request.query["limit"] for request in stub.called("GET /v1/jobs")] == [["3"], ["3"]]


def test_all_goes_on_to_the_last_page(stub: Stub, nodus: Command) -> None:
    """It asks for the largest pages that the server gives."""
    stub.answer("GET /v1/jobs", listing(job("a"), cursor="2"), listing(job("b")))

    result = nodus("list", "--all", "--status", "running", "--status", "queued")

    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["a", "b"]
    first, second = stub.called("GET /v1/jobs")
    assert (first.query["limit"], first.query["status"]) == (["200"], ["running,queued"])
    assert second.query["cursor"] == ["2"]


def test_an_empty_list_says_so_on_stderr(stub: Stub, nodus: Command) -> None:
    """Stdout stays empty for programs."""
    stub.answer("GET /v1/jobs", listing())

    assert nodus("list") == (0, "", "No jobs.\n")


def test_list_can_be_of_one_name(stub: Stub, nodus: Command) -> None:
    """Exactly as given; one that no job can have is refused before anything is sent."""
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": [job(name="夜間 1")], "next_cursor": None}))

    result = nodus("list", "--name", "夜間 1", "--json")
    empty = nodus("list", "--name", "")

    (request,) = stub.called("GET /v1/jobs")
    assert (request.query["name"], json.loads(result.stdout)["name"]) == (["夜間 1"], "夜間 1")
    assert empty.status != 0
    assert "`name` must be 1 to 128 printable characters" in empty.stderr


def test_get_shows_the_name_of_a_job_that_has_one(stub: Stub, nodus: Command) -> None:
    """Beside what else was submitted."""
    stub.answer("GET /v1/jobs/job-1", Answer(200, job(image="a/b", name="nightly")))
    named = nodus("get", "job-1").stdout
    stub.answer("GET /v1/jobs/job-1", Answer(200, job(image="a/b")))

    assert [line.split() for line in named.splitlines() if line.startswith(("image", "name"))] == [
        ["image", "a/b"],
        ["name", "nightly"],
    ]
    assert "name" not in nodus("get", "job-1").stdout


@pytest.mark.parametrize("status", ["queued", "running", "failed", "cancelled"])
def test_get_succeeds_whatever_the_state(stub: Stub, nodus: Command, status: str) -> None:
    """Without `--wait`, a failed job is no failure of the command."""
    stub.answer("GET /v1/jobs/job-1", Answer(200, job(status=status)))

    result = nodus("get", "job-1")

    assert result.status == 0
    assert f"status   {status}\n" in result.stdout


def test_get_shows_what_is_known_of_a_job(stub: Stub, nodus: Command) -> None:
    """Costs, the retail price and the savings are shown in dollars."""
    stub.answer(
        "GET /v1/jobs/job-1",
        Answer(
            200,
            job(
                supplier="lambda",
                region="us-west-1",
                duration_s=1234.56,
                cost_usd=47.62,
                retail_cost_usd=80.0,
                saved_usd=32.38,
                gpu_count=8,
            ),
        ),
    )

    facts = dict(line.split(None, 1) for line in nodus("get", "job-1").stdout.splitlines())

    assert facts["id"] == "job-1"
    assert facts["gpu"] == "8 x h100_80gb"
    assert facts["duration"] == "1,234.6 s"
    assert facts["cost_usd"] == "$47.62"


@pytest.mark.usefixtures("backend")
def test_get_wait_watches_to_the_end(stub: Stub, nodus: Command) -> None:
    """Progress goes to stderr, the final state to stdout."""
    stub.answer(
        "GET /v1/jobs/job-1",
        Answer(200, job(status="queued")),
        Answer(200, job(status="running", supplier="lambda", region="r1")),
        Answer(200, job(status="running", supplier="lambda", region="r1", attempts=1)),
        Answer(200, job(supplier="lambda", region="r1", cost_usd=1.5)),
    )

    result = nodus("get", "job-1", "--wait", "--poll-seconds", "0.001")

    assert result.status == 0
    assert "status    completed\n" in result.stdout
    assert [line.split(maxsplit=1)[1] for line in result.stderr.splitlines()] == [
        "queued",
        "running on lambda, r1",
        "completed on lambda, r1",
    ]


@pytest.mark.parametrize(
    ("end", "reason"),
    [(job(status="failed", error_message="out of store"), "out of store"), (job(status="cancelled"), "cancelled")],
)
@pytest.mark.parametrize("words", [("wait", "job-1"), ("get", "job-1", "--wait")])
def test_a_job_that_did_not_complete_fails_the_wait(
    stub: Stub, nodus: Command, words: tuple[str, ...], end: dict[str, object], reason: str
) -> None:
    """The exit status is 1, and stderr says why."""
    stub.answer("GET /v1/jobs/job-1", Answer(200, end))

    result = nodus(*words)

    assert result.status == 1
    assert reason in result.stderr.splitlines()[-1]


@pytest.mark.usefixtures("backend")
def test_a_wait_that_times_out_exits_124_and_says_how_to_go_on(stub: Stub, nodus: Command) -> None:
    """Stdout has the job's last state, so that a program learns which job it was."""
    stub.answer("GET /v1/jobs/job-1", Answer(200, job(status="running")))

    result = nodus("wait", "job-1", "--timeout", "0")
    as_json = nodus("wait", "job-1", "--timeout", "0", "--json")

    assert (result.status, as_json.status) == (124, 124)
    assert json.loads(as_json.stdout)["status"] == "running"
    for told in (result.stderr, json.loads(as_json.stderr)["hint"]):
        assert "nodus wait job-1" in told
        assert "nodus cancel job-1" in told


def test_waiting_for_a_job_that_is_not_there_exits_4(stub: Stub, nodus: Command) -> None:
    """Only a job that was just submitted may read as absent for a moment."""
    stub.answer("GET /v1/jobs/nope", Answer(404, {"error": "job_not_found", "message": "No job nope."}))

    result = nodus("wait", "nope")

    assert (result.status, result.stdout) == (4, "")
    assert "No job nope. (job_not_found, HTTP 404, request req_1)" in result.stderr


def test_trouble_while_waiting_is_told(stub: Stub, nodus: Command) -> None:
    """Failed polls are reported, so that the command does not seem to hang."""
    stub.answer("GET /v1/jobs/job-1", Answer(503, {"error": "starting", "message": "Soon."}), Answer(200, job()))

    result = nodus("wait", "job-1", "--poll-seconds", "0.001")

    assert result.status == 0
    assert "could not poll job job-1" in result.stderr


@pytest.mark.parametrize(("status", "terminal"), [("running", False), ("cancelled", True)])
def test_cancel_shows_where_the_job_stands(stub: Stub, nodus: Command, status: str, terminal: bool) -> None:
    """A running job is cancelled only once its supplier confirms."""
    stub.answer("POST /v1/jobs/job-1/cancel", Answer(200, job(status=status)))

    result = nodus("cancel", "job-1")

    assert (result.status, f"status   {status}\n" in result.stdout) == (0, True)
    assert ("nodus wait job-1" in result.stderr) is not terminal


def test_logs_are_written_as_they_are(stub: Stub, nodus: Command) -> None:
    """No line break is added."""
    stub.answer("GET /v1/jobs/job-1/logs", Answer(200, "epoch 1\nepoch 2"))

    assert nodus("logs", "job-1") == (0, "epoch 1\nepoch 2", "")


def test_logs_as_json_name_their_job(stub: Stub, nodus: Command) -> None:
    """The text is a member of an object, not JSON by itself."""
    stub.answer("GET /v1/jobs/job-1/logs", Answer(200, "epoch 1\n"))

    assert json.loads(nodus("logs", "job-1", "--json").stdout) == {"job_id": "job-1", "text": "epoch 1\n"}


class Simulated(JobView):
    """A view of a job that was only made up."""

    simulated: bool = True


def test_a_simulated_job_says_that_nothing_ran(capfd: pytest.CaptureFixture[str]) -> None:
    """The last line says so; a real job has no such line."""
    show_job(Output(), Simulated.model_validate(job()), as_json=False)
    made_up = capfd.readouterr().out
    show_job(Output(), JobView.model_validate(job()), as_json=False)
    real = capfd.readouterr().out

    assert made_up == real + "simulated: nothing ran\n"


@pytest.mark.parametrize("show", [show_tab_separated, lambda output, view: show_rows(output, [view])])
def test_an_amount_that_nobody_pays_has_the_word_beside_it(
    show: Callable[[Output, JobView], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """In listings too; a real one stands alone."""
    show(Output(), Simulated.model_validate(job(cost_usd=1.5)))
    show(Output(), JobView.model_validate(job(cost_usd=1.5)))
    made_up, real = [line for line in capfd.readouterr().out.splitlines() if "1.50" in line]

    assert "1.50 (simulated)" in made_up
    assert "simulated" not in real


@pytest.mark.parametrize("show", [show_tab_separated, lambda output, view: show_rows(output, [view])])
def test_every_simulated_job_of_a_listing_says_so(
    show: Callable[[Output, JobView], None], capfd: pytest.CaptureFixture[str]
) -> None:
    """Before it costs anything, too."""
    show(Output(), Simulated.model_validate(job(status="queued")))
    made_up = capfd.readouterr().out
    show(Output(), JobView.model_validate(job(status="queued")))

    assert "(simulated)" in made_up
    assert "simulated" not in capfd.readouterr().out


def test_a_running_job_shows_its_price_cost_and_phase(capfd: pytest.CaptureFixture[str]) -> None:
    """Until it is over, and the cost is final."""
    going_on = {"cost_so_far_usd": 1.5, "usd_per_gpu_hour": 2, "phase": "unknown", "phase_detail": "It is silent."}
    show_job(Output(), JobView.model_validate(job(status="running", **going_on)), as_json=False)
    running = capfd.readouterr().out
    show_job(Output(), JobView.model_validate(job(cost_usd=0.75, cost_so_far_usd=0.75)), as_json=False)
    over = capfd.readouterr().out
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in running.splitlines())

    assert facts["phase"] == "unknown: It is silent."
    assert facts["price"] == "$2.00 per GPU-hour"
    assert facts["cost so far"] == "$1.50"
    assert "cost so far" not in over


def test_watching_a_simulated_job_says_so_from_the_start(capfd: pytest.CaptureFixture[str]) -> None:
    """Each status line is marked."""

    class Handle:
        view = Simulated.model_validate(job(status="running", supplier="vast"))
        status = view.status

    Progress(Output())(cast("AsyncJob", Handle()))

    assert capfd.readouterr().err.endswith("running on vast (simulated)\n")
