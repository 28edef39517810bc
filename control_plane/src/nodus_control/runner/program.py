"""The fork in which a child becomes the program."""

from __future__ import annotations

import os
import resource
import signal
from typing import NoReturn

from nodus_control.runner import processes
from nodus_control.runner.records import PROGRAM, Program, program_document, publish
from nodus_control.runner.specification import Specification

# Python raises `ValueError` if a command or a variable contains a NUL, or a name an "=".
INVALID_ARGUMENT = 22


class StartError(Exception):
    """The program could not be started; `error` is the operating system's error number."""

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


def start(specification: Specification, *, attempt: str, work_directory: str, output: int, started_at: float) -> int:
    """Start the program in a session of its own, with `output` as its stdout and stderr; return its pid.

    Its stdin is /dev/null; no other descriptor is open, no signal is ignored or blocked, and no core file is written
    (its memory holds secrets). Its umask stays at 077.

    Raises:
        StartError: there is no such command, or the system refuses it.
    """
    failure_read, failure_write = os.pipe()
    runner = os.getpid()
    try:
        pid = os.fork()
    except OSError as exc:
        os.close(failure_read)
        os.close(failure_write)
        raise StartError(exc.errno or INVALID_ARGUMENT) from exc
    if pid == 0:
        _become(specification, attempt, work_directory, output, started_at, runner, failure_write)
    os.close(failure_write)
    # Closed by the kernel, with nothing written, when the child becomes the program.
    with os.fdopen(failure_read, "rb") as failure:
        message = failure.read()
    if message:
        os.waitpid(pid, 0)
        raise StartError(int(message))
    return pid


def _become(
    specification: Specification,
    attempt: str,
    work_directory: str,
    output: int,
    started_at: float,
    runner: int,
    failure: int,
) -> NoReturn:
    try:
        os.setsid()
        processes.die_with_parent()
        if os.getppid() != runner:  # It died before it could be watched.
            os._exit(1)
        _restore_signals()
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(work_directory)
        # On disk before the program exists: from here on it counts as started, whatever happens to the runner.
        publish(attempt, PROGRAM, program_document(Program(processes.own_identity(), started_at)))
        os.execvpe(specification.command[0], list(specification.command), specification.environment)
    except OSError as exc:
        os.write(failure, str(exc.errno or INVALID_ARGUMENT).encode("ascii"))
    except ValueError:
        os.write(failure, str(INVALID_ARGUMENT).encode("ascii"))
    finally:
        os._exit(127)


def _restore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals():
        if signal.getsignal(signum) == signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
