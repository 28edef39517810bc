"""The runner's one loop: drain the output, watch the program, end it when it is time, record how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import time

from nodus_control.runner import attempt_files, containment
from nodus_control.runner.attempt_files import Result
from nodus_control.runner.guard import Guard
from nodus_control.runner.output import READ_SIZE, Output
from nodus_control.runner.processes import NUDGE
from nodus_control.runner.program import NeverBegan, Started, StartError, start
from nodus_control.runner.specification import Specification
from nodus_control.runner.termination import Action, Termination
from nodus_control.runner.tree import Tree

HEARTBEAT_SECONDS = 2.0

_WAKING_SIGNALS = (signal.SIGCHLD, NUDGE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def install_signal_handlers() -> int:
    """Make signals wake the loop and do nothing else; return the descriptor that becomes readable.

    A runner ends with its program and for no other reason, SIGKILL apart: an end is requested with the `cancel` file.
    """
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for signum in _WAKING_SIGNALS:
        signal.signal(signum, _do_nothing)
    return readable


class Supervisor:
    """Runs one attempt, from its claim to its result."""

    def __init__(self, specification: Specification, attempt: str, wakeup: int, *, is_contained: bool = False) -> None:
        self._specification = specification
        self._attempt = attempt
        self._wakeup = wakeup
        self._is_contained = is_contained
        self._exit_code: int | None = None
        self.started_at: float | None = None
        """When the program began, by the control plane's clock; None while it certainly has not."""

    def run(self) -> Result:
        """Run the program to its end; return how it ended. No process of it is left then.

        Raises:
            OSError: it could not be run, or not be watched any more; something of it may be left.
        """
        if self._is_given_up():
            return Result(attempt_files.LOST, None, self._wall())
        if self._is_cancelled():
            return Result(attempt_files.CANCELLED, None, self._wall())
        specification = self._specification
        path = os.path.join(self._attempt, attempt_files.OUTPUT)
        output = Output(path, specification.output_limit_bytes, specification.notice)
        guard = Guard(silent_seconds=specification.silent_seconds, grace_seconds=specification.grace_seconds)
        read_end, write_end = os.pipe()
        started, started_at = time.monotonic(), self._wall()
        try:
            for name in (attempt_files.WORK_DIRECTORY, attempt_files.TEMPORARY_DIRECTORY):
                self._make_directory(os.path.join(self._attempt, name))
            if self._is_contained:
                containment.begin()
            self.started_at = started_at
            program = start(
                specification,
                attempt=self._attempt,
                output=write_end,
                started_at=started_at,
                is_contained=self._is_contained,
            )
        except NeverBegan:
            self.started_at = None
            raise
        except StartError as exc:
            guard.stop()
            return Result(attempt_files.COULD_NOT_START, None, self._wall(), error=exc.error)
        finally:
            os.close(write_end)
        termination = Termination(
            started=started,
            max_runtime_seconds=specification.max_runtime_seconds,
            grace_seconds=specification.grace_seconds,
            linger_seconds=specification.linger_seconds,
        )
        ended = self._watch(program, termination, guard, read_end, output)
        finished_at = started_at + (termination.finished(ended) - started)
        if program.status is not None:
            self._end_keeper(program.pid)
        os.close(read_end)
        output.close()
        return Result(str(termination.reason), started_at, finished_at, exit_code=self._exit_code)

    def _is_cancelled(self) -> bool:
        try:
            return attempt_files.cancel_requested(self._attempt, self._specification.key)
        except attempt_files.Forged:
            return False  # The driver deals with that.
        except OSError:
            return False  # It is asked again soon, and a disk that stays away is the guard's affair.

    def _is_given_up(self) -> bool:
        """Whether somebody else has recorded how the attempt ended, since nothing was heard of this runner.

        It stood still, as in a container that is paused, where nobody could reach it and where no clock of its own
        tells: the job may run elsewhere by now.
        """
        try:
            return attempt_files.read_result(self._attempt, self._specification.key) is not None
        except (attempt_files.Forged, OSError):
            return False  # As with a request to end.

    def _make_directory(self, path: str) -> None:
        os.mkdir(path, 0o700)
        account = self._specification.account
        if account is not None:
            os.chown(path, account.uid, account.gid)

    def _watch(self, program: Started, termination: Termination, guard: Guard, read_end: int, output: Output) -> float:
        """Wait until nothing of the program is left; return when that was, by the monotonic clock."""
        keeper = None if program.status is None else program.pid
        tree = Tree(program.pid, keeper, apart=guard.pid)
        guard.tell(program.pid, keeper)
        _widen(read_end)
        os.set_blocking(read_end, False)
        poller = select.poll()
        poller.register(read_end, select.POLLIN)
        poller.register(self._wakeup, select.POLLIN)
        if program.status is not None:
            poller.register(program.status, select.POLLIN)
        open_ended = True
        is_to_be_asked = False
        heartbeat_seconds = min(HEARTBEAT_SECONDS, self._specification.silent_seconds / 4)
        last_heartbeat = time.monotonic()
        while True:
            self._reap(program)
            guard.listen()
            now = time.monotonic()
            exited = self._exit_code is not None
            action = termination.decide(
                now,
                exited=exited,
                alive=_may_be_alive(tree) if exited or termination.reason is not None else True,
                cancelled=self._is_cancelled(),
                silent=guard.has_ended_it,
                given_up=self._is_given_up(),
            )
            if action is Action.FINISH:
                break
            is_to_be_asked |= action is Action.TERMINATE
            # Where the system cannot say now what there is of it, the next look is soon.
            with contextlib.suppress(OSError):
                if action is Action.KILL:
                    tree.kill()
                elif is_to_be_asked:
                    tree.terminate()
                    is_to_be_asked = False
            if now - last_heartbeat >= heartbeat_seconds:
                if show_life(self._attempt):
                    guard.tell(program.pid, keeper)
                last_heartbeat = now
            wait_seconds = min(termination.seconds_until_next_look(now), heartbeat_seconds)
            events = dict(poller.poll(wait_seconds * 1000 + 1))
            if self._wakeup in events:
                os.read(self._wakeup, 4096)
            if program.status is not None and program.status in events:
                poller.unregister(program.status)
                told = os.read(program.status, 64)
                if told:
                    self._exit_code = int(told)
            if open_ended and read_end in events and _drain(read_end, output) == b"":
                # Nothing can write any more; if it stayed registered, the end would wake the loop for ever.
                poller.unregister(read_end)
                open_ended = False
        guard.stop()
        ended = time.monotonic() if guard.ended_at is None else guard.ended_at
        # What was written before the end is still in the pipe. No more than it can hold is read: a stranger that was
        # handed the other end could write for ever.
        kept = 0
        while open_ended and kept < READ_SIZE and (data := _drain(read_end, output)):
            kept += len(data)
        return ended

    def _reap(self, program: Started) -> None:
        """Collect every child that has ended: the program, and the orphans that a subreaper is given."""
        with contextlib.suppress(ChildProcessError):
            while True:
                ended, status = os.waitpid(-1, os.WNOHANG)
                if ended == 0:
                    return
                if ended == program.pid and self._exit_code is None:
                    # What kept the namespace may have told before it went, or have been killed with all of it.
                    told = b"" if program.status is None else os.read(program.status, 64)
                    self._exit_code = int(told) if told else os.waitstatus_to_exitcode(status)

    def _end_keeper(self, pid: int) -> None:
        """End the first process of the namespace, which is its last: nobody has to adopt it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def _wall(self) -> float:
        return time.time() + self._specification.clock_offset


def show_life(attempt: str) -> bool:
    """Leave a sign of life, if that can be: if this runner is killed, the program is known to have run until now.

    What has the claim's name is asked for in the file system: what is open would do where its disk is gone.
    """
    try:
        os.utime(os.path.join(attempt, attempt_files.CLAIM), follow_symlinks=False)
    except OSError:
        return False
    return True


def _may_be_alive(tree: Tree) -> bool:
    """Whether any of it can still run, for all that the system says now."""
    try:
        return tree.is_alive()
    except OSError:
        return True


def _drain(descriptor: int, output: Output) -> bytes | None:
    """Move what there is to the output, and return it: empty at the end, None if there is nothing now."""
    try:
        data = os.read(descriptor, READ_SIZE)
    except BlockingIOError:
        return None
    output.write(data)
    return data


def _widen(descriptor: int) -> None:
    """Give the pipe room for a burst, if the system allows it."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, READ_SIZE)


def _do_nothing(signum: int, frame: object) -> None:
    """Do nothing: a signal wakes the loop only if it has a handler."""
