"""Makes the driver that a control plane was started with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .protocol import Driver, Placement, Workload
from .simulated import Recalled, SimulatedDriver

if TYPE_CHECKING:
    from ..plane import Plane
    from .process_options import ProcessOptions

SIMULATED = "simulated"
DRIVERS = (SIMULATED, "process")
WHAT_RUNS = {
    SIMULATED: "Nothing runs: suppliers, jobs and prices are simulated, and only test keys (nk_test_…) may submit.",
    "process": "Commands really run, on the worker's machine; images do not. Only live keys (nk_live_…) may submit.",
}
"""What an operator is told at the start, by driver."""


def make_driver(
    name: str, plane: Plane, directory: Path | None, is_reliable: bool, process: ProcessOptions, secret: bytes
) -> Driver:
    """Make a driver; `directory` is where one that runs commands keeps its files, which `secret` authenticates.

    Raises:
        ValueError: there is no driver with that name, or it has nowhere to keep its files.
        RuntimeError: it cannot work on this machine.
    """
    if name == SIMULATED:
        return SimulatedDriver(
            plane.catalogue,
            seed=plane.seed or 0,
            now=lambda: plane.clock.now() / 1000,
            recall=lambda placement: _recall(plane, placement),
            is_reliable=is_reliable,
        )
    if name == "process" and directory is not None:
        from .process import ProcessDriver

        return ProcessDriver(directory, secret=secret, options=process, state_files=plane.database.path)
    raise ValueError(f"no driver {name!r}: choose one of {', '.join(DRIVERS)}")


def state_directory() -> Path:
    """Return where this user's programs keep state (XDG Base Directory)."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state") / "nodus"


def _recall(plane: Plane, placement: Placement) -> Recalled | None:
    found = plane.jobs.placement_of(placement.job_id, placement.attempt)
    if found is None:
        return None
    job, facts = found
    opened = plane.jobs.open_secrets(job)
    workload = Workload(
        image=job.image,
        gpu=job.gpu,
        gpu_count=job.gpu_count,
        max_runtime_seconds=job.max_runtime_seconds,
        command=opened.command,
        env=opened.env,
    )
    return Recalled(workload, None if facts.ended_at is None else facts.ended_at / 1000)
