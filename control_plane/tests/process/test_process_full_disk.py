"""A disk that is full or fails for a moment: how a program ended is not lost by that, and nothing ends by it."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from patience import PATIENCE_SECONDS, eventually
from process.conftest import RealJobs

from nodus_control.suppliers.protocol import PlacementState

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and a small file system")

DISK_BYTES = 1 << 20

# A runner for which the disk fails at the first questions after a cancellation, then answers.
RUNS_ON_A_BAD_DISK = """
import errno, os, sys
from nodus_control.runner import attempt_files, processes, supervise
from nodus_control.runner.specification import Specification

answers = [errno.EIO, errno.ENFILE, errno.ENOMEM]
ask = attempt_files.cancel_requested

def ask_badly(directory, key):
    if answers:
        raise OSError(answers.pop(), "the disk fails")
    return ask(directory, key)

attempt_files.cancel_requested = ask_badly
specification = Specification(
    command=("sh", "-c", "sleep 1; exit 7"), environment=dict(os.environ), max_runtime_seconds=600.0, grace_seconds=0.3,
    linger_seconds=0.2, output_limit_bytes=4096, clock_offset=0.0, key=b"key", state_directory=sys.argv[1],
)
wakeup = supervise.install_signal_handlers()
processes.become_subreaper()
result = supervise.Supervisor(specification, sys.argv[1], wakeup).run()
print(result.reason, result.exit_code, len(answers))
"""


@pytest.fixture
def jobs(tmp_path: pathlib.Path) -> Iterator[RealJobs]:
    """Jobs whose records are on a small disk of their own."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none", str(state)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may mount no file system")
    made = RealJobs(state)
    try:
        yield made
        made.end_all()
    finally:
        subprocess.run(["umount", "--lazy", state], capture_output=True, check=False)


def test_what_a_program_filled_the_disk_with_makes_room_for_how_it_ended(jobs: RealJobs) -> None:
    """Nothing else may ever do so."""
    job = jobs.start_shell("cat /dev/zero >fill; exit 7")
    report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")
    assert "code 7" in (report.error_message or "")


def test_a_runner_that_waits_for_room_shows_that_it_lives(jobs: RealJobs) -> None:
    """Otherwise it would be given up, and with it what only it knows."""
    job = jobs.start_shell("echo ready; until test -e go; do sleep 0.05; done; exit 7").until_printed(b"ready")
    filler = jobs.state_dir / ".filler"
    subprocess.run(["sh", "-c", 'cat /dev/zero >"$0"', filler], capture_output=True, check=False)
    (job.directory / "work" / "go").touch()
    eventually(lambda: job.processes() == [], lambda: "the program has not ended")
    # The first can be from before the program's end.
    job.until_it_shows_life()
    filler.unlink()
    report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.FAILED, "nonzero_exit")


def test_a_disk_that_fails_for_a_moment_ends_no_program(tmp_path: pathlib.Path) -> None:
    """Whether its end was requested is asked again."""
    ran = subprocess.run(
        [sys.executable, "-c", RUNS_ON_A_BAD_DISK, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert (ran.stdout, ran.stderr) == ("exited 7 0\n", "")
