"""`nodus run --file` and `nodus quote --file`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodus._cli.sweeps import MAX_KEY_LENGTH
from tests.cli.conftest import Command
from tests.cli.stub import Answer, Request, Stub, job
from tests.cli.test_interrupts import posix_only
from tests.cli.test_quoting import QUOTE, QUOTES

BATCH = "POST /v1/jobs/batch"
SUBMIT = "POST /v1/jobs"
SWEEP = """\
image = "ghcr.io/acme/train:v3"
command = ["train", "--lr={LR}"]
gpu = "l40s"
env.TOKEN = "hush"
labels.team = "search"

[matrix]
LR = [0.1, 1e-4]
SEED = [1, 2]
"""
OVER_BUDGET = {"status": 402, "error": "budget_exceeded", "message": "Too dear."}

Refuses = Callable[[dict[str, Any]], dict[str, object] | None]


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    """A file of four jobs."""
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP, encoding="utf-8")
    return str(path)


def accepting(stub: Stub, refuses: Refuses = lambda spec: None, **fields: object) -> dict[str, dict[str, Any]]:
    """Take jobs in batches, each key once; return the specs by job id."""
    specs: dict[str, dict[str, Any]] = {}
    ids: dict[str, str] = {}

    def submit(request: Request) -> Answer:
        results: list[dict[str, object]] = []
        jobs: Any = request.json()["jobs"]
        for spec in jobs:
            refused = refuses(spec)
            if refused is not None:
                results.append(refused)
                continue
            replayed = spec["idempotency_key"] in ids
            job_id = ids.setdefault(spec["idempotency_key"], f"job-{len(ids) + 1}")
            specs[job_id] = spec
            results.append({"job": job(job_id, "queued", labels=spec.get("labels", {})), "replayed": replayed})
        return Answer(200, {"results": results})

    stub.scripts[BATCH] = submit
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": [], "next_cursor": None}))
    for number in range(1, 10):
        view = {"cost_usd": number / 10, **fields}
        stub.answer(f"GET /v1/jobs/job-{number}", Answer(200, job(f"job-{number}", **view)))
    return specs


def printed_line(text: str) -> list[str]:
    """The arguments of the command line that was printed."""
    (line,) = [line for line in text.splitlines() if line.strip().startswith("nodus run")]
    return shlex.split(line)[1:]


@pytest.mark.usefixtures("backend")
def test_every_combination_is_submitted(stub: Stub, nodus: Command, sweep: str) -> None:
    """In one request; the ids alone are on stdout, in order."""
    specs = accepting(stub)
    result = nodus("run", "-f", sweep)

    assert (result.status, result.stdout) == (0, "job-1\njob-2\njob-3\njob-4\n")
    assert "4 jobs submitted." in result.stderr
    assert "hush" not in result.stdout + result.stderr
    assert [request.path for request in stub.requests] == ["/v1/jobs/batch"]
    third = specs["job-3"]
    assert third.pop("idempotency_key").startswith("nodus-")
    assert third == {
        "image": "ghcr.io/acme/train:v3",
        "command": ["train", "--lr=1e-4"],
        "gpu": "l40s",
        "gpu_count": 1,
        "max_runtime_seconds": 3600,
        "env": {"TOKEN": "hush", "LR": "1e-4", "SEED": "1"},
        "labels": {"team": "search", "lr": "1e-4", "seed": "1"},
    }


def test_options_take_the_place_of_what_the_file_says(stub: Stub, nodus: Command, sweep: str) -> None:
    """Those that were typed, and no defaults; variables and labels are added."""
    specs = accepting(stub)
    nodus(
        *("run", "--file", sweep, "--gpu-count", "2", "--max-cost-usd", "0.5", "--env", "TOKEN=new", "--env", "A=b"),
        *("--label", "run=7", "--name", "n", "--", "other", "{SEED}", "{seed}"),
    )

    spec = specs["job-2"]
    assert (spec["gpu"], spec["gpu_count"], spec["max_cost_usd"], spec["name"]) == ("l40s", 2, 0.5, "n")
    assert spec["env"] == {"TOKEN": "new", "A": "b", "LR": "0.1", "SEED": "2"}
    assert spec["labels"] == {"team": "search", "run": "7", "lr": "0.1", "seed": "2"}
    assert spec["command"] == ["other", "2", "{seed}"]


def test_the_printed_line_finds_the_same_jobs(
    stub: Stub, nodus: Command, sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--wait`, it waits for them. A list that has grown since is submitted on, without a second job of any."""
    specs = accepting(stub)
    first = nodus("run", "-f", sweep, "--gpu", "a10g", "--env", "A=b c", "--require-tier", "own", "--", "x", "{LR}")
    monkeypatch.setenv("A", "b c")
    before = dict(specs)
    line = printed_line(first.stderr)
    second = nodus(*line)

    assert "with A set as before" in first.stderr
    assert "b c" not in first.stderr
    assert specs == before
    assert "4 jobs submitted, 4 of them before, with this idempotency key." in second.stderr
    assert [each.split("\t")[:2] for each in sorted(second.stdout.splitlines())] == [
        [f"job-{number}", "completed"] for number in range(1, 5)
    ]

    Path(sweep).write_text(SWEEP.replace("SEED = [1, 2]", "SEED = [0, 2, 1]"), encoding="utf-8")
    third = nodus(*(word for word in line if word != "--wait"))
    assert third.stdout.split() == ["job-5", "job-2", "job-1", "job-6", "job-4", "job-3"]


