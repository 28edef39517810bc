"""The fork in which a child becomes the program."""

from __future__ import annotations

import os
import resource
import signal
from typing import NamedTuple, NoReturn

from nodus_control.runner import containment, processes
from nodus_control.runner.attempt_files import (
    PROGRAM,
    TEMPORARY_DIRECTORY,
    WORK_DIRECTORY,
    Program,
    program_document,
    publish,
)
from nodus_control.runner.specification import Specification

# Python raises `ValueError` if a command or a variable contains a NUL, or a name an "=".
INVALID_ARGUMENT = 22

_READY = b"r"
_GO = b"g"


class StartError(Exception):
    """The program could not be started; `error` is the operating system's error number."""

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


class NeverBegan(OSError):
    """The program was not let begin, since this system or disk has no room to do that safely; it never will."""


class Started(NamedTuple):
    """The process that the runner waits for. `status`, if it is not the program itself, will hold its exit code."""

    pid: int
    status: int | None


class _Child(NamedTuple):
    """What the child needs of the runner; the numbers are descriptors."""

    specification: Specification
    attempt: str
    is_contained: bool
    runner: int
    output: int
    ready: int
    go: int
    failure: int
    status: int


def start(
    specification: Specification, *, attempt: str, output: int, started_at: float, is_contained: bool = False
) -> Started:
    """Start the program in a session of its own, with `output` as its stdout and stderr.

    Its stdin is /dev/null; no other descriptor is open, no signal is ignored or blocked, and no core file is written
    (its memory holds secrets). Its umask stays at 077. It is on record before it exists: from then on it counts as
    started, whatever happens to the runner.

    Raises:
        StartError: there is no such command, or the system refuses it.
        NeverBegan: it could not be put on record.
    """
    try:
        pipes = [os.pipe() for _ in range(4)]
    except OSError as exc:
        raise NeverBegan(exc.errno, exc.strerror) from exc
    (ready, ready_write), (go_read, go), (failure, failure_write), (status, status_write) = pipes
    runner = os.getpid()
    try:
        pid = os.fork()
    except OSError as exc:
        for descriptor in (descriptor for pipe in pipes for descriptor in pipe):
            os.close(descriptor)
        raise StartError(exc.errno or INVALID_ARGUMENT) from exc
    if pid == 0:
        os.close(go)
        child = _Child(
            specification, attempt, is_contained, runner, output, ready_write, go_read, failure_write, status_write
        )
        _become(child)
    for descriptor in (ready_write, go_read, failure_write, status_write):
        os.close(descriptor)
    try:
        # It dies with this process from here on, and does nothing before it is told to.
        os.read(ready, 1)
        program = Program(processes.identity_of(pid), started_at)
        publish(attempt, PROGRAM, program_document(program), specification.key)
        os.write(go, _GO)
    except OSError as exc:
        raise NeverBegan(exc.errno, exc.strerror) from exc
    finally:
        os.close(ready)
        os.close(go)
    # Closed by the kernel, with nothing written, when the child becomes the program.
    with os.fdopen(failure, "rb") as stream:
        message = stream.read()
    if message:
        os.close(status)
        os.waitpid(pid, 0)
        raise StartError(int(message))
    if not is_contained:
        os.close(status)
        return Started(pid, None)
    return Started(pid, status)


def _become(child: _Child) -> NoReturn:
    try:
        processes.die_with_parent()
        os.write(child.ready, _READY)
        if os.read(child.go, 1) != _GO:  # The runner died before it could watch.
            os._exit(1)
        if child.is_contained:
            _contain(child)
        elif os.getppid() != child.runner:
            os._exit(1)
        os.setsid()
        _execute(child)
    except OSError as exc:
        os.write(child.failure, str(exc.errno or INVALID_ARGUMENT).encode("ascii"))
    except ValueError:
        os.write(child.failure, str(INVALID_ARGUMENT).encode("ascii"))
    finally:
        os._exit(127)


def _contain(child: _Child) -> None:
    """Return in another process: this one stays behind as the first of the namespace."""
    specification = child.specification
    containment.hide(
        child.attempt,
        (WORK_DIRECTORY, TEMPORARY_DIRECTORY),
        specification.state_directory,
        tuple(specification.hidden),
    )
    containment.show_own_processes()
    program = os.fork()
    if program:
        containment.reap_until_alone(program, child.status)


def _execute(child: _Child) -> None:
    specification = child.specification
    _restore_signals()
    _limit(child)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(child.output, 1)
    os.dup2(child.output, 2)
    os.chdir(os.path.join(child.attempt, WORK_DIRECTORY))
    if child.is_contained or os.geteuid() == 0:
        containment.give_up_privileges()
    account = specification.account
    if account is not None:
        os.setgroups(list(account.groups))
        os.setgid(account.gid)
        os.setuid(account.uid)
    if child.is_contained or os.geteuid() == 0:
        containment.drop_capabilities()
    if not child.is_contained:
        # Again: another user does not keep it.
        processes.die_with_parent()
    os.execvpe(specification.command[0], list(specification.command), dict(specification.environment))


def _limit(child: _Child) -> None:
    """Set the limits, as far as these are not above what this process is allowed itself."""
    limits = {**child.specification.limits, "RLIMIT_CORE": 0}
    if child.specification.account is None and (not child.is_contained or os.geteuid() == 0):
        # Counted for each user, within a user namespace: else a job would share it with everything of the same user.
        limits.pop("RLIMIT_NPROC", None)
    for name, value in limits.items():
        number = getattr(resource, name, None)
        if number is None:
            continue
        _, hard = resource.getrlimit(number)
        within = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # A core file stays possible for a program that raises its own limit: that is its owner's affair.
        resource.setrlimit(number, (within, hard if name == "RLIMIT_CORE" else within))


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals():
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
