"""The `process` driver: really runs a job's command, on this machine, under a runner that outlives the control plane.

What a program gets: a private directory to start in (a relative path of the caller's leads nowhere), the environment
of `process_environment.py`, /dev/null as stdin, and one file for stdout and stderr, which holds its output and nothing
else. It ends when its main process does: what that leaves behind has a second to finish and is then ended too. At
`max_runtime_seconds` and on cancel the whole tree gets SIGTERM, and SIGKILL five seconds later. `image` is not run.

On Linux the tree is every descendant, those that called `setsid` or forked twice included. On other POSIX systems it
is the program's process group, and what outlives a killed runner is not looked for. Windows is refused.

An `error_message` quotes neither the command nor what the program printed: it is kept where these are not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import re
import sys
import threading
import time
from collections.abc import Callable

from nodus_control.runner import processes, records
from nodus_control.runner.records import Claim, Identity, Program, Result
from nodus_control.runner.specification import Specification
from nodus_control.suppliers.process_environment import WORK_DIRECTORY_VARIABLE, program_environment
from nodus_control.suppliers.process_launch import LaunchError, launch
from nodus_control.suppliers.process_reports import report_result, report_withdrawn
from nodus_control.suppliers.protocol import (
    CapacityRefused,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    SubmissionRefused,
    Workload,
)

OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024
GRACE_SECONDS = 5.0
LINGER_SECONDS = 1.0

SHORTEST_POLL_SECONDS = 0.05
LONGEST_POLL_SECONDS = 1.0

_logger = logging.getLogger(__name__)
_JOB_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class ProcessDriver:
    """Runs each placement at most once, however often it is submitted and by however many control planes.

    `state_dir` must be on a local file system, and belong to one database: a job id that comes again (after a reset
    with the same seed) is taken for the job that ran before. Times in reports are those of the control plane's clock,
    which must run at speed 1; `wall_clock` is this machine's.
    """

    def __init__(
        self,
        state_dir: pathlib.Path,
        *,
        python: str = sys.executable,
        grace_seconds: float = GRACE_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Create `state_dir` if it is missing.

        Raises:
            RuntimeError: on Windows, or if no Python interpreter is known that could run the runner.
            OSError: `state_dir` cannot be created.
        """
        if os.name != "posix":
            raise RuntimeError("the process driver needs Linux or macOS; use --driver simulated on this system")
        if not python:
            raise RuntimeError("the process driver needs a Python interpreter, and sys.executable is empty")
        self._state_dir = os.path.abspath(state_dir)
        self._python = os.path.abspath(python)
        self._grace_seconds = grace_seconds
        self._linger_seconds = linger_seconds
        self._output_limit_bytes = output_limit_bytes
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._warned = False
        self._own_children: set[Identity] = set()
        records.make_private_directory(self._state_dir)

    @property
    def name(self) -> str:
        """`process`."""
        return "process"

    @property
    def runs_commands(self) -> bool:
        """Yes."""
        return True

    def submit(self, placement: Placement, workload: Workload, now: float) -> None:
        """Start the program, or do nothing if this attempt was started, or withdrawn, before.

        Raises:
            CapacityRefused: no runner could be started, and none ever will be for this attempt.
            SubmissionRefused: `command_required`, or `invalid_command` for one that no operating system accepts.
        """
        if not workload.command:
            raise SubmissionRefused(
                "command_required",
                "the process driver runs commands on this machine, not images: give the job a command",
            )
        _check_acceptable(workload)
        self._warn_about_image(workload.image)
        directory = self._directory(placement)
        records.make_private_directory(directory)
        if records.read_claim(directory) is None:
            specification = self._specify(placement, workload, directory, now)
            try:
                launch(self._python, directory, specification)
            except LaunchError as exc:
                # Whatever became of that runner: now that the claim is taken, it can no longer start the program.
                _logger.warning("no runner for job %s, attempt %d: %s", placement.job_id, placement.attempt, exc)
                self._withdraw(directory, records.REFUSED, now)
        claim = records.read_claim(directory)
        if claim is not None and claim.withdrawn not in (None, records.CANCELLED):
            raise CapacityRefused("this machine could not start a process for the job")

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report the state of the attempt, from its files only. One that nobody has is withdrawn: it is `LOST`."""
        self._reap_own_children()
        directory = self._directory(placement)
        claim = records.read_claim(directory)
        if claim is None:
            records.make_private_directory(directory)
            claim = self._withdraw(directory, records.RUNNER_LOST, now)
        if claim.runner is None:
            return report_withdrawn(claim)
        # In this order: a runner that is gone has written its result before it went.
        is_alive = records.is_locked(directory, records.CLAIM)
        result = records.read_result(directory)
        program = records.read_program(directory)
        if result is None and not is_alive:
            result = self._settle_lost(directory, claim, program, now, workload.max_runtime_seconds)
        if result is not None:
            self._remember_own_child(claim.runner)
            return report_result(result, workload, has_printed=_has_printed(directory))
        return _report_unfinished(program, records.cancel_requested(directory), now)

    def cancel(self, placement: Placement, now: float) -> None:
        """Request the end; an attempt that no runner has yet never runs. No effect once it has ended."""
        directory = self._directory(placement)
        records.make_private_directory(directory)
        if records.read_result(directory) is not None:
            return
        records.request_cancel(directory)
        runner = self._withdraw(directory, records.CANCELLED, now).runner
        if runner is not None and records.is_locked(directory, records.CLAIM):
            processes.signal_same(runner, processes.NUDGE)

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Up to `limit` bytes of the output from byte `offset` on, exactly as the program wrote them."""
        directory = self._directory(placement)
        # Asked first: what is written between the two questions must not be missed.
        ended = self._has_ended(directory)
        try:
            with open(os.path.join(directory, records.OUTPUT), "rb") as file:
                total = file.seek(0, os.SEEK_END)
                file.seek(offset)
                data = file.read(max(0, min(limit, total - offset)))
        except FileNotFoundError:
            return LogChunk(b"", offset, 0, complete=ended)
        return LogChunk(data, offset, total, complete=ended and offset + len(data) >= total)

    def __repr__(self) -> str:
        return f"ProcessDriver({self._state_dir!r})"

    def _directory(self, placement: Placement) -> str:
        if not _JOB_ID.fullmatch(placement.job_id):
            raise ValueError("a job id that cannot be the name of a directory")
        return os.path.join(self._state_dir, placement.job_id, str(placement.attempt))

    def _specify(self, placement: Placement, workload: Workload, directory: str, now: float) -> Specification:
        return Specification(
            command=workload.command or (),
            environment=program_environment(
                workload.env,
                job_id=placement.job_id,
                attempt=placement.attempt,
                python=self._python,
                work_directory=os.path.join(directory, records.WORK_DIRECTORY),
                temporary_directory=os.path.join(directory, records.TEMPORARY_DIRECTORY),
            ),
            max_runtime_seconds=float(workload.max_runtime_seconds),
            grace_seconds=self._grace_seconds,
            linger_seconds=self._linger_seconds,
            output_limit_bytes=self._output_limit_bytes,
            clock_offset=now - self._wall_clock(),
        )

    def _withdraw(self, directory: str, reason: str, now: float) -> Claim:
        """Claim the attempt so that it never runs, unless it is claimed already; return the claim that holds."""
        claim = Claim(at=now, withdrawn=reason)
        if records.publish(directory, records.CLAIM, records.claim_document(claim)):
            return claim
        return records.read_claim(directory) or claim

    def _settle_lost(
        self, directory: str, claim: Claim, program: Program | None, now: float, max_runtime_seconds: float
    ) -> Result | None:
        """End what is left of a program whose runner was killed, and record that; None while something is left."""
        if program is not None:
            marker = f"{WORK_DIRECTORY_VARIABLE}={os.path.join(directory, records.WORK_DIRECTORY)}"
            left = processes.left_of(program.process, marker)
            untouchable = processes.send(left, processes.KILL)
            if len(left) > len(untouchable):
                return None
        finished_at = now
        if program is not None:
            last_sign = max(program.started_at, _last_sign(directory) + claim.clock_offset)
            finished_at = min(now, last_sign, program.started_at + max_runtime_seconds)
        result = Result(
            reason=records.CANCELLED if records.cancel_requested(directory) else records.RUNNER_LOST,
            started_at=None if program is None else program.started_at,
            finished_at=finished_at,
        )
        records.publish(directory, records.RESULT, records.result_document(result))
        return records.read_result(directory)

    def _has_ended(self, directory: str) -> bool:
        if records.read_result(directory) is not None:
            return True
        claim = records.read_claim(directory)
        return claim is not None and claim.runner is None

    def _warn_about_image(self, image: str) -> None:
        with self._lock:
            first, self._warned = not self._warned, True
        if first:
            _logger.warning(
                "the process driver runs the command of a job on this machine; its image (%s) is not run", image
            )

    def _remember_own_child(self, runner: Identity) -> None:
        """Where this process is init (or a subreaper), runners become its children and are its to reap."""
        entry = processes.look_up(runner.pid)
        if entry is not None and entry.parent == os.getpid() and processes.is_same(runner):
            with self._lock:
                self._own_children.add(runner)
            self._reap_own_children()

    def _reap_own_children(self) -> None:
        with self._lock:
            for runner in tuple(self._own_children):
                ended = runner.pid
                if processes.is_same(runner):
                    with contextlib.suppress(ChildProcessError):
                        ended, _ = os.waitpid(runner.pid, os.WNOHANG)
                if ended:
                    self._own_children.discard(runner)