def test_a_file_without_a_matrix_is_one_job(stub: Stub, nodus: Command, tmp_path: Path) -> None:
    """Under the key itself, which the file may have too."""
    path = tmp_path / "job.toml"
    path.write_text("image = 'a'\nidempotency_key = 'k'", encoding="utf-8")
    stub.answer(SUBMIT, Answer(202, job(status="queued")))
    result = nodus("run", "-f", str(path))

    assert result.stdout == "job-1\n"
    assert [request.json()["idempotency_key"] for request in stub.called(SUBMIT)] == ["k"]


@pytest.mark.usefixtures("backend")
def test_all_are_waited_for_and_their_costs_added_up(stub: Stub, nodus: Command, sweep: str) -> None:
    """A row each, and one line in the end; as JSON, an object each, and nothing else."""
    accepting(stub)
    rows = nodus("run", "-f", sweep, "--wait", "--poll-seconds", "0.001")
    objects = nodus("run", "-f", sweep, "--wait", "--poll-seconds", "0.001", "--idempotency-key", "k", "--json")

    assert (rows.status, len(rows.stdout.splitlines())) == (0, 4)
    assert rows.stderr.endswith("4 jobs: 4 completed; $1.00 together, $0.10 to $0.40 each.\n")
    assert (objects.status, objects.stderr) == (0, "")
    assert sorted(json.loads(line)["id"] for line in objects.stdout.splitlines()) == [
        "job-5",
        "job-6",
        "job-7",
        "job-8",
    ]


