"""Makes the driver that a control plane was started with."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nodus_core.catalogue import Catalogue
from nodus_ledger.jobs import Jobs

from .protocol import Driver, Placement, Workload
from .simulated import Recalled, SimulatedDriver

if TYPE_CHECKING:
    from .process_options import ProcessOptions

SIMULATED = "simulated"
DRIVERS = (SIMULATED, "process")
WHAT_RUNS = {
    SIMULATED: "Nothing runs: suppliers, jobs and prices are simulated, and only test keys (nk_test_…) may submit.",
    "process": "Commands really run, on the worker's machine; images do not. Only live keys (nk_live_…) may submit.",
}
"""What an operator is told at the start, by driver."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a control plane has for its driver.

    `now` gives Unix milliseconds; `database_file` is None where the database is in memory or behind a server.
    """

    catalogue: Catalogue
    jobs: Jobs
    seed: int | None
    now: Callable[[], int]
    database_file: Path | None


def make_driver(
    name: str, around: Surroundings, directory: Path | None, is_reliable: bool, process: ProcessOptions, secret: bytes
) -> Driver:
    """Make a driver; `directory` is where one that runs commands keeps its files, which `secret` authenticates.

    Raises:
        ValueError: there is no driver with that name, or it has nowhere to keep its files.
        RuntimeError: it cannot work on this machine.
    """
    if name == SIMULATED:
        return SimulatedDriver(
            around.catalogue,
            seed=around.seed or 0,
            now=lambda: around.now() / 1000,
            recall=lambda placement: _recall(around.jobs, placement),
            is_reliable=is_reliable,
        )
    if name == "process" and directory is not None:
        from .process import ProcessDriver

        return ProcessDriver(directory, secret=secret, options=process, state_files=around.database_file)
    raise ValueError(f"no driver {name!r}: choose one of {', '.join(DRIVERS)}")


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
