"""A program ends when it is told to, with everything that it started; how it ended is what really happened."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from process.conftest import AMPLE_SECONDS, SECRET

from nodus_control.runner import attempt_files
from nodus_control.runner.attempt_files import read_claim
from nodus_control.suppliers.process.driver import GRACE_SECONDS, ProcessDriver
from nodus_control.suppliers.protocol import PlacementState

if TYPE_CHECKING:
    from process.conftest import RealJobs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere only the process group is held")

IGNORES_SIGTERM = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready')\ntime.sleep(600)"

SETSID_CHILD = """
import os, time
if os.fork() == 0:
    os.setsid()
    print("ready")
    time.sleep(600)
time.sleep(600)
"""

DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for descriptor in range(3):
            os.close(descriptor)
        open("ready", "w").close()
        time.sleep(600)
    os._exit(0)
os.wait()
while not os.path.exists("ready"):
    time.sleep(0.01)
print("ready")
time.sleep(600)
"""

FORK_TREE = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
depth = 0
while depth < 4:
    first, second = os.fork(), None
    if first:
        second = os.fork()
        if second:
            break
    depth += 1
    if depth % 2:
        os.setsid()
os.write(1, b".")
time.sleep(600)
"""

KEEPS_FORKING = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready")
while True:
    if os.fork() == 0:
        time.sleep(0.05)
        os._exit(0)
    time.sleep(0.005)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
"""

STOPPED = "import os, signal\nprint('ready')\nos.kill(os.getpid(), signal.SIGSTOP)"

ENDS_WELL_ON_SIGTERM = """
import signal, sys, time
def leave(signum, frame):
    print("goodbye")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("ready")
time.sleep(600)
"""

TREES = {
    "ignores SIGTERM": IGNORES_SIGTERM,
    "setsid": SETSID_CHILD,
    "double fork": DAEMON,
    "keeps forking": KEEPS_FORKING,
    "stopped": STOPPED,
}


@pytest.mark.parametrize("program", TREES.values(), ids=TREES.keys())
def test_cancel_leaves_nothing_of_the_tree(jobs: RealJobs, program: str) -> None:
    """Whatever a program's processes did to get away, none is alive once the driver says cancelled."""
    job = jobs.start_python(program).until_printed(b"ready")
    job.cancel()
    report = job.finish()

    assert report.state is PlacementState.CANCELLED
    assert report.started_at is not None
    assert job.processes() == []


@pytest.mark.parametrize("program", TREES.values(), ids=TREES.keys())
def test_the_limit_leaves_nothing_of_the_tree(jobs: RealJobs, program: str) -> None:
    """`max_runtime_seconds` ends the same trees, the output so far stays, and the job has lasted exactly its limit."""
    for limit in (1, 4, 16, 64):
        job = jobs.start_python(program, max_runtime_seconds=limit)
        report = job.finish()
        # On a busy machine the shorter ones can be over before the program has come to anything.
        if job.output().startswith(b"ready"):
            break

    assert report.state is PlacementState.FAILED
    assert report.error_code == "max_runtime_exceeded"
    assert report.error_message is not None
    assert report.error_message.startswith(f"the program was ended at its limit of {limit} s")
    assert report.started_at is not None
    assert report.finished_at == pytest.approx(report.started_at + limit)
    assert job.output().startswith(b"ready")
    assert job.processes() == []


def test_a_tree_of_forks_is_ended_whole(jobs: RealJobs) -> None:
    """Thirty-one processes in several sessions, all of which ignore SIGTERM."""
    job = jobs.start_python(FORK_TREE).until_printed(b"." * 31)
    assert len(job.processes()) == 31

    job.cancel()
    assert job.finish().state is PlacementState.CANCELLED
    assert job.processes() == []


def test_a_program_that_ignores_sigterm_ends_in_time_with_the_defaults(jobs: RealJobs) -> None:
    """It has the whole grace, which leaves as long again of the ten seconds that a cancel may take."""
    at = time.time()
    # However long the submission takes, the clock of the reports is then that of this machine, and not behind it.
    driver = ProcessDriver(jobs.state_dir, secret=SECRET, wall_clock=lambda: at)
    job = jobs.make((sys.executable, "-u", "-c", IGNORES_SIGTERM), driver=driver)
    driver.submit(job.placement, job.workload, at)
    job.until_printed(b"ready")
    cancelled_at = time.time()
    job.cancel()
    report = job.finish()

    assert report.state is PlacementState.CANCELLED
    assert report.finished_at is not None
    assert report.finished_at - cancelled_at >= GRACE_SECONDS
    assert GRACE_SECONDS <= 5
    assert job.processes() == []


def test_sigterm_comes_first(jobs: RealJobs) -> None:
    """A program may put its affairs in order; that it then exits with 0 does not make the job completed."""
    driver = jobs.new_driver(grace_seconds=AMPLE_SECONDS)
    job = jobs.start_python(ENDS_WELL_ON_SIGTERM, driver=driver).until_printed(b"ready\n")
    job.cancel()

    assert job.finish().state is PlacementState.CANCELLED
    assert job.output() == b"ready\ngoodbye\n"