def test_a_job_that_fails_fails_the_command(stub: Stub, nodus: Command, sweep: str) -> None:
    """As it does alone."""
    accepting(stub, status="failed")
    result = nodus("run", "-f", sweep, "--wait")

    assert result.status == 1
    assert "4 of 4 jobs did not complete." in result.stderr


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_each_is_refused_by_itself(stub: Stub, nodus: Command, sweep: str, wait: list[str]) -> None:
    """The others are submitted, and waited for; the exit status is that of the first that was not."""
    accepting(stub, lambda spec: OVER_BUDGET if spec["env"]["SEED"] == "2" else None)
    people, programs = nodus("run", "-f", sweep, *wait), nodus("run", "-f", sweep, *wait, "--json")

    assert people.status == programs.status == 7
    assert len(people.stdout.splitlines()) == 2
    assert "Not submitted: LR=0.1 SEED=2: Too dear." in people.stderr
    assert "2 jobs submitted; 2 not." in people.stderr
    assert ("2 jobs: 2 completed" in people.stderr) == bool(wait)
    refused = [told for line in programs.stdout.splitlines() if "id" not in (told := json.loads(line))]
    assert [told["labels"] for told in refused] == [{"lr": "0.1", "seed": "2"}, {"lr": "1e-4", "seed": "2"}]
    assert len(programs.stdout.splitlines()) == 4
    failure = json.loads(programs.stderr)
    assert (failure["error"], failure["exit_code"]) == ("budget_exceeded", 7)
    assert failure["message"] == "2 of 4 jobs were not submitted: Too dear."
    assert printed_line(failure["hint"])[:2] == ["run", "--file"]


def test_what_concerns_all_is_one_error(stub: Stub, nodus: Command, sweep: str) -> None:
    """No job can have been submitted, so no line submits them again."""
    stub.answer(BATCH, Answer(401, {"error": "invalid_api_key", "message": "Unknown key."}))
    result = nodus("run", "-f", sweep)

    assert (result.status, result.stdout) == (3, "")
    assert "Unknown key." in result.stderr
    assert "--idempotency-key" not in result.stderr


def test_a_connection_that_is_lost_later_leaves_what_was_submitted(
    stub: Stub, nodus: Command, sweep: str, tmp_path: Path
) -> None:
    """All jobs that are left have that error, and the printed line submits them."""
    path = tmp_path / "large.toml"
    path.write_text(f"image = 'a'\n[matrix]\nN = {list(range(401))}", encoding="utf-8")
    accepting(stub)
    submit = stub.scripts[BATCH]
    broken = Answer(500, {"error": "oops", "message": "Broken."}, {"x-should-retry": "false"})
    stub.scripts[BATCH] = lambda request: submit(request) if len(stub.called(BATCH)) == 1 else broken
    result = nodus("run", "-f", str(path))

    assert (result.status, len(result.stdout.split())) == (10, 200)
    assert result.stderr.count("Not submitted: N=") == 201
    assert len(stub.called(BATCH)) == 2

    stub.answer(SUBMIT, Answer(202, job("job-401", "queued")))
    stub.scripts[BATCH] = submit
    lines = [line for line in result.stderr.splitlines() if line.startswith("  nodus run")]
    assert len(nodus(*shlex.split(lines[-1])[1:]).stdout.split()) == 401


@pytest.mark.parametrize(
    ("file", "arguments", "status", "complaint"),
    [
        ("image = 'a'\ngpus = 1", [], 2, "line 2: `gpus` is no field of a job; did you mean `gpu`?"),
        ("gpu = 'l40s'", [], 2, "`image` is missing: add it, or give --image."),
        ("image = 'a'\n\ngpu_count = 9", [], 5, "line 3: `gpu_count` should be less than or equal to 8."),
        ("image = 'a'\ngpu_count = 9", ["--gpu-count", "10"], 5, "`gpu_count` should be less than"),
        ("image = 'a'\ngpu = 'L40'", [], 5, "line 2: `gpu` must be one of"),
        ("image = 'a'\n[labels]\nTeam = 'x'", [], 5, "line 3: `labels` must have keys of"),
        ("image = 'a'\nmatrix.LR = [1]", ["--label", "lr=1"], 2, "--label lr is set by `LR` too"),
        ("image = 'a'\nmatrix.LR = [1]", ["--env", "LR=1"], 2, "--env LR is set by `LR` too"),
        ("image = 'a'\nmatrix.LR = [1]", ["--idempotency-key", "k" * (MAX_KEY_LENGTH + 1)], 5, "at most 95 characters"),
        ("image = 'a'", ["--idempotency-key", "k\n"], 5, "`idempotency_key` must be"),
        ("image = 'a'", ["--dry-run", "--wait"], 2, "--dry-run submits nothing"),
        (None, [], 2, "No such file"),
    ],
)
def test_a_mistake_is_told_before_anything_is_sent(
    stub: Stub, nodus: Command, tmp_path: Path, file: str | None, arguments: list[str], status: int, complaint: str
) -> None:
    """Those in the file with its line."""
    path = tmp_path / "s.toml"
    if file is not None:
        path.write_text(file, encoding="utf-8")
    result = nodus("run", "-f", str(path), *arguments)

    assert (result.status, result.stdout, stub.requests) == (status, "", [])
    assert complaint in " ".join(result.stderr.split())


