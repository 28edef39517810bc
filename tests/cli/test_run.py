"""`nodus run`: what is submitted, what is printed, and what is refused."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.cli.stub import Answer, Stub, job

SUBMIT = "POST /v1/jobs"


@pytest.fixture
def accepting(stub: Stub) -> Stub:
    """A control plane that takes every job and completes it."""
    stub.answer(SUBMIT, Answer(202, job(status="queued")))
    stub.answer("GET /v1/jobs/job-1", Answer(200, job(cost_usd=1.0)))
    return stub


def submitted(stub: Stub) -> dict[str, object]:
    """The spec of the one job that was submitted."""
    (request,) = stub.called(SUBMIT)
    return request.json()


@pytest.mark.usefixtures("backend")
def test_run_prints_the_id_alone(accepting: Stub, nodus: Command) -> None:
    """`ID=$(nodus run …)` works, because the hint goes to stderr."""
    result = nodus("run", "--image", "a/b:c")

    assert (result.status, result.stdout) == (0, "job-1\n")
    assert "nodus wait job-1" in result.stderr


def test_everything_on_the_command_line_is_submitted(
    accepting: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What follows `--` is the job's program, whatever it looks like."""
    monkeypatch.setenv("COPIED", "from here")
    env_file = tmp_path / "job.env"
    env_file.write_text('# a comment\n\nFROM_FILE=a "b" = c\nCOPIED\nOVERRIDDEN=file\n', encoding="utf-8")

    nodus(
        *("run", "--image", "a/b:c", "--gpu", "l40s", "--gpu-count", "8", "--max-runtime-seconds", "64800"),
        *("--env", "K=V=W", "--env", "COPIED", "--env", "OVERRIDDEN=argv", "--env-file", str(env_file)),
        *("--require-tier", "tier3", "--require-tier", "neocloud", "--prefer-region", "eu"),
        *("--name", "my job", "--idempotency-key", "my key", "--", "python", "train.py", "--wait", "--", "-x"),
    )

    assert submitted(accepting) == {
        "image": "a/b:c",
        "gpu": "l40s",
        "gpu_count": 8,
        "max_runtime_seconds": 64800,
        "env": {"FROM_FILE": 'a "b" = c', "COPIED": "from here", "OVERRIDDEN": "argv", "K": "V=W"},
        "require_tiers": ["tier3", "neocloud"],
        "prefer_region": "eu",
        "idempotency_key": "my key",
        "name": "my job",
        "command": ["python", "train.py", "--wait", "--", "-x"],
    }


def test_the_defaults_are_the_librarys(accepting: Stub, nodus: Command) -> None:
    """By default a job gets one H100 for an hour, and runs the image's own program."""
    nodus("run", "--image", "a/b:c", "--")

    spec = submitted(accepting)
    assert str(spec.pop("idempotency_key")).startswith("nodus-")
    assert spec == {"image": "a/b:c", "gpu": "h100_80gb", "gpu_count": 1, "max_runtime_seconds": 3600}


@pytest.mark.usefixtures("backend")
def test_run_wait_json_prints_one_final_view(accepting: Stub, nodus: Command) -> None:
    """Stdout has exactly one object, however often the job's status changed."""
    result = nodus("run", "--image", "a/b:c", "--wait", "--timeout", "64800", "--poll-seconds", "0.001", "--json")

    assert result.status == 0
    (line,) = result.stdout.splitlines()
    assert (json.loads(line)["status"], json.loads(line)["cost_usd"]) == ("completed", 1.0)


def test_run_json_prints_the_job_as_accepted(accepting: Stub, nodus: Command) -> None:
    """Without `--wait`, the job is still queued."""
    result = nodus("run", "--image", "a/b:c", "--json")

    assert json.loads(result.stdout)["status"] == "queued"


def test_a_job_that_fails_fails_the_command(accepting: Stub, nodus: Command) -> None:
    """The job's error message is on stderr."""
    accepting.answer("GET /v1/jobs/job-1", Answer(200, job(status="failed", error_message="exit status 3")))

    result = nodus("run", "--image", "a/b:c", "--wait")

    assert result.status == 1
    assert "Job job-1 failed: exit status 3" in result.stderr


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_a_key_that_was_used_before_is_said_to_be(accepting: Stub, nodus: Command, wait: list[str]) -> None:
    """The note tells that no second job was made."""
    accepting.answer(SUBMIT, Answer(200, job(), {"Idempotent-Replayed": "true"}))

    result = nodus("run", "--image", "a/b:c", "--idempotency-key", "k", *wait)

    assert result.status == 0
    assert "was submitted before" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--image"),
        (["--image", "a", "--timeout", "5"], "--timeout needs --wait"),
        (["--image", "a", "--poll-seconds", "5"], "--poll-seconds needs --wait"),
        (["--image", "a", "--cancel-on-interrupt"], "--cancel-on-interrupt needs --wait"),
        (["--image", "a", "--wait", "--timeout", "soon"], "0 or more"),
        (["--image", "a", "--wait", "--timeout", "nan"], "0 or more"),
        (["--image", "a", "--wait", "--timeout=-1"], "0 or more"),
        (["--image", "a", "--wait", "--timeout", "inf"], "0 or more"),
        (["--image", "a", "--wait", "--timeout", "1e10"], "more than 1,000,000,000 seconds"),
        (["--image", "a", "--wait", "--poll-seconds", "0"], "above 0"),
        (["--image", "a", "--wait", "--poll-seconds", "1e10"], "more than 1,000,000,000 seconds"),
        (["--image", "a", "--gpu-count", "many"], "--gpu-count"),
        (["--image", "a", "python", "train.py"], "go after `--`"),
        (["--image", "a", "python", "--epochs", "10"], "go after `--`"),
        (["--image", "a", "python", "--", "train.py"], "go after `--`"),
        (["--image", "a", "--env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["--image", "a", "--env", "=x"], "expected NAME=VALUE"),
        (["--image", "a", "--env-file", "no such file"], "No such file"),
    ],
)
def test_what_cannot_be_understood_exits_2_and_sends_nothing(
    stub: Stub, nodus: Command, arguments: list[str], complaint: str
) -> None:
    """The output has the usage line and says what is wrong."""
    result = nodus("run", *arguments)

    assert (result.status, result.stdout, stub.requests) == (2, "", [])
    assert complaint in result.stderr
    assert "nodus run --help" in result.stderr or "--env" in result.stderr or "No such file" in result.stderr


