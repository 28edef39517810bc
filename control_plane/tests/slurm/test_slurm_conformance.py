"""The slurm driver passes the conformance suite, on a real cluster that it reaches through `ssh`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.slurm import SlurmCluster
from slurm.slurm_subject import SlurmSubject

from nodus_control.suppliers.conformance import DriverChecks, Subject


@pytest.fixture(scope="module")
def cluster(slurm_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """Make ready one cluster for all checks: each ends what it began."""
    slurm_cluster.repair()
    yield slurm_cluster
    slurm_cluster.empty()


class TestSlurm(DriverChecks):
    """Every check that an engine which gives out its own GPUs can be put to."""

    @pytest.fixture
    def subject(self, cluster: SlurmCluster, tmp_path: Path) -> Subject:
        """Make one for each check."""
        return SlurmSubject(cluster, tmp_path)
