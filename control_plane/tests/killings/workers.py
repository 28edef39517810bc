"""`nodus-control worker` for campaigns: one that waits less before it gives something up, or stands still at a step.

A process of its own, of this program: `python -c "from killings.workers import work; work(...)"`.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from typing import Any

from nodus_control.cli import main
from nodus_control.suppliers.docker import driver as docker
from nodus_control.suppliers.docker.engine import Answer, Engine
from nodus_control.suppliers.slurm import driver as slurm
from nodus_control.suppliers.slurm.script import Pace
from nodus_ledger.jobs import wants

REST_MS = 1000
CLAIM_SECONDS = 20.0
PACE = Pace(alive_seconds=2, silent_seconds=12)
LOST_SECONDS = 25.0


def worker_program(*, is_hasty: bool = False, stops_before: str = "") -> str:
    """Return what `python -c` runs, with the arguments of `nodus-control` behind it."""
    call = f"work(is_hasty={is_hasty!r}, stops_before={stops_before!r})"
    return f"import sys; sys.path[:0] = {sys.path!r}; from killings.workers import work; {call}"


def work(*, is_hasty: bool, stops_before: str) -> None:
    """Be a worker.

    Args:
        is_hasty: give up sooner what somebody died over, in the order in which everybody does.
        stops_before: stop the process before its first POST to an engine of containers whose path ends like this.
    """
    # There is one place only, and nothing is wrong with it.
    wants.REST_MS = REST_MS
    if is_hasty:
        docker.CLAIM_SECONDS = CLAIM_SECONDS
        slurm.SlurmDriver = functools.partial(slurm.SlurmDriver, pace=PACE, lost_seconds=LOST_SECONDS)  # type: ignore[assignment,misc]
    if stops_before:
        _stop_before(stops_before)
    main()


def _stop_before(path_end: str) -> None:
    ask = Engine.ask
    stopped: list[str] = []

    def stopping(self: Engine, method: str, path: str, **more: Any) -> Answer:
        if method == "POST" and path.endswith(path_end) and not stopped:
            stopped.append(path)
            os.kill(os.getpid(), signal.SIGSTOP)
        return ask(self, method, path, **more)

    Engine.ask = stopping  # type: ignore[method-assign]
