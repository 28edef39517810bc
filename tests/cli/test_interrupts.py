"""Ctrl-C and SIGTERM: alike on asyncio and trio, without a traceback, and never to the harm of the job."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nodus._cli import event_loop
from tests.cli.conftest import Command, Result
from tests.cli.pseudo_terminal import PATIENCE_SECONDS, terminal
from tests.cli.stub import API_KEY, Answer, Request, Stub, job
from tests.support.streams import frames

SUBMIT = "POST /v1/jobs"
GET = "GET /v1/jobs/job-1"
CANCEL = "POST /v1/jobs/job-1/cancel"

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals are POSIX's")
pytestmark = [posix_only, pytest.mark.usefixtures("backend")]

Interrupted = Callable[..., Result]

# What is put before a program's own modules: its event loops lack what those of Windows lack.
_WITHOUT_SIGNALS = """\
import asyncio
def missing(*args, **options): raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = asyncio.SelectorEventLoop.remove_signal_handler = missing
"""


@pytest.fixture(params=["asyncio", "trio", "asyncio of Windows"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The event loop that the command is told to run on, here and in programs; Windows' receive no signals."""
    name, _, lacks_signals = str(request.param).partition(" ")
    monkeypatch.setenv("NODUS_BACKEND", name)
    if lacks_signals:
        (tmp_path / "sitecustomize.py").write_text(_WITHOUT_SIGNALS, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", _missing)
        monkeypatch.setattr(asyncio.SelectorEventLoop, "remove_signal_handler", _missing)
    return name


def _missing(*args: object, **options: object) -> None:
    raise NotImplementedError


@pytest.fixture
def interrupted(stub: Stub, nodus: Command) -> Interrupted:
    """The command, interrupted while a request hangs."""

    def run(*arguments: str, number: int = signal.SIGINT) -> Result:
        over = threading.Event()

        def interrupt() -> None:
            stub.arrived.wait()
            if not over.is_set():
                os.kill(os.getpid(), number)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            return nodus(*arguments)
        finally:
            over.set()
            stub.arrived.set()
            thread.join()

    return run


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)
@pytest.mark.parametrize("words", [("run", "--image", "a", "--wait"), ("get", "job-1", "--wait"), ("wait", "job-1")])
def test_interrupting_a_wait_leaves_the_job_and_says_how_to_go_on(
    stub: Stub, interrupted: Interrupted, words: tuple[str, ...], number: int, status: int, word: str
) -> None:
    """Stdout stays empty, because there is no final state."""
    stub.answer(SUBMIT, Answer(202, job(status="queued")))
    looks = [Answer(200, job(status="running"))] if words[0] == "get" else []

    def look(request: Request) -> Answer:
        if looks:
            return looks.pop()
        stub.arrived.set()
        stub.release.wait()
        return Answer(503)

    stub.scripts[GET] = look

    result = interrupted(*words, number=number)

    assert (result.status, result.stdout) == (status, "")
    assert word in result.stderr
    assert "nodus wait job-1" in result.stderr
    assert "nodus cancel job-1" in result.stderr
    assert "Traceback" not in result.stderr
    assert stub.called(CANCEL) == []


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_before_there_is_an_id_the_idempotency_key_is_printed(
    stub: Stub, interrupted: Interrupted, wait: list[str]
) -> None:
    """The line that submits again under it shows no values of `--env`."""
    stub.hang(SUBMIT)

    result = interrupted("run", "--image", "a", "--env", "SECRET=hush", *wait, "--", "echo", "a b")

    assert (result.status, result.stdout) == (130, "")
    key = stub.called(SUBMIT)[0].json()["idempotency_key"]
    assert f"idempotency key {key}" in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("  nodus run")]
    assert shlex.split(line)[-5:] == ["--idempotency-key", key, "--", "echo", "a b"]
    assert "hush" not in result.stderr


def test_cancel_on_interrupt_cancels_the_job(stub: Stub, interrupted: Interrupted) -> None:
    """The user asked for it with `--cancel-on-interrupt`."""
    stub.answer(SUBMIT, Answer(202, job(status="queued")))
    stub.hang(GET)
    stub.answer(CANCEL, Answer(200, job(status="cancelled")))

    result = interrupted("run", "--image", "a", "--wait", "--cancel-on-interrupt")

    assert result.status == 130
    assert len(stub.called(CANCEL)) == 1
    assert "Cancelling job job-1." in result.stderr
    assert "Job job-1 is cancelled." in result.stderr


def test_cancel_on_interrupt_finds_a_job_that_has_no_id_yet(stub: Stub, interrupted: Interrupted) -> None:
    """Submitting again under the same idempotency key yields the id, and no second job."""
    hanging = threading.Event()

    def submit(request: Request) -> Answer:
        if hanging.is_set():
            return Answer(200, job(status="running"), {"Idempotent-Replayed": "true"})
        hanging.set()
        stub.arrived.set()
        stub.release.wait()
        return Answer(503)

    stub.scripts[SUBMIT] = submit
    stub.answer(CANCEL, Answer(200, job(status="running")))

    result = interrupted("run", "--image", "a", "--wait", "--cancel-on-interrupt")

    assert result.status == 130
    first, second = stub.called(SUBMIT)
    assert first.json()["idempotency_key"] == second.json()["idempotency_key"]
    assert len(stub.called(CANCEL)) == 1
    assert "Job job-1 is being cancelled." in result.stderr


