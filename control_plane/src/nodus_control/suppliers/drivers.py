"""Makes the driver that a control plane was started with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nodus_core.catalogue import Catalogue
from nodus_ledger.jobs.jobs import Jobs

from ..clock import Clock
from .protocol import Driver, Placement, Workload
from .simulated.driver import Recalled, SimulatedDriver

if TYPE_CHECKING:
    from .docker.options import DockerOptions
    from .process.options import ProcessOptions

SIMULATED = "simulated"
DOCKER = "docker"
DRIVERS = (SIMULATED, "process")
WHAT_RUNS = {
    SIMULATED: "Nothing runs: suppliers, jobs and prices are simulated, and only test keys (nk_test_…) may submit.",
    "process": "Commands really run, on the worker's machine; images do not. Only live keys (nk_live_…) may submit.",
    DOCKER: "Images really run, in containers of an engine. Only live keys (nk_live_…) may submit.",
}
"""What an operator is told at the start, by driver."""


@dataclass(frozen=True)
class DriverContext:
    """What a driver may look at of the control plane whose jobs it runs.

    Attributes:
        catalogue: the suppliers that it simulates.
        jobs: the jobs, to recall those of before a restart.
        clock: what time it is for them.
        seed: what all simulated chance is derived from; None for 0.
        directory: where one that runs commands keeps its files.
        secret: what authenticates those files.
        state_files: the database's file, which no command may read.
        database_id: the name of the database, by which an engine's containers are told from another's.
        incarnation: of its history, which a reset changes.
    """

    catalogue: Catalogue
    jobs: Jobs
    clock: Clock
    seed: int | None
    directory: Path | None
    secret: bytes = field(repr=False)
    state_files: Path | None
    database_id: str = ""
    incarnation: str = ""


def make_driver(name: str, context: DriverContext, *, is_reliable: bool, process: ProcessOptions) -> Driver:
    """Make a driver.

    Args:
        name: one of `DRIVERS`.
        context: what it may look at.
        is_reliable: simulated suppliers neither refuse nor lose jobs by chance.
        process: how commands run, where they do.

    Raises:
        ValueError: there is no driver with that name, or it has nowhere to keep its files.
        RuntimeError: it cannot work on this machine.
    """
    if name == SIMULATED:
        jobs, clock = context.jobs, context.clock
        return SimulatedDriver(
            context.catalogue,
            seed=context.seed or 0,
            now=lambda: clock.now() / 1000,
            recall=lambda placement: _recall(jobs, placement),
            is_reliable=is_reliable,
        )
    directory = context.directory
    if name == "process" and directory is not None:
        from .process.driver import ProcessDriver

        return ProcessDriver(directory, secret=context.secret, options=process, state_files=context.state_files)
    if name == DOCKER:
        from .docker.local import local_options

        return make_docker_driver(local_options(), context)
    raise ValueError(f"no driver {name!r}: choose one of {', '.join(DRIVERS)}")


def make_docker_driver(
    options: DockerOptions, context: DriverContext, *, supplier: str = "local", gpus: Mapping[str, int] | None = None
) -> Driver:
    """Make the driver of an engine for containers.

    Args:
        options: where it is, and what jobs get of it.
        context: what it may look at.
        supplier: whose engine it is.
        gpus: how many GPUs of each model it has, in the order of the operator's file.

    Raises:
        ValueError: it has nowhere to keep outputs.
        RuntimeError: a secret is not there, or the engine of this machine does not answer.
    """
    from .docker.driver import DockerDriver
    from .docker.local import require_answer

    if context.directory is None:
        raise ValueError("the docker driver needs a folder for the outputs of jobs")
    if gpus is None:
        require_answer(options)
    return DockerDriver(
        options,
        supplier=supplier,
        gpus=gpus or {},
        database_id=context.database_id,
        incarnation=context.incarnation,
        directory=context.directory,
    )


def state_directory() -> Path:
    """Return where this user's programs keep state (XDG Base Directory)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "nodus"


def _recall(jobs: Jobs, placement: Placement) -> Recalled | None:
    found = jobs.placement_of(placement.job_id, placement.attempt)
    if found is None:
        return None
    job, facts = found
    opened = jobs.open_secrets(job)
    workload = Workload(
        image=job.image,
        gpu=job.gpu,
        gpu_count=job.gpu_count,
        max_runtime_seconds=job.max_runtime_seconds,
        command=opened.command,
        env=opened.env,
    )
    return Recalled(workload, None if facts.ended_at is None else facts.ended_at / 1000)
