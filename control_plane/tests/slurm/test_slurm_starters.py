"""Whoever is paused on the way to a program, for however long: it runs once at most, on a real cluster."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import LOST_SECONDS, QUICK, ClusterJob, driver_of, wait_until_copies_are_over
from slurm.conftest import Gate

from nodus_control.suppliers.protocol import EngineUnavailable, PlacementState
from nodus_control.suppliers.slurm.commands import Cluster
from nodus_control.suppliers.slurm.transport import ShellTransport


def test_a_script_that_sleeps_before_its_claim_until_it_is_forgotten_runs_nothing(
    slurm: SlurmCluster, gate: Gate
) -> None:
    """It finds the claim of whoever took the attempt."""
    driver = driver_of(slurm)
    gate.hold("uname")
    job = ClusterJob(driver, slurm, ["echo", "ran"]).submit()
    gate.await_somebody()
    Cluster(ShellTransport(None), str(job.folder.parent.parent)).withdraw(job.name)
    report = job.over()
    gate.open()
    wait_until_copies_are_over(slurm, job)

    assert report.state is PlacementState.NOT_STARTED
    assert not (job.folder / "output").exists()


def test_a_script_that_sleeps_between_claim_and_start_until_it_is_given_up_runs_nothing(
    slurm: SlurmCluster, gate: Gate
) -> None:
    """The right to start is taken from it; that it never ran is certain."""
    driver = driver_of(slurm, pace=QUICK, lost_seconds=LOST_SECONDS)
    gate.hold("mktemp")
    job = ClusterJob(driver, slurm, ["echo", "ran"]).submit()
    gate.await_somebody()
    claimed = job.poll().state
    slurm.kill_controller()
    report = job.over()
    slurm.start_controller()
    gate.open()
    wait_until_copies_are_over(slurm, job)

    assert claimed is PlacementState.PROVISIONING
    assert (report.state, report.error_code) == (PlacementState.NOT_STARTED, "not_started")
    assert not (job.folder / "output").exists()


def test_a_starter_that_sleeps_before_the_queue_until_it_is_forgotten_submits_nothing(slurm: SlurmCluster) -> None:
    """Though its lease still seemed its own when it looked."""
    driver = driver_of(slurm)
    job = ClusterJob(driver, slurm, ["echo", "ran"])

    def sleep_through_everything() -> bool:
        driver.cancel(job.placement, 0.0)
        driver.forget(job.placement)
        return True

    job.submit(holds=sleep_through_everything)

    assert job.name not in [name for name, _state in slurm.jobs()]
    assert job.poll().state is PlacementState.NOT_STARTED


def test_a_starter_whose_lease_is_over_submits_nothing(slurm: SlurmCluster) -> None:
    """Whoever has the attempt now submits the same one."""
    driver = driver_of(slurm)
    job = ClusterJob(driver, slurm, ["echo", "ran"])
    job.submit(holds=lambda: False)
    names = [name for name, _state in slurm.jobs()]
    job.submit()

    assert job.name not in names
    assert job.over().state is PlacementState.COMPLETED


def test_a_submission_whose_answer_is_lost_is_adopted(slurm: SlurmCluster, tmp_path: Path, gate: Gate) -> None:
    """The next call finds it in the queue, or runs a copy that does nothing."""
    count = tmp_path / "count"
    driver = driver_of(slurm)
    real = slurm.program("sbatch")
    stand_in = tmp_path / "sbatch"
    stand_in.write_text(f'#!/bin/sh\n{real} "$@" >/dev/null\necho "sbatch: error: Socket timed out" >&2\nexit 1\n')
    stand_in.chmod(stat.S_IRWXU)
    job = ClusterJob(driver, slurm, ["sh", "-c", f"echo ran >> {count}; sleep 1"])
    with pytest.raises(EngineUnavailable):
        job.submit()
    stand_in.unlink()
    job.submit()
    report = job.over()
    wait_until_copies_are_over(slurm, job)

    assert report.state is PlacementState.COMPLETED
    assert count.read_text() == "ran\n"
