"""Whoever is killed, and whenever: a submitted program runs once, and how it ended is known."""

from __future__ import annotations

import gc
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest
from patience import PATIENCE_SECONDS, eventually
from process.conftest import SECRET

import nodus_control.runner
from nodus_control.runner import attempt_files
from nodus_control.runner.attempt_files import Claim, Identity
from nodus_control.runner.specification import Specification
from nodus_control.suppliers.process.launch import launch
from nodus_control.suppliers.protocol import CapacityRefused, PlacementState

if TYPE_CHECKING:
    from process.conftest import RealJob, RealJobs


on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

SUBMIT = """
import json, pathlib, sys, time
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.protocol import Placement, Workload
state_dir, job_id, command, env = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
secret = bytes.fromhex(sys.argv[5])
driver = ProcessDriver(pathlib.Path(state_dir), secret=secret, grace_seconds=0.3, linger_seconds=0.2)
print("ready", flush=True)
sys.stdin.readline()
placement = Placement(job_id, 1, "supplier", "region", time.time())
driver.submit(placement, Workload("image", "H100", 1, 600, tuple(command), env), time.time())
print("submitted", flush=True)
sys.stdin.read()
"""

WAIT_THEN_FAIL = "echo waiting; until test -e {go}; do sleep 0.01; done; echo true ending; exit 7"


