"""The `process` driver: really runs a job's command, on this machine, under a runner that outlives the control plane.

What a program gets: a private directory to start in (a relative path of the caller's leads nowhere), the environment
of `environment.py`, /dev/null as stdin, and one file for stdout and stderr, which holds its output and nothing
else. It ends when its main process does: what that leaves behind has a second to finish and is then ended too. At
`max_runtime_seconds` and on cancel the whole tree gets SIGTERM, and SIGKILL five seconds later. `image` is not run.

On Linux the tree is every descendant, those that called `setsid` or forked twice included. On other POSIX systems it
is the program's process group, and what outlives a killed runner is not looked for. Windows is refused.

A program is not trusted. Where the system allows it, it is contained (`runner/containment.py`); everywhere, what is not
authenticated by this attempt's key is not believed, however it came to be there. Whoever changes the records of a job
gets the job ended, at the price of the time until that was noticed.

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
from collections.abc import Callable, Sequence
from typing import TypeVar

from ...runner import attempt_files, processes
from ...runner.attempt_files import Claim, Forged, Program, Result
from ...runner.output import image_notice
from ...runner.specification import SILENT_SECONDS, Specification
from ..life import LOST_SECONDS
from ..protocol import (
    CapacityRefused,
    EngineUnavailable,
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    Workload,
    always,
)
from .acceptable import require_acceptable
from .children import OwnChildren
from .disk import Disk
from .ending import kill_everything
from .environment import program_environment
from .keeping import (
    AttemptOwner,
    Retention,
    engine_identity,
    find_attempts,
    forget,
    has_printed,
    is_marked,
    is_watched,
    record_owner,
)
from .launch import LaunchError, launch
from .losses import Watch
from .options import ProcessOptions, find_account, require_reachable
from .reports import SHORTEST_POLL_SECONDS, report_result, report_tampering, report_unfinished, report_withdrawn

OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024
GRACE_SECONDS = 5.0
LINGER_SECONDS = 1.0
FORCE_SECONDS = 15.0
"""How long after an end was requested, or tampering was noticed, a job has ended for us, whatever is left of it."""

_Record = TypeVar("_Record")

_logger = logging.getLogger(__name__)
_LONGEST_NOTICE_BYTES = 16_384
_MOST_TAMPERED = 1024
_PASSABLE = 0o711
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
        secret: bytes,
        options: ProcessOptions | None = None,
        state_files: pathlib.Path | None = None,
        python: str = sys.executable,
        grace_seconds: float = GRACE_SECONDS,
        linger_seconds: float = LINGER_SECONDS,
        force_seconds: float = FORCE_SECONDS,
        silent_seconds: float = SILENT_SECONDS,
        lost_seconds: float = LOST_SECONDS,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        wall_clock: Callable[[], float] = time.time,
        owner: AttemptOwner | None = None,
    ) -> None:
        """Create `state_dir` if it is missing.

        Args:
            state_dir: where attempts are kept.
            secret: what records are authenticated with; the same for every driver on this `state_dir`.
            options: what the operator decided.
            state_files: a database. It, and all beside it whose names begin with its name, are kept from programs.
            silent_seconds: for how long a runner may be unable to show that it lives, before it ends its program.
            lost_seconds: how long one that is not heard of is waited for; longer than `silent_seconds`.
            owner: whose attempts these are.

        Raises:
            RuntimeError: on Windows, if no Python interpreter is known that could run the runner, or if commands cannot
                be run as the user of `options`.
            OSError: `state_dir` cannot be created.
        """
        if os.name != "posix":
            raise RuntimeError("the driver `process` needs Linux or macOS: name another one (playground: `simulated`)")
        if not python:
            raise RuntimeError("the process driver needs a Python interpreter, and sys.executable is empty")
        self._options = options or ProcessOptions()
        self._state_dir = os.path.abspath(state_dir)
        self._state_files = None if state_files is None else pathlib.Path(os.path.abspath(state_files))
        self._secret = secret
        self._account = None if self._options.user is None else find_account(self._options.user)
        self._python = os.path.abspath(python)
        self._grace_seconds = grace_seconds
        self._linger_seconds = linger_seconds
        self._force_seconds = force_seconds
        self._silent_seconds = silent_seconds
        self._output_limit_bytes = output_limit_bytes
        self._wall_clock = wall_clock
        self._owner = owner or AttemptOwner()
        self._lock = threading.Lock()
        self._warned = False
        self._retention = Retention(self._state_dir, self._key_of, self._options.keep_days * 86_400)
        self._children = OwnChildren()
        self._watch = Watch(lost_seconds)
        self._ending_since: dict[tuple[str, int], float] = {}
        self._tampered: dict[tuple[str, int], None] = {}
        attempt_files.make_private_directory(self._state_dir)
        if self._options.user is not None:
            require_reachable(pathlib.Path(self._state_dir), self._options.user)
            os.chmod(self._state_dir, _PASSABLE)
        self._disk = Disk(self._state_dir)
        self._mark: str | None = None

    @property
    def name(self) -> str:
        """`process`."""
        return "process"

    @property
    def runs_commands(self) -> bool:
        """Yes."""
        return True

    def identity(self) -> str:
        """Return the name of this machine's state directory.

        Raises:
            EngineUnavailable: the directory cannot be used, or is another database's.
        """
        self._require_disk(itself=True)
        self._mark = engine_identity(self._state_dir, self._key_of("", 0))
        return self._mark

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Start the program, or do nothing if this attempt was started, or withdrawn, before.

        Raises:
            EngineUnavailable: `holds` said no, so nothing was begun; or the state directory is away.
            CapacityRefused: no runner could be started, and none ever will be for this attempt.
            SubmissionRefused: `command_required`, or `invalid_command` for one that no operating system accepts.
        """
        require_acceptable(workload)
        self._require_disk(itself=True)
        self._warn_about_image(workload.image)
        directory, key = self._directory(placement), self._key(placement)
        self._make_directory(directory)
        try:
            if attempt_files.read_claim(directory, key) is None:
                specification = self._specify(placement, workload, directory, key, now)
                record_owner(directory, self._owner, key, now)
                if not holds():
                    raise EngineUnavailable("another worker has taken over the placement", never_sent=True)
                try:
                    launch(self._python, directory, specification, self._options.containment)
                except LaunchError as exc:
                    # Whatever became of that runner: now that the claim is taken, it cannot start the program any more.
                    _logger.warning("no runner for job %s, attempt %d: %s", placement.job_id, placement.attempt, exc)
                    self._withdraw(directory, key, attempt_files.REFUSED, now)
            claim = attempt_files.read_claim(directory, key)
        except Forged:
            return  # The next poll deals with it.
        if claim is not None and claim.withdrawn not in (None, attempt_files.CANCELLED):
            raise CapacityRefused("this machine could not start a process for the job")

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Report the state of the attempt, from its files only. One that nobody has is withdrawn: it never starts."""
        self._children.reap()
        self._require_disk(itself=not placement.is_accepted)
        directory, key = self._directory(placement), self._key(placement)
        try:
            if _name(placement) in self._tampered:
                # Whatever its records say by now: a runner that loses its program still writes down how.
                report = self._end_tampered(placement, directory, key, now)
            else:
                report = self._observe(placement, workload, directory, key, now)
        except Forged as exc:
            self._remember_tampering(placement, str(exc))
            report = self._end_tampered(placement, directory, key, now)
        if report.state not in (PlacementState.PROVISIONING, PlacementState.RUNNING):
            with self._lock:
                self._ending_since.pop(_name(placement), None)
            self._watch.over(_name(placement))
        return report

    def cancel(self, placement: Placement, now: float) -> None:
        """Request the end; an attempt that no runner has yet never runs. No effect once it has ended."""
        self._require_disk(itself=not placement.is_accepted)
        directory, key = self._directory(placement), self._key(placement)
        try:
            self._make_directory(directory)
            if attempt_files.read_result(directory, key) is not None:
                return
            if placement.is_accepted and attempt_files.read_claim(directory, key) is None:
                return  # It was there: this is no attempt that could be withdrawn. The next poll deals with it.
            attempt_files.request_cancel(directory, key)
            runner = self._withdraw(directory, key, attempt_files.CANCELLED, now).runner
        except (Forged, NotADirectoryError):
            return  # The next poll deals with it.
        if runner is None or not is_watched(directory, runner):
            return
        processes.signal_same(runner, processes.NUDGE)
        if self._has_waited_too_long(placement):
            # A program that stopped its runner, or takes the request away again, does not last by that.
            kill_everything(directory, runner, None)

    def knows(self, placement: Placement) -> bool:
        """Whether there are records of an attempt that somebody has claimed.

        Raises:
            EngineUnavailable: the state directory is away.
        """
        self._require_disk(itself=True)
        directory = self._directory(placement)
        return any(
            os.path.lexists(os.path.join(directory, name)) for name in (attempt_files.CLAIM, attempt_files.RESULT)
        )

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Up to `limit` bytes of the output from byte `offset` on, exactly as the program wrote them."""
        self._require_disk(itself=False)
        directory = self._directory(placement)
        # Asked first: what is written between the two questions must not be missed.
        ended = self._has_ended(directory, self._key(placement))
        descriptor = attempt_files.open_output(directory)
        if descriptor is None:
            return LogChunk(b"", offset, 0, complete=ended)
        with os.fdopen(descriptor, "rb") as file:
            # A file that a program made larger than any runner does is read that far.
            total = min(file.seek(0, os.SEEK_END), self._output_limit_bytes + _LONGEST_NOTICE_BYTES)
            file.seek(offset)
            data = file.read(max(0, min(limit, total - offset)))
        return LogChunk(data, offset, total, complete=ended and offset + len(data) >= total)

    def forget(self, placement: Placement) -> None:
        """Remove the files of an attempt that has ended, except its output and what keeps it from running again."""
        self._require_disk(itself=False)
        directory, key = self._directory(placement), self._key(placement)
        if self._has_ended(directory, key):
            forget(directory, key)
        self._retention.apply(self._wall_clock())

    def list_placements(self) -> Sequence[Found]:
        """Return the attempts that are not forgotten, the unfinished and the ended.

        Raises:
            EngineUnavailable: the state directory cannot be read.
        """
        self._require_disk(itself=False)
        try:
            return list(find_attempts(self._state_dir, self._key_of, self._owner))
        except OSError:
            raise EngineUnavailable("the state directory of the process driver cannot be used") from None

    def __repr__(self) -> str:
        return f"ProcessDriver({self._state_dir!r})"

    def _require_disk(self, *, itself: bool) -> None:
        def is_ours() -> bool:
            return is_marked(self._state_dir, self._key_of("", 0), self._mark)

        self._disk.require(is_ours, itself=itself)

    def _directory(self, placement: Placement) -> str:
        if not _JOB_ID.fullmatch(placement.job_id):
            raise ValueError("a job id that cannot be the name of a directory")
        return os.path.join(self._state_dir, placement.job_id, str(placement.attempt))

    def _key(self, placement: Placement) -> bytes:
        return self._key_of(placement.job_id, placement.attempt)

    def _key_of(self, job_id: str, attempt: int) -> bytes:
        return attempt_files.attempt_key(self._secret, job_id, attempt)

    def _make_directory(self, directory: str) -> None:
        if not os.path.isdir(directory):
            attempt_files.make_private_directory(directory)
            if self._account is not None:
                for path in (os.path.dirname(directory), directory):
                    os.chmod(path, _PASSABLE)

    def _specify(
        self, placement: Placement, workload: Workload, directory: str, key: bytes, now: float
    ) -> Specification:
        return Specification(
            command=workload.command or (),
            environment=program_environment(
                workload.env,
                job_id=placement.job_id,
                attempt=placement.attempt,
                python=self._python,
                work_directory=os.path.join(directory, attempt_files.WORK_DIRECTORY),
                temporary_directory=os.path.join(directory, attempt_files.TEMPORARY_DIRECTORY),
            ),
            max_runtime_seconds=float(workload.max_runtime_seconds),
            grace_seconds=self._grace_seconds,
            linger_seconds=self._linger_seconds,
            output_limit_bytes=self._output_limit_bytes,
            clock_offset=now - self._wall_clock(),
            key=key,
            state_directory=self._state_dir,
            notice=image_notice(workload.image),
            limits=self._options.limits(),
            hidden=self._hidden(),
            account=self._account,
            silent_seconds=self._silent_seconds,
        )

    def _hidden(self) -> tuple[str, ...]:
        """The files of the database, whichever there are now: log, key, credentials; and other files of secrets."""
        hidden = {str(path) for path in self._options.hidden_files if path.exists()}
        database = self._state_files
        if database is not None:
            hidden |= {str(path) for path in database.parent.iterdir() if path.name.startswith(database.name)}
        return tuple(sorted(hidden - {self._state_dir}))

    def _observe(self, placement: Placement, workload: Workload, directory: str, key: bytes, now: float) -> Report:
        result = attempt_files.read_result(directory, key)
        claim = attempt_files.read_claim(directory, key)
        if claim is None and result is None:
            if placement.is_accepted:
                raise Forged("its records are gone")
            self._make_directory(directory)
            claim = self._withdraw(directory, key, attempt_files.RUNNER_LOST, now)
        if claim is not None and claim.runner is None:
            return report_withdrawn(claim)
        runner = None if claim is None else claim.runner
        if result is None and claim is not None and runner is not None:
            # In this order: a runner that is gone has written its result before it went.
            is_alive = is_watched(directory, runner)
            result = attempt_files.read_result(directory, key)
            program = attempt_files.read_program(directory, key)
            is_heard = is_alive and self._watch.is_heard(_name(placement), directory, now)
            if result is None and is_heard and not self._is_overdue(placement):
                return report_unfinished(program, attempt_files.cancel_requested(directory, key), now)
            if result is None:
                result = self._settle_lost(placement, directory, key, claim, program, now)
            if result is None:
                return report_unfinished(program, True, now)
        assert result is not None
        if runner is not None:
            self._children.remember(runner)
        is_contained = claim is not None and claim.is_contained
        return report_result(
            result, workload, has_printed=has_printed(directory, workload.image), is_contained=is_contained
        )

    def _withdraw(self, directory: str, key: bytes, reason: str, now: float) -> Claim:
        """Claim the attempt so that it never runs, unless it is claimed already; return the claim that holds."""
        claim = Claim(at=now, withdrawn=reason)
        if attempt_files.publish(directory, attempt_files.CLAIM, attempt_files.claim_document(claim), key):
            return claim
        return attempt_files.read_claim(directory, key) or claim

    def _settle_lost(
        self,
        placement: Placement,
        directory: str,
        key: bytes,
        claim: Claim,
        program: Program | None,
        now: float,
    ) -> Result | None:
        """End what is left of a program that lost its runner, and record that; None while something is left."""
        assert claim.runner is not None
        is_over = self._watch.kill(_name(placement), directory, claim.runner, program)
        if not is_over and not self._has_waited_too_long(placement):
            return None
        # It can have begun while its runner was being killed.
        program = program or attempt_files.read_program(directory, key)
        was_cancelled = attempt_files.cancel_requested(directory, key)
        result = self._watch.judge(
            _name(placement), directory, claim, program, placement.started_at, now, was_cancelled=was_cancelled
        )
        # First, since what the program wrote may be what leaves no room for a record.
        attempt_files.remove_program_directories(directory)
        try:
            attempt_files.publish(directory, attempt_files.RESULT, attempt_files.result_document(result), key)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as exc:
            raise Forged("its directory is gone") from exc
        return attempt_files.read_result(directory, key)

    def _remember_tampering(self, placement: Placement, reason: str) -> None:
        _logger.warning("job %s, attempt %d: %s", placement.job_id, placement.attempt, reason)
        with self._lock:
            self._tampered[_name(placement)] = None
            if len(self._tampered) > _MOST_TAMPERED:
                del self._tampered[next(iter(self._tampered))]

    def _end_tampered(self, placement: Placement, directory: str, key: bytes, now: float) -> Report:
        """End everything of a job whose records cannot be believed, and report that it ran until now."""
        claim = _believed(attempt_files.read_claim, directory, key)
        program = _believed(attempt_files.read_program, directory, key)
        runner = None if claim is None else claim.runner
        is_ended = kill_everything(directory, runner, program).is_over
        started_at = placement.started_at
        if started_at is None:
            started_at = placement.placed_at if program is None else program.started_at
        if is_ended or self._has_waited_too_long(placement):
            with contextlib.suppress(OSError):
                attempt_files.remove_program_directories(directory)
            return report_tampering(started_at, now, is_ended=is_ended)
        return Report(PlacementState.RUNNING, started_at=started_at, next_poll_at=now + SHORTEST_POLL_SECONDS)

    def _is_overdue(self, placement: Placement) -> bool:
        with self._lock:
            since = self._ending_since.get(_name(placement))
        return since is not None and time.monotonic() - since > self._force_seconds

    def _has_waited_too_long(self, placement: Placement) -> bool:
        """Whether the end of a placement has been under way for so long; it begins with the first question."""
        with self._lock:
            self._ending_since.setdefault(_name(placement), time.monotonic())
        return self._is_overdue(placement)

    def _has_ended(self, directory: str, key: bytes) -> bool:
        try:
            if attempt_files.read_result(directory, key) is not None:
                return True
            claim = attempt_files.read_claim(directory, key)
        except Forged:
            return True
        return claim is not None and claim.runner is None

    def _warn_about_image(self, image: str) -> None:
        with self._lock:
            first, self._warned = not self._warned, True
        if first:
            _logger.warning(
                "the process driver runs the command of a job on this machine; its image (%s) is not run", image
            )


def _name(placement: Placement) -> tuple[str, int]:
    return placement.job_id, placement.attempt


def _believed(read: Callable[[str, bytes], _Record | None], directory: str, key: bytes) -> _Record | None:
    try:
        return read(directory, key)
    except (Forged, OSError):
        return None
