"""The driver on a real cluster whose controller is killed, and forgets."""

from __future__ import annotations

import dataclasses

import pytest
from patience import eventually
from servers.slurm import SlurmCluster
from slurm.cluster_jobs import ClusterJob, driver_of, processes_of

from nodus_control.suppliers.protocol import EngineUnavailable, PlacementState


def test_a_dead_controller_is_no_news_of_what_runs_or_waits(slurm: SlurmCluster) -> None:
    """What a script has written is true without it; of what no node has yet nothing is known until it is back."""
    driver = driver_of(slurm)
    others = [ClusterJob(driver, slurm, ["sh", "-c", "echo up; sleep 600"], gpus=8).submit() for _ in range(2)]
    for other in others:
        other.running()
    brief = driver_of(slurm)
    waiting = ClusterJob(driver, slurm, ["echo", "ran"]).submit()
    eventually(lambda: waiting.poll().phase == "waiting_in_engine" and slurm.has_saved(waiting.name))
    slurm.kill_controller()

    with pytest.raises(EngineUnavailable):
        brief.poll(waiting.placement, waiting.workload, 0.0)
    assert [other.poll().state for other in others] == [PlacementState.RUNNING] * 2

    slurm.start_controller()
    others[0].cancel()
    assert others[0].over().state is PlacementState.CANCELLED
    assert waiting.over().state is PlacementState.COMPLETED
    assert waiting.output() == b"ran\n"


def test_what_ends_while_the_controller_is_dead_is_known_at_once(slurm: SlurmCluster) -> None:
    """Its cancellation too, which the script finds in its folder."""
    driver = driver_of(slurm)
    job = ClusterJob(driver, slurm, ["sh", "-c", "echo up; exec sleep 600"]).submit().running().prints(b"up")
    slurm.kill_controller()
    with pytest.raises(EngineUnavailable):
        job.cancel()

    assert job.over().state is PlacementState.CANCELLED
    slurm.start_controller()
    assert job.poll().state is PlacementState.CANCELLED


def test_a_job_that_the_controller_has_forgotten_never_runs(slurm: SlurmCluster) -> None:
    """Its id is another's by then, and what is asked of the one does nothing to the other."""
    driver = driver_of(slurm)
    others = [ClusterJob(driver, slurm, ["sleep", "600"], gpus=8).submit().running() for _ in range(2)]
    waiting = ClusterJob(driver, slurm, ["echo", "ran"]).submit()
    eventually(lambda: waiting.poll().engine_ref is not None)
    reference = waiting.poll().engine_ref
    slurm.forget_jobs()
    report = waiting.over()
    # The nodes end what the controller does not know, and take no other job of the same id before.
    eventually(lambda: not any(processes_of(other) for other in others), lambda: "the nodes end nothing")
    ends = [other.over().state for other in others]
    later = [ClusterJob(driver, slurm, ["sleep", "600"]).submit()]
    while slurm.command("squeue", "--noheader", f"--name={later[-1].name}", "--format=%A").strip() != reference:
        assert len(later) < 8, "no job gets the same id"
        later.append(ClusterJob(driver, slurm, ["sleep", "600"]).submit())
    later[-1].running()
    waiting.placement = dataclasses.replace(waiting.placement, engine_ref=reference)
    waiting.cancel()
    driver.forget(waiting.placement)

    assert report.state is PlacementState.NOT_STARTED
    assert ends == [PlacementState.LOST] * 2
    assert later[-1].poll().state is PlacementState.RUNNING
    assert not (waiting.folder / "output").exists()
