"""kill -9 of workers, server and dockerd by chance, while containers of three customers run: each program runs once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosted.processes import Hosted
from killings.campaign import LONG, SHORT, Campaign
from killings.programs import NetworkWitness
from killings.seeds import Report, new_seed, tell
from killings.sites import ContainerSite
from servers.container_engines import DOCKER, ContainerEngine
from servers.registry import Registry

from nodus_control.control_plane import ControlPlane

pytestmark = pytest.mark.parametrize("container_engine", [DOCKER], indirect=True)


@pytest.fixture
def campaign(
    here: ControlPlane,
    hosted: Hosted,
    container_engine: ContainerEngine,
    image_registry: Registry,
    tmp_path: Path,
    record_property: Report,
) -> Iterator[Campaign]:
    """A campaign on an engine with eight GPUs."""
    with NetworkWitness() as witness:
        site = ContainerSite(container_engine, image_registry.publish("busybox"), tmp_path, witness)
        yield Campaign(here, hosted, site, tmp_path, new_seed(record_property))
        hosted.stop()
        container_engine.empty()


@pytest.mark.timeout(600)
def test_killings(campaign: Campaign, caplog: pytest.LogCaptureFixture, record_property: Report) -> None:
    """For twenty seconds."""
    tell(campaign.run(SHORT, caplog), record_property)


@pytest.mark.soak
def test_many_killings(campaign: Campaign, caplog: pytest.LogCaptureFixture, record_property: Report) -> None:
    """For five minutes."""
    tell(campaign.run(LONG, caplog), record_property)
