"""Many jobs of two workers on a real cluster, whose controller and node daemon are killed meanwhile: each runs once."""

from __future__ import annotations

import contextlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from patience import eventually
from servers.slurm import NODES, SlurmCluster
from slurm.cluster_jobs import ClusterJob, driver_of, wait_until_copies_are_over

from nodus_control.suppliers.protocol import EngineUnavailable, PlacementState
from nodus_control.suppliers.slurm.script import Pace

BEFORE, DURING = 24, 8
PACE = Pace(alive_seconds=5, silent_seconds=20)
LOST_SECONDS = 45.0


def submit(job: ClusterJob) -> bool:
    """Submit, once; say whether the cluster answered."""
    with contextlib.suppress(EngineUnavailable):
        job.submit()
        return True
    return False


def test_every_program_runs_once_or_its_job_says_that_it_did_not(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Every third is submitted by both workers, and every one again whose submission was not answered."""
    runs = tmp_path / "runs"
    drivers = [driver_of(slurm, pace=PACE, lost_seconds=LOST_SECONDS) for _ in range(2)]
    jobs = [
        ClusterJob(drivers[number % 2], slurm, ["sh", "-c", f"echo {number} >> '{runs}'; sleep 1"])
        for number in range(BEFORE + DURING)
    ]
    with ThreadPoolExecutor(8) as pool:
        eventually(lambda: all(pool.map(submit, jobs[:BEFORE])))
        for job in jobs[:BEFORE:3]:
            job.driver = drivers[1 - jobs.index(job) % 2]
            eventually(lambda job=job: submit(job))  # type: ignore[misc]
        slurm.kill_controller()
        unanswered = [pool.submit(submit, job) for job in jobs[BEFORE:]]
        slurm.kill_node(NODES[0])
        slurm.start_node(NODES[0])
        slurm.start_controller()
        for attempt in unanswered:
            attempt.result()
        eventually(lambda: all(pool.map(submit, jobs)))
        reports = list(pool.map(ClusterJob.over, jobs))
    for job in jobs:
        wait_until_copies_are_over(slurm, job)
    ran = Counter(int(line) for line in runs.read_text().splitlines())
    states = [report.state for report in reports]

    assert set(states) <= {PlacementState.COMPLETED, PlacementState.NOT_STARTED, PlacementState.LOST}
    assert states.count(PlacementState.COMPLETED) >= DURING
    for number, state in enumerate(states):
        expected = {PlacementState.COMPLETED: {1}, PlacementState.NOT_STARTED: {0}, PlacementState.LOST: {0, 1}}[state]
        assert ran[number] in expected, f"job {number} is {state.value} and ran {ran[number]} times"