def test_what_a_program_leaves_behind_is_ended(jobs: RealJobs) -> None:
    """The job is over when its main process is, and a background child does not outlive the job."""
    job = jobs.start_shell("sleep 600 & setsid sleep 600 & echo done")
    report = job.finish()

    assert report.state is PlacementState.COMPLETED
    assert job.output() == b"done\n"
    assert job.processes() == []


def test_what_a_program_leaves_behind_may_finish_writing(jobs: RealJobs) -> None:
    """A child that ends a moment after the main process gets its last line into the output."""
    after = "while kill -0 $$ 2> /dev/null; do sleep 0.01; done"
    driver = jobs.new_driver(linger_seconds=AMPLE_SECONDS)
    job = jobs.start_shell(f"({after}; echo last) & echo first", driver=driver)
    job.finish()

    assert job.output() == b"first\nlast\n"


def test_cancel_before_submission_keeps_the_program_from_running(jobs: RealJobs) -> None:
    """The request outlives the order of the calls; there is no start, and nothing to read."""
    job = jobs.make(("touch", str(jobs.scratch / "ran")))
    job.cancel()
    job.submit()
    report = job.poll()

    assert report.state is PlacementState.CANCELLED
    assert report.started_at is None
    assert report.finished_at is not None
    assert jobs.driver.logs(job.placement, 0, 10).complete
    assert not (jobs.scratch / "ran").exists()


def test_a_cancel_that_overtakes_the_runner_keeps_the_program_from_running(jobs: RealJobs) -> None:
    """A runner that has its claim looks for a request before it starts anything."""
    job = jobs.make(("touch", str(jobs.scratch / "ran")))
    job.directory.mkdir(parents=True)
    attempt_files.request_cancel(str(job.directory), job.key)
    job.submit()
    report = job.finish()

    assert report.state is PlacementState.CANCELLED
    assert report.started_at is None
    assert not (jobs.scratch / "ran").exists()


def test_cancel_after_the_end_changes_nothing(jobs: RealJobs) -> None:
    """What really happened stays, and so do its times."""
    job = jobs.start_shell("exit 0")
    before = job.finish()
    job.cancel()
    job.cancel()

    assert before.state is PlacementState.COMPLETED
    assert job.poll() == before


def test_cancel_twice_is_one_cancel(jobs: RealJobs) -> None:
    """A second request while the first is carried out does not kill early."""
    driver = jobs.new_driver(grace_seconds=AMPLE_SECONDS)
    job = jobs.start_python(ENDS_WELL_ON_SIGTERM, driver=driver).until_printed(b"ready\n")
    job.cancel()
    job.cancel()

    assert job.finish().state is PlacementState.CANCELLED
    assert job.output() == b"ready\ngoodbye\n"


@pytest.mark.parametrize(("script", "says"), [("exit 7", "code 7"), ("kill -9 $$", "signal 9 (SIGKILL)")])
def test_a_failure_says_how_the_program_ended(jobs: RealJobs, script: str, says: str) -> None:
    """What it printed last stays in its output."""
    job = jobs.start_shell(f"echo out of luck >&2; {script}")
    report = job.finish()

    assert report.state is PlacementState.FAILED
    assert report.error_code == "nonzero_exit"
    assert report.error_message is not None
    assert says in report.error_message
    assert "out of luck" not in report.error_message


def test_times_are_those_of_the_program(jobs: RealJobs) -> None:
    """Start and end enclose the run, on the clock that the driver is called with."""
    job = jobs.make(("true",))
    jobs.driver.submit(job.placement, job.workload, 5_000_000_000.0)
    report = job.finish()

    assert report.started_at is not None
    assert report.finished_at is not None
    assert 5_000_000_000.0 <= report.started_at < report.finished_at < 5_000_003_600.0


def test_the_next_look_is_sooner_for_a_young_program(jobs: RealJobs) -> None:
    """A short program is found to have ended soon; a long one costs a look a second."""
    job = jobs.start_shell("echo ready; sleep 600").until_printed(b"ready")
    started_at = job.poll().started_at
    assert started_at is not None

    def pause(age: float) -> float | None:
        hint = jobs.driver.poll(job.placement, job.workload, started_at + age).next_poll_at
        return None if hint is None else round(hint - started_at - age, 3)

    assert [pause(age) for age in (0, 4, 3600)] == [0.05, 0.4, 1.0]


def test_a_runner_does_not_end_for_a_signal(jobs: RealJobs) -> None:
    """A stop of the service, a closed terminal, a Ctrl-C: the runner stays with its program to the end."""
    go = jobs.scratch / "go"
    job = jobs.start_shell(f"echo ready; until test -e {go}; do sleep 0.01; done; echo end").until_printed(b"ready")
    claim = read_claim(str(job.directory), job.key)
    assert claim is not None
    assert claim.runner is not None
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(claim.runner.pid, signum)
    go.touch()

    assert job.finish().state is PlacementState.COMPLETED
    assert job.output() == b"ready\nend\n"
