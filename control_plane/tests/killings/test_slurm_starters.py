"""A worker that stops before a job is queued, and a script that stops before its claim: the program runs once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosted.processes import Hosted
from killings.sites import ClusterSite
from killings.starters import Starters
from killings.workers import worker_program
from servers.slurm import SlurmCluster
from slurm.conftest import Gate

from nodus_control.control_plane import ControlPlane


@pytest.fixture
def starters(slurm: SlurmCluster, here: ControlPlane, hosted: Hosted, tmp_path: Path) -> Iterator[Starters]:
    """A server, on a cluster."""
    made = Starters(here, hosted, ClusterSite(slurm, tmp_path), tmp_path)
    yield made
    made.kill()


@pytest.mark.timeout(600)
def test_starters_that_stop_past_their_leases(starters: Starters, tmp_path: Path) -> None:
    """What another worker queues meanwhile stops as well, until the first copy has run."""
    queue, claim = Gate(tmp_path / "queue"), Gate(tmp_path / "claim")
    queue.hold("sbatch")
    claim.hold("uname")
    first = starters.work(worker_program(is_hasty=True), PATH=queue.path)
    job_id = starters.submit()
    queue.await_somebody()
    starters.stop(first)
    starters.work(worker_program(is_hasty=True), PATH=claim.path)
    claim.await_somebody()
    queue.open()
    starters.completed(job_id)
    claim.open()
    starters.go_on(first)
    starters.end()

    starters.check(job_id)
