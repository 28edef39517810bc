"""The driver on a real cluster whose nodes stop answering: what goes on there is not lost, and what died is."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from patience import eventually
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import LOST_SECONDS, QUICK, ClusterJob, driver_of, processes_of

from nodus_control.suppliers.protocol import PlacementState


def test_a_dead_node_daemon_loses_nothing_while_the_script_lives(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Slurm calls the node failed, and the program goes on to its true end."""
    go_on = tmp_path / "go-on"
    driver = driver_of(slurm)
    program = f"echo up; while [ ! -e '{go_on}' ]; do sleep 0.1; done; echo done; exit 5"
    job = ClusterJob(driver, slurm, ["sh", "-c", program]).submit().running().prints(b"up")
    node = slurm.command("squeue", "--noheader", f"--name={job.name}", "--format=%B").strip()
    slurm.kill_node(node)
    eventually(lambda: (job.name, "NODE_FAIL") in slurm.jobs(), lambda: f"{slurm.jobs()}")
    while_failed = job.poll().state
    go_on.touch()
    report = job.over()

    assert while_failed is PlacementState.RUNNING
    assert report.error_message == "the program exited with code 5"
    assert job.output() == b"up\ndone\n"


def test_a_job_whose_node_is_dead_is_lost_when_its_script_has_been_silent_long_enough(slurm: SlurmCluster) -> None:
    """Not before, whatever Slurm says."""
    driver = driver_of(slurm, pace=QUICK, lost_seconds=LOST_SECONDS)
    job = ClusterJob(driver, slurm, ["sh", "-c", "echo up; exec sleep 600"]).submit().running().prints(b"up")
    node = slurm.command("squeue", "--noheader", f"--name={job.name}", "--format=%B").strip()
    slurm.kill_node(node)
    for pid in processes_of(job):
        os.kill(pid, signal.SIGKILL)
    killed_at = time.time()
    at_once = job.poll()
    report = job.over()

    assert at_once.state is PlacementState.RUNNING
    assert report.state is PlacementState.LOST
    assert report.started_at is not None
    assert report.finished_at is not None
    assert report.started_at <= report.finished_at <= killed_at + 0.1
    assert driver_of(slurm).poll(job.placement, job.workload, 0.0).state is PlacementState.LOST