def test_an_env_file_is_refused_by_line_and_without_its_values(nodus: Command, tmp_path: Path) -> None:
    """A value may be a secret that was written in the wrong place."""
    env_file = tmp_path / "job.env"
    env_file.write_text("A=1\nmy secret=hush\n", encoding="utf-8")

    result = nodus("run", "--image", "a", "--env-file", str(env_file))

    assert result.status == 2
    assert "line 2" in result.stderr
    assert "hush" not in result.stderr
    assert "my secret" not in result.stderr


def test_a_line_of_an_env_file_ends_where_an_editor_ends_it(accepting: Stub, nodus: Command, tmp_path: Path) -> None:
    """With a byte order mark before the first, and either end of line; other separators are part of a value."""
    env_file = tmp_path / "job.env"
    env_file.write_bytes("\ufeffA=1\r\nB=x\u2028y\x85z\n".encode())

    nodus("run", "--image", "a", "--env-file", str(env_file))

    assert submitted(accepting)["env"] == {"A": "1", "B": "x\u2028y\x85z"}


def test_an_env_file_that_is_not_text_is_refused(nodus: Command, tmp_path: Path) -> None:
    """Its encoding is not guessed."""
    env_file = tmp_path / "job.env"
    env_file.write_bytes(b"A=\xff\n")

    result = nodus("run", "--image", "a", "--env-file", str(env_file))

    assert result.status == 2
    assert "not UTF-8" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--gpu", "H100"], "'h100_80gb'"),
        (["--gpu-count", "9"], "gpu_count"),
        (["--max-runtime-seconds", "59"], "max_runtime_seconds"),
        (["--require-tier", "tier2"], "'tier3'"),
        (["--idempotency-key", "a\nb"], "idempotency_key"),
    ],
)
def test_a_spec_outside_its_limits_exits_5_and_sends_nothing(
    stub: Stub, nodus: Command, arguments: list[str], complaint: str
) -> None:
    """The library checks the limits before it sends anything."""
    result = nodus("run", "--image", "a/b:c", "--env", "SECRET=hush", *arguments)

    assert (result.status, result.stdout, stub.requests) == (5, "", [])
    assert complaint in result.stderr
    assert "hush" not in result.stderr


def test_a_submission_whose_outcome_is_unknown_says_how_to_finish_it(stub: Stub, nodus: Command) -> None:
    """The printed line can be run as it is, and finds the job by its key."""
    stub.answer(SUBMIT, Answer(500, {"error": "oops", "message": "Broken."}, {"x-should-retry": "false"}))

    result = nodus(
        *("run", "--image", "a/b:c", "--env", "SECRET=hush", "--wait", "--timeout", "64800", "--poll-seconds", "0.5"),
        *("--require-tier", "tier3", "--prefer-region", "eu west", "--", "python", "-c", "print('x')", "$HOME"),
    )

    assert result.status == 10
    assert "hush" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("  nodus run")]
    words = shlex.split(line)
    key = words[words.index("--idempotency-key") + 1]
    assert key == submitted(stub)["idempotency_key"]
    assert words[words.index("--env") + 1] == "SECRET"
    assert words[words.index("--") + 1 :] == ["python", "-c", "print('x')", "$HOME"]


def test_the_printed_line_submits_the_very_same(
    stub: Stub, nodus: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The server would refuse another spec under the same key."""
    env_file = tmp_path / "job.env"
    env_file.write_text("B=2\n", encoding="utf-8")
    stub.answer(
        SUBMIT,
        Answer(500, {"error": "oops", "message": "Broken."}, {"x-should-retry": "false"}),
        Answer(202, job(status="queued")),
    )
    first = nodus(
        *("run", "--image", "a/b:c", "--gpu", "l40s", "--gpu-count", "2", "--env", "A=1 2", "--json"),
        *("--env-file", str(env_file), "--require-tier", "tier3", "--prefer-region", "eu", "--", "a b", "--c"),
    )
    (line,) = [line for line in json.loads(first.stderr)["hint"].splitlines() if line.startswith("nodus run")]
    monkeypatch.setenv("A", "1 2")

    second = nodus(*shlex.split(line)[1:])

    assert second.status == 0
    failed, submitted_again = stub.called(SUBMIT)
    assert submitted_again.json() == failed.json()


def test_an_error_that_made_nothing_prints_no_such_line(stub: Stub, nodus: Command) -> None:
    """No job can have been made, so there is nothing to look for."""
    stub.answer(SUBMIT, Answer(422, {"error": "no_such_offer", "message": "Nobody has that."}))

    result = nodus("run", "--image", "a/b:c")

    assert result.status == 5
    assert "--idempotency-key" not in result.stderr
