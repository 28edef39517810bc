"""The start of a runner: read the whole specification, leave the control plane, claim the attempt, run it once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import NoReturn

from nodus_control.runner import attempt_files, containment, processes
from nodus_control.runner.attempt_files import Claim, Result
from nodus_control.runner.specification import Specification
from nodus_control.runner.supervise import Supervisor, install_signal_handlers, show_life

CLAIMED = b"claimed"
ALREADY_CLAIMED = b"already claimed"

INCOMPLETE_SPECIFICATION = 3

_AGAIN_SECONDS = 1.0


def main(attempt: str, policy: str) -> NoReturn:
    """Run the attempt whose directory is `attempt`, unless somebody has claimed it; contained, as `policy` says.

    The process that the driver started exits at once, so that it never becomes a zombie; the one forked off here goes
    on. Whether it has the claim is written to stdout, which the driver waits for, before the program is started. A
    specification that is cut short, because the control plane died while writing it, leaves no trace.
    """
    containment.offer_to_the_kernel_first()
    is_contained = containment.prepare(policy)
    containment.close_memory()
    specification = Specification.from_bytes(_read_all(0))
    if specification is None:
        os._exit(INCOMPLETE_SPECIFICATION)
    if os.fork():
        os._exit(0)
    _leave_the_parent_behind()
    answer = os.dup(1)
    _close_standard_streams()
    wakeup = install_signal_handlers()
    processes.become_subreaper()
    claim = Claim(
        time.time() + specification.clock_offset,
        processes.own_identity(),
        clock_offset=specification.clock_offset,
        is_contained=is_contained,
    )
    lock = attempt_files.publish_locked(
        attempt, attempt_files.CLAIM, attempt_files.claim_document(claim), specification.key
    )
    with contextlib.suppress(BrokenPipeError):  # The control plane has died meanwhile, which does not concern the job.
        os.write(answer, ALREADY_CLAIMED if lock is None else CLAIMED)
    os.close(answer)
    if lock is not None:
        if policy == containment.REQUIRED and not is_contained:
            now = time.time() + specification.clock_offset
            result = Result(attempt_files.NOT_CONTAINED, None, now)
        else:
            result = _run(specification, attempt, wakeup, is_contained)
        _record(attempt, result, specification.key)
        attempt_files.remove_program_directories(attempt)
    # Without clean-up: the lock on the claim must end with the process, and not before.
    os._exit(0)


def _run(specification: Specification, attempt: str, wakeup: int, is_contained: bool) -> Result:
    supervisor = Supervisor(specification, attempt, wakeup, is_contained=is_contained)
    try:
        return supervisor.run()
    except Exception as exc:
        # The message of an exception may quote secrets; its kind and place do not.
        place = exc.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        line = "?" if place is None else place.tb_lineno
        _kill_descendants(attempt)
        detail = f"{type(exc).__name__} (errno {getattr(exc, 'errno', None)}) at line {line}"
        now = time.time() + specification.clock_offset
        return Result(attempt_files.RUNNER_LOST, supervisor.started_at, now, detail=detail)


def _kill_descendants(attempt: str) -> None:
    """Kill what this runner has started, however long the system takes to say what that is."""
    while processes.ON_LINUX:
        try:
            processes.send(processes.descendants(os.getpid()), signal.SIGKILL)
            return
        except OSError:
            show_life(attempt)
            time.sleep(_AGAIN_SECONDS)


def _record(attempt: str, result: Result, key: bytes) -> None:
    """Record the result, however long a full disk takes to have room again; unless the directory is gone.

    Nobody else knows how the program ended. So this goes on to show that it lives, and what the program has filled the
    disk with makes room first.
    """
    while True:
        try:
            attempt_files.publish(attempt, attempt_files.RESULT, attempt_files.result_document(result), key)
            return
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            show_life(attempt)
            attempt_files.remove_program_directories(attempt)
            time.sleep(_AGAIN_SECONDS)


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as stream:
        return stream.read()


def _leave_the_parent_behind() -> None:
    """Shed what comes from the control plane: its directory, its umask, its ignored and blocked signals."""
    os.chdir("/")
    os.umask(0o077)
    for signum in signal.valid_signals():
        # Python itself ignores SIGPIPE and SIGXFSZ, rightly for a runner; the program gets them back in its fork.
        if signal.getsignal(signum) == signal.SIG_IGN and signum not in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _close_standard_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
