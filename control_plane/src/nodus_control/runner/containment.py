"""Keeps a program away from what is not its own, as far as this system lets an ordinary process do that (Linux).

A contained program is in a process namespace, where it sees and signals nothing but itself, and whose first process
takes everything in it along when it dies; and in a mount namespace, in which the files of the control plane are empty.
An ordinary user needs a user namespace for that, which some systems forbid, and so do most containers: the program runs
without, and its records are authenticated all the same. None of this is a virtual machine: network and devices, and all
other files that the user may read, stay open to the program.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import ctypes

AUTO = "auto"
REQUIRED = "required"
OFF = "off"
CONTAINMENTS = (AUTO, REQUIRED, OFF)

_CLONE_NEWNS = 0x0002_0000
_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWPID = 0x2000_0000

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 32, 4096, 16_384, 1 << 19

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x2008_0522
_LAST_CAPABILITY = 63

_CHOSEN_FIRST_WHEN_OUT_OF_MEMORY = "500"


def close_memory() -> bool:
    """Keep other processes of the same user from reading this one's memory and environment (Linux)."""
    return _LIBC is not None and _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0


def offer_to_the_kernel_first() -> None:
    """Have this process and its children ended before others when the machine runs out of memory (Linux)."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(_CHOSEN_FIRST_WHEN_OUT_OF_MEMORY)
    except OSError:
        return


def prepare(policy: str) -> bool:
    """Say whether a program can be contained here; enter a user namespace where that takes one.

    To be called before this process knows a secret.
    """
    if _LIBC is None or policy == OFF or not _succeeds_in_a_child():
        return False
    if os.geteuid() != 0:
        _enter_user_namespace()
    return True


def begin() -> None:
    """Have the next child of this process be the first of a process namespace. Once only.

    Raises:
        OSError: the system forbids it after all.
    """
    _unshare(_CLONE_NEWPID)


def hide(attempt: str, names: tuple[str, ...], state_directory: str, hidden: tuple[str, ...]) -> None:
    """Leave, of `state_directory`, the attempt's directories `names` only, and make every file in `hidden` empty.

    For this process and its children.

    Raises:
        OSError: the system forbids it after all.
    """
    _unshare(_CLONE_NEWNS)
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    own = {name: os.open(os.path.join(attempt, name), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for name in names}
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("tmpfs", state_directory, "tmpfs", flags, "mode=0755,size=1m")
    umask = os.umask(0o022)
    for name, descriptor in own.items():
        target = os.path.join(attempt, name)
        os.makedirs(target)
        _mount(f"/proc/self/fd/{descriptor}", target, None, _MS_BIND | _MS_REC)
        os.close(descriptor)
    os.umask(umask)
    _mount(None, state_directory, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)
    for path in hidden:
        try:
            is_directory = stat.S_ISDIR(os.stat(path).st_mode)
            if is_directory:
                _mount("tmpfs", path, "tmpfs", flags | _MS_RDONLY, "mode=0555,size=4k")
            else:
                _mount(os.devnull, path, None, _MS_BIND)
        except FileNotFoundError:
            continue


def show_own_processes() -> None:
    """Have /proc show the process namespace, to its first process and the children of that."""
    try:
        _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        if os.geteuid() == 0:
            # The files below belong to root, whatever its capabilities.
            _mount("/proc/sys", "/proc/sys", None, _MS_BIND)
            _mount(None, "/proc/sys", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    except OSError:
        # Forbidden where parts of /proc are covered, as in a container. It then shows what it showed before.
        return


def reap_until_alone(program: int, status: int) -> NoReturn:
    """As the first process of a namespace: write the program's exit code to `status`, and stay until nothing is left.

    No signal from inside the namespace reaches this process, and none but SIGKILL from outside.
    """
    for signum in signal.valid_signals():
        if signum not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(signum, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.dup2(status, 3)
    # The lock on the claim among them: it is the runner's alone.
    os.closerange(4, 1 << 16)
    try:
        while True:
            ended, result = os.wait()
            if ended == program:
                os.write(3, str(os.waitstatus_to_exitcode(result)).encode("ascii"))
                os.close(3)
    finally:
        os._exit(0)


def give_up_privileges() -> None:
    """Lose every capability for good, and never gain one by a setuid program. Without effect where there are none."""
    if _LIBC is None:
        return
    for capability in range(_LAST_CAPABILITY + 1):
        if _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def drop_capabilities() -> None:
    """Lose the capabilities that are held now. What sets another user comes before this."""
    if _LIBC is None:
        return
    import ctypes

    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _LIBC.capset(header, (ctypes.c_uint32 * 6)())


def _succeeds_in_a_child() -> bool:
    """Try in a process that is thrown away: one that got half of the way could not go back."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    try:
        if os.geteuid() != 0:
            _enter_user_namespace()
        _unshare(_CLONE_NEWNS | _CLONE_NEWPID)
        _mount(None, "/", None, _MS_REC | _MS_SLAVE)
        _mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "size=4k")  # seen by this child only
        _mount(os.devnull, os.devnull, None, _MS_BIND)
        os._exit(0)
    finally:
        os._exit(1)


def _enter_user_namespace() -> None:
    """Become the owner of a user namespace in which user and group are what they were."""
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(line)


def _unshare(flags: int) -> None:
    assert _LIBC is not None
    _require(_LIBC.unshare(flags))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    import ctypes

    encoded = (None if text is None else os.fsencode(text) for text in (source, kind, data))
    source_bytes, kind_bytes, data_bytes = encoded

    assert _LIBC is not None
    _require(_LIBC.mount(source_bytes, os.fsencode(target), kind_bytes, ctypes.c_ulong(flags), data_bytes))


def _require(result: int) -> None:
    if result != 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _load_libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes
    except ImportError:  # A Python built without libffi. Nothing is contained then.
        return None
    return ctypes.CDLL(None, use_errno=True)


# Loaded now, so that the child of a fork does not have to.
_LIBC = _load_libc()
