"""A runner that cannot show that it lives: its program ends without it, and by no fault of its clock."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS, eventually
from process.conftest import SECRET

from nodus_control.runner import attempt_files, processes
from nodus_control.runner.guard import Silence
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.protocol import PlacementState

if TYPE_CHECKING:
    from process.conftest import RealJob, RealJobs

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

SILENT_SECONDS = 2.0


class Program:
    """Stands for the processes of a program that ignores SIGTERM."""

    def __init__(self) -> None:
        self.alive = True
        self.signals: list[str] = []

    def is_alive(self) -> bool:
        return self.alive

    def terminate(self) -> None:
        self.signals.append("TERM")

    def kill(self) -> None:
        self.signals.append("KILL")


def make_silence(program: Program) -> Silence:
    announce = functools.partial(program.signals.append, "announced")
    return Silence(program, 100.0, silent_seconds=60.0, grace_seconds=5.0, announce=announce)


def test_nothing_is_done_while_the_runner_is_heard() -> None:
    """Up to and including the last moment."""
    program = Program()
    silence = make_silence(program)
    for now in (130.0, 160.0, 219.0):
        silence.look(now)
        silence.heard(now)
    silence.look(219.0 + 60.0)

    assert program.signals == []
    assert not silence.has_ended_it


def test_a_silent_one_is_asked_to_end_and_then_not_asked() -> None:
    """KILL is repeated until nothing is left; that the runner is heard again changes nothing."""
    program = Program()
    silence = make_silence(program)
    for now in (161.0, 163.0, 166.0, 167.0):
        silence.look(now)
        silence.heard(now)
    program.alive = False
    silence.look(168.0)
    silence.look(169.0)

    assert program.signals == ["announced", "TERM", "KILL", "KILL"]
    assert silence.has_ended_it
    assert silence.ended_at == 168.0


@pytest.mark.parametrize("unseen", ["is_alive", "terminate", "kill"])
def test_a_program_that_cannot_be_seen_now_is_ended_at_a_later_look(
    monkeypatch: pytest.MonkeyPatch, unseen: str
) -> None:
    """No more files can be opened for a while: nothing of its end is left out by that."""
    program = Program()
    silence = make_silence(program)

    def fail() -> bool:
        raise OSError(errno.ENFILE, "Too many open files in system")

    for now in (161.0, 166.0, 171.0):
        with monkeypatch.context() as patch:
            patch.setattr(program, unseen, fail)
            with contextlib.suppress(OSError):
                silence.look(now)
        silence.look(now)

    sent = [each for each in program.signals if each != "announced"]
    assert sent[0] == "TERM"
    assert "KILL" in sent
    assert program.signals[0] == "announced"


def test_what_has_ended_by_itself_was_not_ended() -> None:
    """Its exit code is true, however late its runner comes to it."""
    program = Program()
    program.alive = False
    silence = make_silence(program)
    silence.look(500.0)

    assert not silence.has_ended_it


def test_time_in_which_nobody_looked_is_nobodys_silence() -> None:
    """All of them may have been stopped: nobody is ended for that, and nobody has less time to end by it."""
    program = Program()
    silence = make_silence(program)
    silence.look(150.0)
    silence.paused(1000.0)
    silence.look(1151.0)
    silence.look(1160.0)
    assert program.signals == []
    silence.look(1161.0)
    silence.paused(1000.0)
    silence.look(2165.0)
    assert program.signals == ["announced", "TERM"]
    silence.look(2166.0)

    assert program.signals == ["announced", "TERM", "KILL"]


def driver_of(jobs: RealJobs) -> ProcessDriver:
    """A driver whose runners have little time."""
    return ProcessDriver(
        jobs.state_dir, secret=SECRET, grace_seconds=0.3, linger_seconds=0.2, silent_seconds=SILENT_SECONDS
    )


def claim_of(job: RealJob) -> attempt_files.Claim:
    claim = attempt_files.read_claim(str(job.directory), job.key)
    assert claim is not None
    assert claim.runner is not None
    return claim


def require_lost(job: RealJob, *, is_contained: bool) -> float:
    """Check how it ended; return for how long it is said to have run."""
    report = job.finish()
    expected = (PlacementState.LOST, "lost") if is_contained else (PlacementState.FAILED, "runner_lost")
    assert (report.state, report.error_code) == expected
    assert "could not show any more that it lives" in (report.error_message or "")
    assert report.started_at is not None
    assert report.finished_at is not None
    return report.finished_at - report.started_at


@on_linux
def test_a_program_ends_whose_runner_cannot_write(jobs: RealJobs) -> None:
    """And the runner records that as soon as it can."""
    job = jobs.start_shell("echo ready; sleep 600", driver=driver_of(jobs)).until_printed(b"ready")
    is_contained = claim_of(job).is_contained
    claim = job.directory / attempt_files.CLAIM
    aside = jobs.scratch / "claim"
    claim.rename(aside)
    eventually((job.directory / attempt_files.RESULT).exists, lambda: "the runner records no end")
    assert job.processes() == []
    aside.rename(claim)

    require_lost(job, is_contained=is_contained)


@on_linux
def test_a_program_ends_whose_runner_hangs_and_that_time_is_not_billed(jobs: RealJobs) -> None:
    """Stopped, it does nothing at all; once it goes on, it says when its program ended, which was long before."""
    job = jobs.start_shell("trap '' TERM; echo ready; while :; do sleep 1; done", driver=driver_of(jobs))
    job.until_printed(b"ready")
    claim = claim_of(job)
    assert claim.runner is not None
    os.kill(claim.runner.pid, signal.SIGSTOP)
    stopped_at = time.time()
    eventually(lambda: job.processes() == [], lambda: "the program goes on without its runner")
    ended_at = time.time()
    eventually(lambda: time.time() - ended_at > 3.0)
    os.kill(claim.runner.pid, signal.SIGCONT)
    seconds = require_lost(job, is_contained=claim.is_contained)
    report = job.poll()

    assert report.finished_at is not None
    assert stopped_at - 0.1 <= report.finished_at <= ended_at + 2.0
    assert seconds < ended_at + 2.0 - job.placement.placed_at


@on_linux
def test_a_runner_that_is_not_heard_of_is_given_up(jobs: RealJobs) -> None:
    """Though it is there: whoever stopped it, or whatever it waits for. It is ended, and writes nothing any more."""
    driver = ProcessDriver(jobs.state_dir, secret=SECRET, grace_seconds=0.3, lost_seconds=3.0)
    job = jobs.start_shell("echo ready; sleep 600", driver=driver).until_printed(b"ready")
    claim = claim_of(job)
    assert claim.runner is not None
    assert job.poll().state is PlacementState.RUNNING
    os.kill(claim.runner.pid, signal.SIGSTOP)
    report = job.finish()

    assert report.error_code == ("lost" if claim.is_contained else "runner_lost")
    assert job.processes() == []
    assert not attempt_files.is_locked(str(job.directory), attempt_files.CLAIM)
    assert job.poll() == report


@on_linux
def test_a_program_that_was_given_up_ends_once_its_runner_goes_on(jobs: RealJobs) -> None:
    """All of it stood still, as in a container that is paused; meanwhile somebody who cannot reach it has placed anew.

    It had time enough by its guard's clock, which stood still with it, and gets no time to end: another one runs.
    """
    driver = ProcessDriver(jobs.state_dir, secret=SECRET, grace_seconds=PATIENCE_SECONDS * 10)
    job = jobs.start_shell("trap '' TERM; echo ready; while :; do sleep 1; done", driver=driver)
    job.until_printed(b"ready")
    claim = claim_of(job)
    assert claim.runner is not None
    everything = [claim.runner.pid, *processes.descendants(claim.runner.pid)]
    processes.send(everything, signal.SIGSTOP)
    given_up = attempt_files.Result(attempt_files.LOST, claim.at, claim.at + 1.0)
    document = attempt_files.result_document(given_up)
    assert attempt_files.publish(str(job.directory), attempt_files.RESULT, document, job.key)
    assert job.processes() != []
    processes.send(everything, signal.SIGCONT)
    eventually(lambda: job.processes() == [], lambda: "the program goes on beside its successor")
    eventually(lambda: not attempt_files.is_locked(str(job.directory), attempt_files.CLAIM))

    assert attempt_files.read_result(str(job.directory), job.key) == given_up


# A runner that was given up before it came to start anything.
RUNS_TOO_LATE = """
import os, sys
from nodus_control.runner import attempt_files, processes, supervise
from nodus_control.runner.specification import Specification

directory = sys.argv[1]
given_up = attempt_files.Result(attempt_files.LOST, None, 1.0)
attempt_files.publish(directory, attempt_files.RESULT, attempt_files.result_document(given_up), b"key")
specification = Specification(
    command=("sh", "-c", "echo began"), environment=dict(os.environ), max_runtime_seconds=600.0, grace_seconds=0.3,
    linger_seconds=0.2, output_limit_bytes=4096, clock_offset=0.0, key=b"key", state_directory=directory,
)
wakeup = supervise.install_signal_handlers()
processes.become_subreaper()
result = supervise.Supervisor(specification, directory, wakeup).run()
print(result.reason, result.started_at, os.path.exists(os.path.join(directory, attempt_files.PROGRAM)))
"""


@on_linux
def test_a_runner_that_was_given_up_starts_nothing(tmp_path: pathlib.Path) -> None:
    """It stood still between its claim and its program, and another placement has been told that this one never ran."""
    ran = subprocess.run(
        [sys.executable, "-c", RUNS_TOO_LATE, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert (ran.stdout, ran.stderr) == ("lost None False\n", "")
