"""`nodus-control worker` for campaigns: one that waits less before it gives something up, or is held at a step.

A process of its own that runs a program like `from killings.workers import work; work(...)`.
"""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from nodus_control.cli import main
from nodus_control.suppliers.docker import driver as docker
from nodus_control.suppliers.slurm import driver as slurm
from nodus_control.suppliers.slurm.script import Pace
from nodus_ledger.jobs import wants

REST_MS = 1000
CLAIM_SECONDS = 20.0
PACE = Pace(alive_seconds=2, silent_seconds=12)
LOST_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Where a worker is held: before its first POST to an engine of containers whose path ends like this.

    Attributes:
        path_end: how the path ends.
        folder: it makes the file `reached` here when it is there, goes on when there is a file `open`, and writes into
            the file `passed` with which status the engine has answered.
    """

    path_end: str
    folder: str


def worker_program(*, is_hasty: bool = False, hold: Hold | None = None) -> str:
    """Return what `python -c` runs, with the arguments of `nodus-control` behind it."""
    call = f"work(is_hasty={is_hasty!r}, hold={hold!r})"
    return f"import sys; sys.path[:0] = {sys.path!r}; from killings.workers import Hold, work; {call}"


def work(*, is_hasty: bool, hold: Hold | None) -> None:
    """Be a worker.

    Args:
        is_hasty: give up sooner what somebody died over, in the order in which everybody does.
        hold: where it is held.
    """
    # There is one place only, and nothing is wrong with it.
    wants.RESTS_MS = (REST_MS,)
    if is_hasty:
        docker.CLAIM_SECONDS = CLAIM_SECONDS
        slurm.SlurmDriver = functools.partial(slurm.SlurmDriver, pace=PACE, lost_seconds=LOST_SECONDS)  # type: ignore[assignment,misc]
    if hold is not None:
        _hold(hold)
    main()


def _hold(hold: Hold) -> None:
    """Hold a request below all that bounds it: its own limit was set before, and begins when it is sent."""
    send = httpx.Client.send
    folder = Path(hold.folder)
    reached, opened = folder / "reached", folder / "open"

    def holding(self: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        if request.method != "POST" or not request.url.path.endswith(hold.path_end) or reached.exists():
            return send(self, request, **more)
        reached.touch()
        while not opened.exists() and reached.exists():
            time.sleep(0.05)
        answer = send(self, request, **more)
        # Whoever waits for the file finds all of it.
        (folder / "passing").write_text(str(answer.status_code))
        (folder / "passing").replace(folder / "passed")
        return answer

    httpx.Client.send = holding  # type: ignore[method-assign]
