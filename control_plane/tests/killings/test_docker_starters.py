"""Workers that stop before a container is made, claimed and started, past their leases: each program runs once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosted.processes import Hosted
from killings.programs import NetworkWitness
from killings.sites import ContainerSite
from killings.starters import Starters
from killings.workers import Hold, worker_program
from patience import eventually
from servers.container_engines import DOCKER, ContainerEngine
from servers.registry import Registry
from slurm.conftest import Gate

from nodus_control.control_plane import ControlPlane

pytestmark = pytest.mark.parametrize("container_engine", [DOCKER], indirect=True)

STEPS = {"/containers/create": (201, 409), "/rename": (400, 404, 409), "/start": (404,)}
"""With what the engine answers whoever comes so late: it may make one more container, that nobody starts.

What has the name already that it is to be given is 400, as long as it is there.
"""


@pytest.fixture
def starters(
    here: ControlPlane, hosted: Hosted, container_engine: ContainerEngine, image_registry: Registry, tmp_path: Path
) -> Iterator[Starters]:
    """A server, on an engine with eight GPUs."""
    with NetworkWitness() as witness:
        site = ContainerSite(container_engine, image_registry.publish("busybox"), tmp_path, witness)
        made = Starters(here, hosted, site, tmp_path)
        yield made
        made.kill()
        hosted.stop()
        container_engine.empty()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_hasty", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_starters_that_stop_past_their_leases(starters: Starters, tmp_path: Path, *, is_hasty: bool) -> None:
    """Each at another step, all at once; a fourth worker takes over what they have, and then they go on."""
    stopped, gates, job_ids = [], [], []
    for number, step in enumerate(STEPS):
        gate = Gate(tmp_path / str(number))
        worker = starters.work(worker_program(is_hasty=is_hasty, hold=Hold(step, str(gate.folder))))
        job_ids.append(starters.submit())
        gate.await_somebody()
        starters.stop(worker)
        stopped.append(worker)
        gates.append(gate)
    starters.work(worker_program(is_hasty=is_hasty))
    for job_id in job_ids:
        starters.completed(job_id)
    starters.go_on(*stopped)
    for gate, statuses in zip(gates, STEPS.values(), strict=True):
        gate.open()
        passed = gate.folder / "passed"
        eventually(passed.exists, lambda: "what was held is not answered")
        assert int(passed.read_text()) in statuses
    starters.end()

    starters.check(*job_ids)
