"""Turns the records of an attempt into a report, with a sentence that explains a failure. Pure.

The sentence goes into the database, into webhooks, and to everybody who may read the job, so it quotes nothing that the
job was given or printed: commands are sealed in the database, and output is kept only in files.
"""

from __future__ import annotations

import errno
import os
import signal

from nodus_control.runner import attempt_files
from nodus_control.runner.attempt_files import Claim, Program, Result
from nodus_control.suppliers.protocol import PlacementState, Report, Workload

SHORTEST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 1.0

_SILENT = (
    "the runner that watched over the program could not show any more that it lives (was the disk of its records full "
    "or away, or the runner stopped?), so the program was ended"
)


def report_unfinished(program: Program | None, is_ending: bool, now: float) -> Report:
    """An attempt that has not ended, and when to ask again."""
    if program is None:
        return Report(PlacementState.PROVISIONING, next_poll_at=now + SHORTEST_POLL_SECONDS)
    # The end of a short program is noticed soon, and a long one is not polled more often than it is worth.
    pause = SHORTEST_POLL_SECONDS if is_ending else (now - program.started_at) / 10
    pause = min(max(pause, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)
    return Report(PlacementState.RUNNING, started_at=program.started_at, next_poll_at=now + pause)


def report_withdrawn(claim: Claim) -> Report:
    """An attempt that no runner ever got: cancelled in time, or given up. It has certainly not run, and never will."""
    if claim.withdrawn == attempt_files.CANCELLED:
        return Report(PlacementState.CANCELLED, finished_at=claim.at)
    return Report(
        PlacementState.NOT_STARTED,
        finished_at=claim.at,
        error_code="not_started",
        error_message="the program was never started here",
    )


def report_tampering(started_at: float, now: float, *, is_ended: bool) -> Report:
    """An attempt whose records its program, or another process of the same user, has changed: it ran until now."""
    rest = "" if is_ended else "; not all of it could be ended"
    return Report(
        PlacementState.FAILED,
        min(started_at, now),
        now,
        "records_changed",
        "a program on the machine that ran the job changed the job's records, which are not believed any more: the job "
        f"was ended when that was noticed{rest}",
    )


def report_result(result: Result, workload: Workload, *, has_printed: bool, is_contained: bool = False) -> Report:
    """Report an attempt that ended. Of the program's output, a failure says only whether there is any.

    Args:
        result: how it ended.
        workload: what ran.
        has_printed: whether there is output.
        is_contained: whether the program could not reach its runner, nor what that left: what a program can bring about
            itself is no loss that would not be charged.
    """
    started_at, finished_at = result.started_at, result.finished_at
    if result.reason == attempt_files.EXITED and result.exit_code == 0:
        return Report(PlacementState.COMPLETED, started_at, finished_at)
    if result.reason == attempt_files.CANCELLED:
        return Report(PlacementState.CANCELLED, started_at, finished_at)
    if result.reason in (attempt_files.LOST, attempt_files.RUNNER_LOST) and started_at is None:
        # It has certainly not run, so another placement does not run it twice.
        return Report(
            PlacementState.NOT_STARTED, None, finished_at, "not_started", "the program was never started here"
        )
    if result.reason == attempt_files.LOST:
        return Report(PlacementState.LOST, started_at, finished_at, attempt_files.LOST, _runner_lost(result))
    if result.reason == attempt_files.SILENT and is_contained:
        return Report(PlacementState.LOST, started_at, finished_at, attempt_files.LOST, _SILENT)
    code, message = _failure(result, workload)
    if result.reason not in (attempt_files.COULD_NOT_START, attempt_files.NOT_CONTAINED):
        message += "; what it printed is in the job's logs" if has_printed else "; it printed nothing"
    return Report(PlacementState.FAILED, started_at, finished_at, code, message)


def _failure(result: Result, workload: Workload) -> tuple[str, str]:
    if result.reason == attempt_files.MAX_RUNTIME_EXCEEDED:
        limit = workload.max_runtime_seconds
        return "max_runtime_exceeded", f"the program was ended at its limit of {limit} s (max_runtime_seconds)"
    if result.reason == attempt_files.COULD_NOT_START:
        return _start_failure(result.error or 0)
    if result.reason == attempt_files.RUNNER_LOST:
        return attempt_files.RUNNER_LOST, _runner_lost(result)
    if result.reason == attempt_files.SILENT:
        return attempt_files.RUNNER_LOST, _SILENT
    if result.reason == attempt_files.NOT_CONTAINED:
        return attempt_files.NOT_CONTAINED, "this machine cannot contain a program, and its operator requires that"
    exit_code = result.exit_code
    if exit_code is not None and exit_code < 0:
        return "nonzero_exit", f"the program was ended by {_signal_name(-exit_code)}"
    return "nonzero_exit", f"the program exited with code {exit_code}"


def _start_failure(error: int) -> tuple[str, str]:
    if error in (errno.ENOENT, errno.ENOTDIR):
        return "command_not_found", (
            "the first word of the command was not found: neither as a path on the machine that runs the job nor on "
            "the job's PATH (relative paths start at the job's own empty directory)"
        )
    if error == errno.EACCES:
        return "command_not_executable", "the first word of the command is not an executable file"
    reason = os.strerror(error) if error else "unknown reason"
    return "could_not_start", f"the command could not be started: {reason}"


def _runner_lost(result: Result) -> str:
    message = (
        "the runner that watched over the program was killed or failed (was the machine out of memory, or restarted?); "
        "how the program ended is not known"
    )
    return f"{message}; {result.detail}" if result.detail else message


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
