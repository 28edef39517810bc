"""What the operating system knows of processes: identities, descendants, and the two Linux calls that hold a tree.

Everything here works best on Linux. Elsewhere there is no /proc, no subreaper and no parent-death signal: a tree is
then only its process group, and an identity only its pid.

Where the system cannot say something now, as when no more files can be opened, that is an `OSError`: nothing is known
of any process by it, and it is to be asked again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nodus_control.runner.attempt_files import Identity

if TYPE_CHECKING:
    import ctypes

ON_LINUX = sys.platform.startswith("linux")

if sys.platform != "win32":
    # Tells a runner to look at its files. The signal carries no information, so losing one only causes a delay.
    NUDGE = signal.SIGUSR1
    KILL = signal.SIGKILL

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_RUNNER_SCRIPT = b"/nodus_control/runner/__main__.py"
_ENDED_STATES = frozenset("ZXx")
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What a question fails with that the system can answer at another time."""


class Entry(NamedTuple):
    """A line of the process table. `start_time` is in clock ticks since the machine was started."""

    pid: int
    state: str
    parent: int
    session: int
    start_time: str

    @property
    def is_alive(self) -> bool:
        """Whether it can still run: a zombie cannot."""
        return self.state not in _ENDED_STATES


@contextlib.contextmanager
def if_there() -> Iterator[None]:
    """Go on after what the system does not say, as of a process that has gone or is another user's.

    Raises:
        OSError: it cannot say that now.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in SHORTAGES:
            raise


def become_subreaper() -> bool:
    """Have orphaned descendants, `setsid` and double forks included, become children of this process (Linux)."""
    return ON_LINUX and _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies (Linux). It outlives `exec`."""
    if ON_LINUX:
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def own_identity() -> Identity:
    """This process."""
    return identity_of(os.getpid())


def identity_of(pid: int) -> Identity:
    """The process that has this pid now."""
    return Identity(pid, *_start_and_boot(pid))


def is_running(identity: Identity) -> bool:
    """Whether the process is there and can still run. False without /proc."""
    entry = look_up(identity.pid)
    return entry is not None and entry.is_alive and is_same(identity)


def is_same(identity: Identity) -> bool:
    """Whether the process is there (alive or a zombie) and is the one that was recorded. False without /proc."""
    return identity.start_time is not None and _start_and_boot(identity.pid) == (identity.start_time, identity.boot_id)


def look_up(pid: int) -> Entry | None:
    """The process `pid`, or None if there is none, or no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name, in parentheses, may itself contain spaces and parentheses: the fields begin after the last one.
    fields = line[line.rindex(b")") + 2 :].decode("ascii").split()
    return Entry(pid, fields[0], int(fields[1]), int(fields[3]), fields[19])


def entries() -> Iterator[Entry]:
    """Every process that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            entry = look_up(int(name))
            if entry is not None:
                yield entry


def descendants(root: int) -> list[int]:
    """The living processes below `root`, which is not among them."""
    seen = list(entries())
    children: dict[int, list[Entry]] = {}
    for entry in seen:
        children.setdefault(entry.parent, []).append(entry)
    found: list[int] = []
    pending = [root]
    while pending:
        for entry in children.get(pending.pop(), ()):
            pending.append(entry.pid)
            if entry.is_alive:
                found.append(entry.pid)
    return found


def runners_of(directory: str) -> set[int]:
    """The living processes that were started as the runner of the attempt in `directory`."""
    found = set()
    for entry in entries():
        if not entry.is_alive:
            continue
        with if_there(), open(f"/proc/{entry.pid}/cmdline", "rb") as file:
            arguments = file.read().split(b"\0")
            if os.fsencode(directory) in arguments and any(part.endswith(_RUNNER_SCRIPT) for part in arguments):
                found.add(entry.pid)
    return found


def left_of(program: Identity | None, marker: str, directories: Sequence[str]) -> list[int]:
    """The living processes of a program that lost its runner, as far as they can be told.

    They are in its session or below it, where it is known; have `marker` (a whole `NAME=value`) in their environment;
    or their current directory, their executable or an open file in one of `directories`. A process that has shed all of
    that is not found. Empty without /proc, and after a restart of the machine.
    """
    if not ON_LINUX or (program is not None and program.boot_id != boot_id()):
        return []
    seen = [entry for entry in entries() if entry.is_alive and entry.pid != os.getpid()]
    needle = os.fsencode(marker)
    marked = {
        entry.pid for entry in seen if needle in _environment(entry.pid) or _is_at_work_in(entry.pid, directories)
    }
    return sorted(marked.union(_of_program(program, seen) if program is not None else ()))


def _of_program(program: Identity, seen: Sequence[Entry]) -> set[int]:
    """The program itself, what is below it, and what is in its session; not that of a later one with its pid."""
    if program.start_time is None:
        return set()
    leader = look_up(program.pid)
    if leader is not None and leader.start_time != program.start_time:
        return set()
    began = int(program.start_time)
    found = {entry.pid for entry in seen if entry.session == program.pid and int(entry.start_time) >= began}
    if leader is not None:
        found.update(descendants(program.pid))
        if leader.is_alive:
            found.add(program.pid)
    return found


def send(pids: Iterable[int], signum: signal.Signals) -> list[int]:
    """Signal each process; return those that may not be signalled (another user's, after `sudo`)."""
    untouchable: list[int] = []
    for pid in pids:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            continue
        except PermissionError:
            untouchable.append(pid)
    return untouchable


def signal_same(identity: Identity, signum: signal.Signals) -> None:
    """Signal a recorded process, never another one that got its pid. A process that is gone is not an error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "linux" and hasattr(os, "pidfd_open"):
            # The descriptor holds the process before its identity is compared, so that it cannot change in between.
            try:
                descriptor = os.pidfd_open(identity.pid)
            except PermissionError:  # a sandbox that forbids the call
                descriptor = -1
            if descriptor >= 0:
                try:
                    if is_same(identity):
                        signal.pidfd_send_signal(descriptor, signum)
                finally:
                    os.close(descriptor)
                return
        if identity.start_time is None or is_same(identity):
            os.kill(identity.pid, signum)


def boot_id() -> str | None:
    """The id of this start of the machine, or None if the system does not tell."""
    with if_there(), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return None


def _start_and_boot(pid: int) -> tuple[str | None, str | None]:
    entry = look_up(pid)
    return (None, None) if entry is None else (entry.start_time, boot_id())


def _environment(pid: int) -> list[bytes]:
    with if_there(), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []


def _is_at_work_in(pid: int, directories: Sequence[str]) -> bool:
    """Whether a process stands in one of these directories, or runs or has open a file in one."""
    links = [f"/proc/{pid}/cwd", f"/proc/{pid}/exe"]
    with if_there():
        links += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
    prefixes = tuple(directory + os.sep for directory in directories)
    for link in links:
        with if_there():
            if (os.readlink(link) + os.sep).startswith(prefixes):
                return True
    return False


def _prctl(option: int, argument: int) -> bool:
    return _LIBC is not None and _LIBC.prctl(option, argument, 0, 0, 0) == 0


def _load_libc() -> ctypes.CDLL | None:
    if not ON_LINUX:
        return None
    try:
        import ctypes
    except ImportError:  # A Python built without libffi. Programs that fork twice then escape.
        return None
    return ctypes.CDLL(None)


# Loaded now, so that the child of a fork does not have to.
_LIBC = _load_libc()
