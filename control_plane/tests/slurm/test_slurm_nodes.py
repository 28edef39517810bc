"""Scripts on a real cluster that are killed, stopped, or cut off: their programs end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from patience import eventually
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import LOST_SECONDS, QUICK, ClusterJob, driver_of, processes_of, wait_until_copies_are_over

from nodus_control.suppliers.protocol import PlacementState


def test_a_program_ends_when_its_script_is_killed(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Though nobody is there to be asked: what watches over both does it."""
    stopped = tmp_path / "stopped"
    driver = driver_of(slurm, pace=QUICK, lost_seconds=LOST_SECONDS, stop_command=("touch", str(stopped)))
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    job = ClusterJob(driver, slurm, [sys.executable, "-c", program]).submit().running()
    pid = int(job.prints(b"\n").output())
    (script,) = [each for each in processes_of(job) if is_script(each)]
    os.kill(script, signal.SIGKILL)

    eventually(lambda: not os.path.exists(f"/proc/{pid}"), lambda: "the program goes on")
    eventually(stopped.exists, lambda: "the operator's command does not run")
    assert job.over().state is PlacementState.LOST


def is_script(pid: int) -> bool:
    """Whether a process is a script itself, and none of the shells that it started."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        words = Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False
    return b"slurm_script" in words[0] and b"slurm_script" not in words[1]


def test_a_program_ends_when_its_script_cannot_show_that_it_lives(slurm: SlurmCluster) -> None:
    """Whoever gave the job up by then may run it again elsewhere."""
    driver = driver_of(slurm, pace=QUICK, lost_seconds=600.0)
    job = ClusterJob(driver, slurm, ["sh", "-c", "echo up; exec sleep 600"]).submit().running().prints(b"up")
    alive = job.folder / "alive"
    alive.unlink()
    while not alive.is_dir():
        alive.unlink(missing_ok=True)
        try:
            alive.mkdir()
        except FileExistsError:
            continue
    report = job.over()

    assert report.state is PlacementState.LOST
    assert "could not reach" in (report.error_message or "")


def test_a_suspended_job_is_given_up_and_never_goes_on(slurm: SlurmCluster, tmp_path: Path) -> None:
    """What is stopped longer than a lost one is waited for is ended first."""
    ticks = tmp_path / "ticks"
    driver = driver_of(slurm, pace=QUICK, lost_seconds=LOST_SECONDS)
    job = ClusterJob(driver, slurm, ["sh", "-c", f"while :; do echo tick >> {ticks}; sleep 0.1; done"]).submit()
    reference = job.running().poll().engine_ref or slurm.command("squeue", "-ho%A", f"--name={job.name}").strip()
    slurm.command("scontrol", "suspend", reference)
    report = job.over()
    size = ticks.stat().st_size
    wait_until_copies_are_over(slurm, job)

    assert report.state is PlacementState.LOST
    eventually(lambda: not processes_of(job), lambda: f"left: {processes_of(job)}")
    assert ticks.stat().st_size - size < 50
