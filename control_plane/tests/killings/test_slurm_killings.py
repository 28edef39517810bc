"""kill -9 of workers, server, controller and node daemons by chance, while jobs of three customers run: each once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosted.processes import Hosted
from killings.campaign import LONG, SHORT, Campaign
from killings.seeds import Report, new_seed, tell
from killings.sites import ClusterSite
from servers.slurm import SlurmCluster

from nodus_control.control_plane import ControlPlane


@pytest.fixture
def campaign(
    slurm: SlurmCluster, here: ControlPlane, hosted: Hosted, tmp_path: Path, record_property: Report
) -> Iterator[Campaign]:
    """A campaign on a cluster where eight jobs run at once."""
    yield Campaign(here, hosted, ClusterSite(slurm, tmp_path), tmp_path, new_seed(record_property))
    hosted.stop()


@pytest.mark.timeout(600)
def test_killings(campaign: Campaign, caplog: pytest.LogCaptureFixture, record_property: Report) -> None:
    """For twenty seconds."""
    tell(campaign.run(SHORT, caplog), record_property)


@pytest.mark.soak
def test_many_killings(campaign: Campaign, caplog: pytest.LogCaptureFixture, record_property: Report) -> None:
    """For five minutes."""
    tell(campaign.run(LONG, caplog), record_property)