def test_a_job_that_cannot_be_cancelled_is_not_passed_over(stub: Stub, interrupted: Interrupted) -> None:
    """The user is told that the job goes on."""
    stub.hang(GET)
    stub.answer(CANCEL, Answer(403, {"error": "forbidden_principal", "message": "Not yours."}))

    result = interrupted("wait", "job-1", "--cancel-on-interrupt")

    assert result.status == 130
    assert "could not be cancelled: Not yours." in result.stderr
    assert "nodus cancel job-1" in result.stderr


def test_a_command_without_anything_under_way_ends_quietly(stub: Stub, interrupted: Interrupted) -> None:
    """It only says that it was interrupted."""
    stub.hang("GET /healthz")

    assert interrupted("health") == (130, "", "Interrupted.\n")


def test_an_interrupt_that_is_raised_ends_the_same_way(nodus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some event loops cannot receive signals, and raise KeyboardInterrupt."""

    def interrupted_run(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("anyio.run", interrupted_run)

    assert nodus("health") == (130, "", "Interrupted.\n")


def test_an_interrupt_before_anything_was_begun_is_quiet(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """This covers loading the command and parsing its arguments."""

    def interrupted_run(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("nodus._cli.program.run_program", interrupted_run)

    assert command("health") == (130, "", "")


def test_leaving_at_once_is_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status is that of the signal."""
    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)

    event_loop._leave_now(signal.SIGTERM)

    assert statuses == [143]


def environment(stub: Stub) -> dict[str, str]:
    return {"NODUS_API_KEY": API_KEY, "NODUS_BASE_URL": stub.base_url, "NO_COLOR": ""}


def test_ctrl_c_at_a_terminal(stub: Stub) -> None:
    """A person sees each state in colour, and after Ctrl-C how to go on."""
    stub.answer(SUBMIT, Answer(202, job(status="queued")))
    stub.answer(GET, Answer(200, job(status="running", supplier="lambda", region="r1")))

    with terminal("run", "--image", "a", "--wait", environ=environment(stub)) as screen:
        screen.wait_for("on lambda, r1")
        screen.type("\x03")
        status = screen.end()

    assert status == 130
    assert "\x1b[36mrunning\x1b[0m on lambda, r1" in screen.screen
    assert "nodus wait job-1" in screen.screen
    assert "Traceback" not in screen.screen


def test_a_second_ctrl_c_ends_the_command_at_once(stub: Stub) -> None:
    """It does not wait for the clean-up, and prints no traceback."""
    stub.answer(GET, Answer(200, job(status="running")))
    stub.hang(CANCEL)

    with terminal("wait", "job-1", "--cancel-on-interrupt", environ=environment(stub)) as screen:
        screen.wait_for("running")
        screen.type("\x03")
        assert stub.arrived.wait(PATIENCE_SECONDS)
        screen.type("\x03")
        status = screen.end()

    assert status == 130
    assert "Traceback" not in screen.screen
    assert "could not be cancelled" not in screen.screen


def test_sigterm_ends_a_process_with_143(stub: Stub) -> None:
    """Shells, containers and CI runners send it."""
    stub.hang(GET)
    process = subprocess.Popen(
        [sys.executable, "-m", "nodus", "wait", "job-1"],
        env={**os.environ, **environment(stub)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stub.arrived.wait(PATIENCE_SECONDS)
    process.terminate()
    stdout, stderr = process.communicate()

    assert (process.returncode, stdout) == (143, "")
    assert "nodus wait job-1" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "words",
    [("health",), ("list",), ("run", "--image", "a", "--wait"), ("logs", "job-1"), ("events", "job-1"), ("doctor",)],
)
def test_commands_run_on_every_event_loop(stub: Stub, nodus: Command, words: tuple[str, ...]) -> None:
    """They finish, and restore the signal handlers."""
    stub.answer("GET /healthz", Answer(200, {"status": "ok"}))
    stub.answer("GET /v1/jobs", Answer(200, {"jobs": [job()]}))
    stub.answer(SUBMIT, Answer(202, job()))
    stub.answer(GET, Answer(200, job()))
    stub.answer(f"{GET}/logs", Answer(200, "epoch 1\n"))
    stub.answer(f"{GET}/events", Answer(200, frames(1, 4).decode(), {"Content-Type": "text/event-stream"}))
    # A shell's background jobs, such as this test may be part of, begin with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in event_loop.SIGNALS]
    result = nodus(*words)

    assert (result.status, "Traceback" in result.stderr) == (0, False)
    assert [signal.getsignal(number) for number in event_loop.SIGNALS] == before