class Submitter:
    """Another control plane: a process that submits a job when it is told to."""

    def __init__(self, jobs: RealJobs, job: RealJob) -> None:
        import json

        arguments = [str(jobs.state_dir), job.placement.job_id]
        arguments += [json.dumps(job.workload.command), json.dumps(dict(job.workload.env)), SECRET.hex()]
        self._process = subprocess.Popen(
            [sys.executable, "-c", SUBMIT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._stdout, self._stdin = self._process.stdout, self._process.stdin
        assert self._stdout.readline() == b"ready\n"

    def begin(self) -> None:
        self._stdin.write(b"go\n")
        self._stdin.flush()

    def submitted(self) -> None:
        assert self._stdout.readline() == b"submitted\n"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._stdin.close()
        self._stdout.close()

    def kill_after(self, seconds: float) -> None:
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()


def test_a_program_outlives_the_control_plane_and_is_adopted(jobs: RealJobs) -> None:
    """kill -9 of the process that submitted; a new one submits again, sees it running, and learns its true end."""
    go = jobs.scratch / "go"
    job = jobs.make(("sh", "-c", WAIT_THEN_FAIL.format(go=go)))
    submitter = Submitter(jobs, job)
    submitter.begin()
    submitter.submitted()
    submitter.kill()

    job.driver = jobs.new_driver()
    job.submit().until_printed(b"waiting\n")
    assert job.poll().state is PlacementState.RUNNING
    go.touch()
    report = job.finish()
    assert report.state is PlacementState.FAILED
    assert report.error_message is not None
    assert "code 7" in report.error_message
    assert job.output() == b"waiting\ntrue ending\n"


def test_what_ended_while_nobody_looked_has_its_true_times(jobs: RealJobs) -> None:
    """The record is complete without a control plane."""
    go = jobs.scratch / "go"
    job = jobs.make(("sh", "-c", WAIT_THEN_FAIL.format(go=go)))
    submitter = Submitter(jobs, job)
    submitter.begin()
    submitter.submitted()
    submitter.kill()
    go.touch()
    first = job.finish()

    later = jobs.new_driver().poll(job.placement, job.workload, 9_999_999_999.0)
    assert first.state is PlacementState.FAILED
    assert later == first


@pytest.mark.parametrize("seconds", [0.002 * step**2 for step in range(7)])
def test_a_kill_at_any_moment_of_a_submission_runs_the_program_once(jobs: RealJobs, seconds: float) -> None:
    """Before the runner, while it is told, after: submitting again adopts or starts, never both."""
    count = jobs.scratch / "count"
    job = jobs.make(("sh", "-c", f"echo ran >> {count}"))
    submitter = Submitter(jobs, job)
    submitter.begin()
    submitter.kill_after(seconds)
    job.driver = jobs.new_driver()
    report = job.submit().finish()

    assert report.state is PlacementState.COMPLETED
    assert count.read_text() == "ran\n"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_specification_that_is_cut_short_leaves_no_trace(jobs: RealJobs, share: float) -> None:
    """A control plane that dies while handing it over has started nothing, and the next one can."""
    count = jobs.scratch / "count"
    job = jobs.make(("sh", "-c", f"echo ran >> {count}"))
    job.directory.mkdir(parents=True)
    message = Specification(
        job.workload.command or (), {"PATH": "/bin:/usr/bin"}, 60, 1, 1, 1000, 0, job.key, str(jobs.state_dir)
    ).to_bytes()
    script = pathlib.Path(nodus_control.runner.__file__).with_name("__main__.py")
    outcome = subprocess.run(
        [sys.executable, "-I", "-S", str(script), str(job.directory), "auto"],
        input=message[: int(len(message) * share)],
        capture_output=True,
        check=False,
    )

    assert (outcome.returncode, outcome.stdout) == (3, b"")
    assert list(job.directory.iterdir()) == []
    assert job.submit().finish().state is PlacementState.COMPLETED
    assert count.read_text() == "ran\n"


def test_submissions_at_once_from_several_processes_run_the_program_once(jobs: RealJobs) -> None:
    """The claim decides, and every contender takes the job for submitted."""
    count = jobs.scratch / "count"
    job = jobs.make(("sh", "-c", f"echo ran >> {count}"))
    submitters = [Submitter(jobs, job) for _ in range(4)]
    for submitter in submitters:
        submitter.begin()
    for submitter in submitters:
        submitter.submitted()
        submitter.kill()

    assert job.finish().state is PlacementState.COMPLETED
    assert count.read_text() == "ran\n"


def test_a_second_runner_finds_the_claim_and_leaves(jobs: RealJobs) -> None:
    """Also where both were started: the specification of the second is not run."""
    job = jobs.start_shell("echo first; sleep 600").until_printed(b"first\n")
    launch(sys.executable, str(job.directory), Specification(("echo", "second"), {}, 60, 1, 1, 1000, 0, job.key, ""))

    assert job.poll().state is PlacementState.RUNNING
    assert job.output() == b"first\n"


@on_linux
def test_a_killed_runner_is_noticed_and_its_program_ended(jobs: RealJobs) -> None:
    """Out of memory, say: nothing goes on unwatched, and the job says that its runner was lost."""
    job = jobs.start_shell("setsid sleep 600 & sleep 600 & echo ready; sleep 600").until_printed(b"ready")
    os.kill(runner_of(job).pid, signal.SIGKILL)
    report = job.finish()

    assert (report.state, report.error_code) in (
        (PlacementState.LOST, "lost"),
        (PlacementState.FAILED, "runner_lost"),  # where programs cannot be contained, one could hide
    )
    assert report.started_at is not None
    assert report.finished_at is not None
    assert report.finished_at >= report.started_at
    assert job.processes() == []
    assert job.poll() == report
    assert jobs.driver.logs(job.placement, 0, 1000).complete


@on_linux
def test_a_program_dies_with_its_runner_even_when_nobody_polls(jobs: RealJobs) -> None:
    """The kernel sees to it for the main process."""
    job = jobs.make((sys.executable, "-u", "-c", "import time; print('ready'); time.sleep(600)")).submit()
    job.until_printed(b"ready")
    os.kill(runner_of(job).pid, signal.SIGKILL)

    eventually(lambda: job.processes() == [])


@on_linux
def test_a_cancel_is_confirmed_also_when_the_runner_is_gone(jobs: RealJobs) -> None:
    """Whoever asked for an end gets one."""
    job = jobs.start_shell("echo ready; sleep 600").until_printed(b"ready")
    os.kill(runner_of(job).pid, signal.SIGSTOP)
    job.cancel()
    os.kill(runner_of(job).pid, signal.SIGKILL)

    assert job.finish().state is PlacementState.CANCELLED
    assert job.processes() == []


def test_a_runner_that_died_before_the_program_has_not_started_it(jobs: RealJobs) -> None:
    """Nothing has run, so the job may be placed again; this attempt never runs any more."""
    job = jobs.make(("touch", str(jobs.scratch / "ran")))
    attempt_files.make_private_directory(str(job.directory))
    dead = Claim(at=1.0, runner=Identity(2**22 + 1, "1", "another boot"))
    attempt_files.publish(str(job.directory), attempt_files.CLAIM, attempt_files.claim_document(dead), job.key)
    job.submit()

    assert job.poll().state is PlacementState.NOT_STARTED
    assert not (jobs.scratch / "ran").exists()


def test_a_program_from_before_a_restart_of_the_machine_is_lost_and_no_stranger_is_killed(jobs: RealJobs) -> None:
    """Its pid means nothing any more: here it is this very process."""
    job = jobs.make(("true",))
    directory = str(job.directory)
    attempt_files.make_private_directory(directory)
    before = Identity(os.getpid(), "1", "another boot")
    attempt_files.publish(
        directory, attempt_files.CLAIM, attempt_files.claim_document(Claim(at=1.0, runner=before)), job.key
    )
    program = attempt_files.Program(before, started_at=job.placement.placed_at)
    attempt_files.publish(directory, attempt_files.PROGRAM, attempt_files.program_document(program), job.key)
    job.cancel()

    assert job.poll().state is PlacementState.CANCELLED


def test_an_attempt_that_nobody_has_never_starts(jobs: RealJobs) -> None:
    """It is withdrawn before it is reported, so that a late runner cannot bring it to life."""
    job = jobs.make(("touch", str(jobs.scratch / "ran")))

    assert job.poll().state is PlacementState.NOT_STARTED
    with pytest.raises(CapacityRefused):
        job.submit()
    assert job.poll().state is PlacementState.NOT_STARTED
    assert not (jobs.scratch / "ran").exists()


def test_a_runner_that_cannot_be_started_is_a_refusal(jobs: RealJobs) -> None:
    """The worker may place the job elsewhere: here it never runs."""
    from nodus_control.suppliers.process.driver import ProcessDriver

    job = jobs.make(("true",), driver=ProcessDriver(jobs.state_dir, secret=SECRET, python="/nowhere/python"))

    with pytest.raises(CapacityRefused):
        job.submit()
    assert job.poll().state is PlacementState.NOT_STARTED


@on_linux
def test_no_zombie_and_no_descriptor_is_left(jobs: RealJobs) -> None:
    """A control plane that lives for months collects neither."""
    jobs.start_shell("true").finish()
    gc.collect()  # what other tests left open is not closed in the course of this one
    before, children_before = set(os.listdir("/proc/self/fd")), children_of_this_process()
    for _ in range(5):
        jobs.start_shell("echo x").finish()

    assert set(os.listdir("/proc/self/fd")) <= before
    assert children_of_this_process() <= children_before


@on_linux
def test_a_control_plane_that_is_init_reaps_its_runners(jobs: RealJobs) -> None:
    """In a container it may be process 1, to which every orphan comes."""
    program = """
        import os, pathlib, sys, time
        from nodus_control.runner import processes
        from nodus_control.suppliers.process.driver import ProcessDriver
        from nodus_control.suppliers.protocol import Placement, PlacementState, Workload
        assert processes.become_subreaper()
        driver = ProcessDriver(pathlib.Path(sys.argv[1]), secret=b"secret")
        def poll(job_id):
            placement = Placement(job_id, 1, "supplier", "region", time.time())
            workload = Workload("image", "H100", 1, 600, ("true",), {})
            driver.submit(placement, workload, time.time())
            while (report := driver.poll(placement, workload, time.time())).finished_at is None:
                time.sleep(0.01)
            return report
        for n in range(3):
            assert poll(f"job-{n}").state is PlacementState.COMPLETED
        deadline = time.monotonic() + float(sys.argv[2])
        while any(entry.parent == os.getpid() for entry in processes.entries()):
            assert time.monotonic() < deadline
            poll("job-0")
            time.sleep(0.01)
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(jobs.state_dir), str(PATIENCE_SECONDS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )


def runner_of(job: RealJob) -> Identity:
    claim = attempt_files.read_claim(str(job.directory), job.key)
    assert claim is not None
    assert claim.runner is not None
    return claim.runner


def children_of_this_process() -> set[int]:
    from nodus_control.runner.processes import entries

    return {entry.pid for entry in entries() if entry.parent == os.getpid()}