def test_a_gpu_that_nobody_offers_is_refused(stub: Stub, nodus: Command, sweep: str) -> None:
    """One that somebody does is submitted; it is asked for once."""
    accepting(stub)
    offer = {"supplier": "a", "kind": "own", "region": "r", "gpu": "b300", "usd_per_gpu_hour": 1}
    stub.answer("GET /v1/offers", Answer(200, {"offers": []}), Answer(200, {"offers": [offer]}))
    refused, taken = (nodus("run", "-f", sweep, "--gpu", "b300") for _ in range(2))

    assert (refused.status, taken.status) == (5, 0)
    assert "`gpu` must be one of" in refused.stderr
    assert len(stub.called("GET /v1/offers")) == 2
    assert len(stub.called(BATCH)) == 1


def test_a_dry_run_shows_every_job_and_asks_nobody(
    stub: Stub, nodus: Command, sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for a key; secrets are hidden, the values of the matrix are not."""
    monkeypatch.delenv("NODUS_API_KEY")
    people = nodus("run", "-f", sweep, "--dry-run", "--env", "A=hush")
    programs = nodus("run", "-f", sweep, "--dry-run", "--idempotency-key", "k", "--json")

    assert people.status == programs.status == 0
    assert stub.requests == []
    assert "hush" not in people.stdout + people.stderr + programs.stdout
    assert "Job 3 of 4: LR=1e-4 SEED=1\n{\n" in people.stdout
    assert "Nothing was submitted." in people.stderr
    shown = [json.loads(line) for line in programs.stdout.splitlines()]
    assert [each["spec"]["env"] for each in shown] == [
        {"TOKEN": "[hidden]", "LR": rate, "SEED": seed} for rate in ("0.1", "1e-4") for seed in "12"
    ]
    assert len({each["idempotency_key"] for each in shown}) == 4


def test_a_quote_adds_up(stub: Stub, nodus: Command, sweep: str) -> None:
    """One question answers for all jobs."""
    candidates = [{"supplier": "x", "estimated_cost_usd": 40}, {"supplier": "y", "estimated_cost_usd": 30}]
    stub.answer(QUOTES, Answer(200, {**QUOTE, "headroom_usd": 100, "candidates": candidates}))
    people, programs = nodus("quote", "-f", sweep), nodus("quote", "-f", sweep, "--json")

    assert people.stdout.splitlines() == [
        "jobs       4",
        "fit        3 of them",
        "supplier   lambda us-east-1",
        "at most    $127.68, $31.92 each",
        "range      $120.00 to $160.00, depending on the supplier",
        "at retail  $220.16",
        "headroom   $100.00",
    ]
    shown = json.loads(programs.stdout)
    assert (shown["jobs"], shown["fitting"]) == (4, 3)
    assert shown["total"] == {"estimated_cost_usd": 127.68, "least_usd": 120.0, "most_usd": 160.0}
    assert len(stub.called(QUOTES)) == 2


def test_a_quote_says_nothing_twice(stub: Stub, nodus: Command, sweep: str) -> None:
    """No range where all suppliers cost the same, and no amount where all are out."""
    stub.answer(QUOTES, Answer(200, QUOTE), Answer(200, {"fits": False, "chosen": None}))
    same, out = nodus("quote", "-f", sweep).stdout, nodus("quote", "-f", sweep).stdout

    assert "range" not in same
    assert [line.split("  ")[0] for line in out.splitlines()] == ["jobs", "fit", "supplier"]
    assert "0 of them" in out
    assert "all that offer this are out" in out


@posix_only
def test_an_interrupted_submission_says_how_to_go_on(stub: Stub, nodus: Command, sweep: str) -> None:
    """Nobody knows which jobs were submitted; the printed line submits the others."""

    def interrupt(request: Request) -> Answer:
        os.kill(os.getpid(), signal.SIGINT)
        stub.release.wait()
        return Answer(503)

    stub.scripts[BATCH] = interrupt
    result = nodus("run", "-f", sweep, "--wait")

    assert (result.status, result.stdout) == (130, "")
    assert "Any of the 4 jobs may have been submitted." in result.stderr
    assert printed_line(result.stderr)[:4] == ["run", "--file", sweep, "--wait"]


@posix_only
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("cancels", [False, True])
def test_an_interrupted_wait_leaves_the_jobs_or_cancels_them(
    stub: Stub, nodus: Command, sweep: str, monkeypatch: pytest.MonkeyPatch, cancels: bool
) -> None:
    """The printed line waits for them again; a job that is over is left as it is."""
    monkeypatch.setattr("nodus._cli.output._is_terminal", lambda stream: True)
    accepting(stub)
    running = [job(f"job-{number}", "running") for number in range(2, 5)]
    interrupted = threading.Event()

    def interrupt(request: Request) -> Answer:
        # Once: the command may ask again before it hears of it, and would have ended when it came again.
        if stub.called("GET /v1/jobs/job-1") and not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)
        return Answer(200, {"jobs": running, "next_cursor": None})

    stub.scripts["GET /v1/jobs"] = interrupt
    for each in "234":
        stub.answer(f"POST /v1/jobs/job-{each}/cancel", Answer(200, job(f"job-{each}", "cancelled")))
    options = ["--cancel-on-interrupt"] if cancels else []
    result = nodus("run", "-f", sweep, "--wait", "--poll-seconds", "0.001", *options)

    assert result.status == 130
    assert "job-4  LR=1e-4 SEED=2\n" in result.stderr
    asked_to_cancel = sorted(request.path for request in stub.requests if request.path.endswith("/cancel"))
    if cancels:
        assert "They are cancelled, or about to be." in result.stderr
        assert asked_to_cancel == [f"/v1/jobs/job-{number}/cancel" for number in (2, 3, 4)]
    else:
        assert "The jobs go on." in result.stderr
        assert "To wait for them again:  nodus run --file" in result.stderr
        assert asked_to_cancel == []


@posix_only
def test_an_interrupted_submission_is_cancelled_as_a_whole(
    stub: Stub, nodus: Command, sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those whose answer did not come are found by their keys; nothing more is submitted."""
    Path(sweep).write_text("image = 'a'\n[matrix]\nN = [1, 2, 3, 4, 5]", encoding="utf-8")
    monkeypatch.setattr("nodus._batches.MOST_JOBS", 2)
    specs = accepting(stub)
    submit = stub.scripts[BATCH]

    def interrupt(request: Request) -> Answer:
        answer = submit(request)
        if len(stub.called(BATCH)) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            stub.release.wait()
        return answer

    stub.scripts[BATCH] = interrupt
    for number in range(1, 6):
        stub.answer(f"POST /v1/jobs/job-{number}/cancel", Answer(200, job(f"job-{number}", "cancelled")))
    result = nodus("run", "-f", sweep, "--wait", "--cancel-on-interrupt")

    assert result.status == 130
    assert "They are cancelled, or about to be." in result.stderr
    assert len(specs) == 4
    assert len([request for request in stub.requests if request.path.endswith("/cancel")]) == 4
