"""A table of open files that is full: nothing that lives is taken for dead by that, and no end is lost."""

from __future__ import annotations

import os
import pathlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from patience import PATIENCE_SECONDS, eventually
from process.conftest import RealJobs

from nodus_control.runner import attempt_files, processes
from nodus_control.suppliers.protocol import PlacementState

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

# Asks about a process that lives, with a table that is full at the first file, the second one, and so on.
ASKS = """
import os, resource, sys
from nodus_control.runner import processes
from nodus_control.suppliers.process import ending, keeping

machine_id = keeping.read_machine_id()
identity = processes.identity_of(int(sys.argv[1]))
directory = sys.argv[2]
marker = "NODUS_WORK_DIRECTORY=/nowhere"
questions = {
    "is_running": lambda: processes.is_running(identity),
    "is_same": lambda: processes.is_same(identity),
    "boot_id": lambda: processes.boot_id() is not None,
    "identity_of": lambda: processes.identity_of(identity.pid) == identity,
    "is_watched": lambda: keeping.is_watched(directory, identity),
    "runners_of": lambda: bool(processes.runners_of(directory)),
    "left_of": lambda: bool(processes.left_of(identity, marker, ["/nowhere"])),
    "left_of_nobody": lambda: bool(processes.left_of(None, marker, [os.getcwd()])),
    "list": lambda: len(list(keeping.find_attempts(sys.argv[3], lambda *_: b"key", keeping.AttemptOwner()))) == 1,
    "machine": lambda: keeping.read_machine_id() == machine_id,
}
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
used = len(os.listdir("/proc/self/fd")) - 1
for name, question in questions.items():
    for free in range(4):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + free, hard))
        try:
            answer = question()
        except OSError:
            answer = None
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        print(name, free, answer)
    print(name, "all", question())
"""


@contextmanager
def runner_of(directory: pathlib.Path) -> Iterator[int]:
    """Have a process that looks like the runner of an attempt, and stands in its directory."""
    script = directory / "nodus_control" / "runner" / "__main__.py"
    script.parent.mkdir(parents=True)
    script.write_text("print(flush=True)\ninput()\n")
    words = [sys.executable, str(script), str(directory)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory) as made:
        assert made.stdout is not None
        assert made.stdout.readline() == b"\n"
        try:
            yield made.pid
        finally:
            made.kill()


def test_whether_something_lives_is_not_said_where_no_file_can_be_opened(tmp_path: pathlib.Path) -> None:
    """That is an error, and asked again; wherever it happens, the answer is the true one or none."""
    directory = tmp_path / "state" / "job" / "1"
    directory.mkdir(parents=True)
    claim = attempt_files.Claim(1.0, processes.own_identity())
    attempt_files.publish(str(directory), attempt_files.CLAIM, attempt_files.claim_document(claim), b"key")
    with runner_of(directory) as pid:
        ran = subprocess.run(
            [sys.executable, "-c", ASKS, str(pid), directory, tmp_path / "state"],
            capture_output=True,
            text=True,
            check=False,
            cwd=directory,
            timeout=PATIENCE_SECONDS,
        )
    answers = [line.split() for line in ran.stdout.splitlines()]
    wrong = [line for line in answers if line[2] == "False"]

    assert ran.stderr == ""
    assert wrong == []
    assert {line[2] for line in answers if line[1] == "all"} == {"True"}
    assert {line[2] for line in answers if line[1] == "0"} == {"None"}


def test_how_a_program_ended_is_not_lost_by_a_full_table(jobs: RealJobs) -> None:
    """Its runner can neither see what is left of it nor write that down, and goes on trying."""
    job = jobs.start_shell(f"echo ready; until test -e '{jobs.scratch}/go'; do sleep 0.05; done; exit 7")
    job.until_printed(b"ready")
    record = attempt_files.read_claim(str(job.directory), job.key)
    assert record is not None
    assert record.runner is not None
    runner = record.runner.pid
    before = resource.prlimit(runner, resource.RLIMIT_NOFILE)
    # As many as it waits for at once; it has more open, so that none can be opened.
    resource.prlimit(runner, resource.RLIMIT_NOFILE, (4, before[1]))
    (jobs.scratch / "go").touch()
    eventually(lambda: job.processes() == [], lambda: "the program has not ended")
    job.until_it_shows_life()
    assert not os.path.lexists(job.directory / attempt_files.RESULT)
    resource.prlimit(runner, resource.RLIMIT_NOFILE, before)
    report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")
    assert "code 7" in (report.error_message or "")


# A runner that cannot see its program at the first looks after its limit.
RUNS_BLINDLY = """
import errno, os, sys
from nodus_control.runner import processes, supervise
from nodus_control.runner.specification import Specification

looks = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENFILE, errno.ENFILE]
see = processes.descendants

def see_badly(root):
    if looks:
        raise OSError(looks.pop(), "no file can be opened")
    return see(root)

processes.descendants = see_badly
specification = Specification(
    command=("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"), environment=dict(os.environ),
    max_runtime_seconds=1.0, grace_seconds=600.0, linger_seconds=0.2, output_limit_bytes=4096, clock_offset=0.0,
    key=b"key", state_directory=sys.argv[1],
)
wakeup = supervise.install_signal_handlers()
processes.become_subreaper()
result = supervise.Supervisor(specification, sys.argv[1], wakeup).run()
print(result.reason, result.exit_code, len(looks))
"""


def test_a_program_that_cannot_be_seen_is_asked_to_end_once_it_can(tmp_path: pathlib.Path) -> None:
    """It has its time to do so, which it would not have if that were left out."""
    ran = subprocess.run(
        [sys.executable, "-c", RUNS_BLINDLY, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert (ran.stdout, ran.stderr) == ("max_runtime_exceeded 3 0\n", "")


# A runner that cannot put its program on record, or cannot even make the pipes for that.
CANNOT_BEGIN = """
import errno, os, sys
from nodus_control.runner import program, processes, supervise
from nodus_control.runner.specification import Specification

def fail(*arguments):
    raise OSError(errno.ENFILE, "no file can be opened")

def fail_later(made=[]):
    made.append(pipe())
    return made[-1] if len(made) < 6 else fail()

pipe = os.pipe
if sys.argv[2] == "record":
    processes.identity_of = fail
else:
    os.pipe = fail_later
specification = Specification(
    command=("sh", "-c", "echo began"), environment=dict(os.environ), max_runtime_seconds=600.0, grace_seconds=0.3,
    linger_seconds=0.2, output_limit_bytes=4096, clock_offset=0.0, key=b"key", state_directory=sys.argv[1],
)
processes.become_subreaper()
supervisor = supervise.Supervisor(specification, sys.argv[1], supervise.install_signal_handlers())
try:
    supervisor.run()
except OSError as exc:
    print(exc.errno == errno.ENFILE, supervisor.started_at, os.path.getsize(os.path.join(sys.argv[1], "output.log")))
"""


@pytest.mark.parametrize("what", ["record", "pipes"])
def test_a_program_that_was_never_told_to_begin_has_not_begun(tmp_path: pathlib.Path, what: str) -> None:
    """So that it is placed anew, and nobody pays."""
    ran = subprocess.run(
        [sys.executable, "-c", CANNOT_BEGIN, tmp_path, what],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert (ran.stdout, ran.stderr) == ("True None 0\n", "")
