"""The driver on a real cluster: how a job waits, is ended, or ends itself."""

from __future__ import annotations

import os
import signal
import sys

from patience import eventually
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import ClusterJob

from nodus_control.suppliers.protocol import PlacementState
from nodus_control.suppliers.slurm.driver import SlurmDriver


def test_a_job_that_waits_says_so_until_there_is_room(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """All GPUs of both nodes are taken by two others."""
    others = [ClusterJob(driver, slurm, ["sleep", "600"], gpus=8).submit().running() for _ in range(2)]
    job = ClusterJob(driver, slurm, ["true"]).submit()
    eventually(lambda: "Resources" in (job.poll().phase_detail or "") or "Priority" in (job.poll().phase_detail or ""))
    waiting = job.poll()
    others[0].cancel()

    assert (waiting.state, waiting.phase) == (PlacementState.PROVISIONING, "waiting_in_engine")
    assert waiting.engine_ref is not None
    assert waiting.engine_ref.isdigit()
    assert job.over().state is PlacementState.COMPLETED


def test_a_program_that_ends_itself_upon_term_is_let_do_so(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """It has five seconds, and hears of it once."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(0)))\n"
        "print('up', flush=True); time.sleep(600)"
    )
    job = ClusterJob(driver, slurm, [sys.executable, "-c", program]).submit().running().prints(b"up")
    job.cancel()
    job.cancel()
    report = job.over()

    assert report.state is PlacementState.CANCELLED
    assert job.output() == b"up\nsaved\n"
    assert report.started_at is not None


def test_a_program_that_does_not_hear_is_killed(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """With what it started."""
    job = ClusterJob(driver, slurm, ["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"]).submit()
    pid = int(job.running().prints(b"\n").output())
    job.cancel()

    assert job.over().state is PlacementState.CANCELLED
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_what_is_cancelled_while_it_waits_never_runs(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """Slurm forgets it, and a copy that was on its way finds that it was taken."""
    others = [ClusterJob(driver, slurm, ["sleep", "600"], gpus=8).submit().running() for _ in range(2)]
    job = ClusterJob(driver, slurm, ["echo", "ran"]).submit()
    job.cancel()
    report = job.over()
    script = job.folder / "script"
    copy = ["--parsable", f"--job-name={job.name}", "--output=/dev/null", str(script)]
    for other in others:
        other.cancel()
    late = slurm.command("sbatch", *copy).strip()
    eventually(lambda: "COMPLETED" in slurm.command("squeue", "--noheader", "--states=all", f"--jobs={late}", "-o%T"))

    assert (report.state, report.started_at) == (PlacementState.NOT_STARTED, None)
    assert not (job.folder / "output").exists()
    assert (job.folder / "secret").read_bytes() == b""


def test_a_program_that_kills_itself_is_told_from_one_that_exits(slurm: SlurmCluster, driver: SlurmDriver) -> None:
    """By the name of the signal."""
    job = ClusterJob(driver, slurm, ["sh", "-c", f"kill -{int(signal.SIGKILL)} $$"]).submit()

    assert job.over().error_message == "the program was ended by signal 9 (SIGKILL)"