def _check_acceptable(workload: Workload) -> None:
    """Refuse now what `exec` would refuse later, without quoting it."""
    try:
        parts = [os.fsencode(part) for part in workload.command or ()]
        names = [os.fsencode(name) for name in workload.env]
        parts += [os.fsencode(value) for value in workload.env.values()]
    except UnicodeEncodeError:
        raise SubmissionRefused("invalid_command", "command or env holds a character that has no encoding") from None
    if any(b"\0" in part for part in parts + names):
        raise SubmissionRefused("invalid_command", "command or env holds a NUL character")
    if any(not name or b"=" in name for name in names):
        raise SubmissionRefused("invalid_command", "env holds a name that is empty or has a '='")
    if not parts[0]:
        raise SubmissionRefused("invalid_command", "the first word of command is empty")


def _report_unfinished(program: Program | None, is_ending: bool, now: float) -> Report:
    if program is None:
        return Report(PlacementState.PROVISIONING, next_poll_at=now + SHORTEST_POLL_SECONDS)
    # The end of a short program is noticed soon, and a long one is not polled more often than it is worth.
    pause = SHORTEST_POLL_SECONDS if is_ending else (now - program.started_at) / 10
    pause = min(max(pause, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)
    return Report(PlacementState.RUNNING, started_at=program.started_at, next_poll_at=now + pause)


def _last_sign(directory: str) -> float:
    """When the runner was last known to be alive, by this machine's wall clock."""
    signs = [0.0]
    for name in (records.CLAIM, records.OUTPUT):
        with contextlib.suppress(FileNotFoundError):
            signs.append(os.stat(os.path.join(directory, name)).st_mtime)
    return max(signs)


def _has_printed(directory: str) -> bool:
    try:
        return os.path.getsize(os.path.join(directory, records.OUTPUT)) > 0
    except FileNotFoundError:
        return False
