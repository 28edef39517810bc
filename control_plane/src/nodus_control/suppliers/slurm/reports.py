"""Turns what is on record of an attempt, and where it stands in the queue, into a report. Pure.

The sentences go into the database, into webhooks, and to everybody who may read the job, so they quote nothing that the
job was given or printed, and nothing that Slurm's commands said about the cluster.
"""

from __future__ import annotations

import re
import signal

from ..protocol import PlacementState, Report, Workload
from .queue import QueuedJob, Standing
from .records import Ended, Records

SOON_SECONDS = 0.5
LATE_SECONDS = 5.0
WAITING_SECONDS = 2.0

_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")
_NEVER_RAN = {
    "not_started": "the cluster gave the job a node, where nothing came of it; the program was never started",
    "no_gpus": "the cluster gave the job a node without the GPUs that it asked for; the program was not started",
    "no_secret": "the job's command was not where it had been put; the program was not started",
}


def report_end(ended: Ended, workload: Workload, at_least_seconds: float = 0.0) -> Report:
    """Report an attempt that has ended, for as long as Slurm itself had it running at least."""
    if ended.reason in _NEVER_RAN:
        return Report(PlacementState.NOT_STARTED, error_code=ended.reason, error_message=_NEVER_RAN[ended.reason])
    began, over = ended.began_at, ended.began_at + max(ended.seconds, at_least_seconds)
    if ended.reason == "cancelled":
        return Report(PlacementState.CANCELLED, began, over)
    if ended.reason == "limit":
        message = f"the program was ended at its limit of {workload.max_runtime_seconds} s (max_runtime_seconds)"
        return Report(PlacementState.FAILED, began, over, "max_runtime_exceeded", message)
    if ended.reason in ("out_of_memory", "time_limit"):
        what = "used more memory than it was given" if ended.reason == "out_of_memory" else "outran the cluster's limit"
        message = f"the program {what} and was ended by the cluster"
        return Report(PlacementState.FAILED, began, over, ended.reason, message)
    if ended.status == 0 and ended.reason in ("exited", "signalled"):
        return Report(PlacementState.COMPLETED, began, over)
    if ended.reason == "exited":
        return Report(PlacementState.FAILED, began, over, "nonzero_exit", _exit_message(ended.status))
    message = {
        "signalled": "the cluster ended the program: it was preempted, or an administrator ended it",
        "silent": "the node could not reach the cluster's shared file system, so the program was ended",
    }.get(ended.reason, "the node that ran the program was not heard of any more")
    return Report(PlacementState.LOST, began, over, "lost", message)


def report_withdrawn(records: Records) -> Report:
    """Report an attempt that the control plane took before any node had it: no program of it can ever run."""
    return Report(
        PlacementState.NOT_STARTED,
        finished_at=records.withdrawn_at or None,
        error_code="not_started",
        error_message="the program was never started here",
    )


def report_unfinished(records: Records, now: float, *, engine_ref: str | None = None) -> Report:
    """Report an attempt that a node has: its program runs, or is about to."""
    if records.started_at is None:
        return Report(PlacementState.PROVISIONING, next_poll_at=now + SOON_SECONDS, engine_ref=engine_ref)
    # The end of a short program is noticed soon, and a long one is not polled more often than it is worth.
    pause = min(max((now - records.started_at) / 10, SOON_SECONDS), LATE_SECONDS)
    return Report(
        PlacementState.RUNNING, started_at=records.started_at, next_poll_at=now + pause, engine_ref=engine_ref
    )


def report_queued(job: QueuedJob, now: float) -> Report:
    """Report an attempt that no node has yet."""
    if job.standing is not Standing.WAITING:
        return Report(PlacementState.PROVISIONING, next_poll_at=now + SOON_SECONDS, engine_ref=job.slurm_id)
    reason = job.reason if _REASON.fullmatch(job.reason) and job.reason != "None" else ""
    return Report(
        PlacementState.PROVISIONING,
        next_poll_at=now + WAITING_SECONDS,
        phase="waiting_in_engine",
        phase_detail=f"waiting in the cluster's queue ({reason})" if reason else "waiting in the cluster's queue",
        engine_ref=job.slurm_id,
    )


def _exit_message(status: int) -> str:
    if status > 128:
        try:
            return f"the program was ended by signal {status - 128} ({signal.Signals(status - 128).name})"
        except ValueError:
            pass
    if status == 127:
        return "the program exited with code 127, as does a command that is not found"
    if status == 126:
        return "the program exited with code 126, as does a command that cannot be executed"
    return f"the program exited with code {status}"
