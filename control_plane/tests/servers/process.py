"""A server's process: of a user that is not root, on a free port, and never there longer than who started it."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from patience import PATIENCE_SECONDS, eventually
from typing_extensions import Self

# The shell ends the server when its input ends: closed here, or because who started it is no more.
_KEEPER = 'exec 3<&0; "$@" 3<&- & server=$!; { read -r _ <&3; kill -s "$0" $server; } 2>/dev/null & wait $server'


class ServerFailed(Exception):
    """A server did not start; the message holds the end of its log."""


class Account:
    """The user that servers run as: this one, or another where this is root, which PostgreSQL refuses.

    Args:
        may_be_root: stay root where this is root, which engines for containers need.
    """

    def __init__(self, *, may_be_root: bool = False) -> None:
        self._entry = _unprivileged() if os.geteuid() == 0 and not may_be_root else None

    def run(self, command: Sequence[str | Path], *, cwd: Path) -> None:
        """Run a program to its end.

        Raises:
            ServerFailed: it failed.
        """
        done = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            user=self._user,
            group=self._group,
            extra_groups=self._extra_groups,
        )
        if done.returncode != 0:
            raise ServerFailed(f"{command[0]} failed:\n{done.stdout}")

    def start(self, command: Sequence[str | Path], *, log: Path, ended_by: str) -> subprocess.Popen[bytes]:
        """Start a program, kept for as long as the pipe to it is open, and ended by this signal."""
        with log.open("ab") as output:
            return subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, ended_by, *command],
                cwd=log.parent,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tests, which still need it to clean up.
                start_new_session=True,
                user=self._user,
                group=self._group,
                extra_groups=self._extra_groups,
            )

    def make_folder(self) -> Path:
        """Make a temporary folder that is this user's, in a place that it may enter."""
        for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):
            folder = Path(tempfile.mkdtemp(prefix="nodus-server-", dir=parent))
            if self._entry is None:
                return folder
            os.chown(folder, self._entry.pw_uid, self._entry.pw_gid)
            with contextlib.suppress(ServerFailed, OSError):
                self.run(["/bin/sh", "-c", 'cd "$1"', "enter", folder], cwd=Path("/"))
                return folder
            folder.rmdir()
        raise ServerFailed("no temporary folder is open to an unprivileged user")

    @property
    def _user(self) -> int | None:
        return None if self._entry is None else self._entry.pw_uid

    @property
    def _group(self) -> int | None:
        return None if self._entry is None else self._entry.pw_gid

    @property
    def _extra_groups(self) -> list[int] | None:
        return None if self._entry is None else []


class ServerProcess:
    """One server, on a port of its own, with a folder for what it keeps.

    Args:
        command: gives the command for a port.
        is_ready: says whether the server on a port answers.
        account: who runs it.
        folder: where it runs, and where its log goes.
        ended_by: the signal upon which it ends at once.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str | Path]],
        is_ready: Callable[[int], bool],
        account: Account,
        folder: Path,
        *,
        ended_by: str = "TERM",
    ) -> None:
        self._command = command
        self._is_ready = is_ready
        self._account = account
        self._folder = folder
        self._ended_by = ended_by
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        """The port, the same after a restart."""

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ServerFailed: it ended, or never answered.
        """
        for _ in range(5):
            port = self.port or free_port()
            self._log.touch()
            _give(self._log, self._folder)
            said = self._log.stat().st_size
            process = self._account.start(self._command(port), log=self._log, ended_by=self._ended_by)
            if self._answers(process, port):
                self.port, self._process = port, process
                return
            _end(process)
            if b"already in use" not in self._log.read_bytes()[said:]:
                break
        raise ServerFailed(f"the server does not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End it at once, without a farewell to its clients."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _answers(self, process: subprocess.Popen[bytes], port: int) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self._is_ready(port):
                return True
            if process.poll() is not None:
                break
            time.sleep(0.02)
        return False


class LocalServer:
    """A server in a process of its own, started by `with` and gone after it.

    Args:
        ended_by: the signal upon which it ends at once.
        may_be_root: it runs as root where this is root.
    """

    def __init__(self, *, ended_by: str = "TERM", may_be_root: bool = False) -> None:
        self._account = Account(may_be_root=may_be_root)
        self._folder = self._account.make_folder()
        self._process = ServerProcess(self._command, self._is_ready, self._account, self._folder, ended_by=ended_by)

    def start(self) -> Self:
        """Start it. `with` does it."""
        self._process.start()
        return self

    def close(self) -> None:
        """Stop it and remove everything. `with` does it."""
        self._process.stop()
        discard(self._folder)

    def stop(self) -> None:
        """Stop it, which breaks every connection."""
        self._process.stop()

    def start_again(self) -> None:
        """Start it on the same port, after `stop`."""
        self._process.start()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _command(self, port: int) -> Sequence[str | Path]:
        """Return the command that starts it on a port."""
        raise NotImplementedError

    def _is_ready(self, port: int) -> bool:
        """Say whether it answers on a port."""
        raise NotImplementedError


class Pausable(LocalServer):
    """A server that can be made to stand still.

    Args:
        program: whose process it is.
        may_be_root: it runs as root where this is root.
    """

    def __init__(self, program: Path, *, may_be_root: bool = False) -> None:
        super().__init__(may_be_root=may_be_root)
        self._program = program

    def pause(self) -> None:
        """Let it answer nothing until `resume`; who connects to it is let wait."""
        pid = self._pid()
        os.kill(pid, signal.SIGSTOP)
        # Its threads stop one after the other, and one that has not yet can still answer.
        eventually(lambda: _states(pid) <= {"T"}, lambda: f"threads of {pid} are {_states(pid)}")

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._pid(), signal.SIGCONT)

    def _pid(self) -> int:
        """Return the process that serves: whose arguments name its folder, and which is its program.

        Its children look the same until they run another program; it is the oldest.
        """
        pattern = f"{self._program} .*{self._folder}.*"
        found = subprocess.run(["pgrep", "-o", "-x", "-f", pattern], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])


def _states(pid: int) -> set[str]:
    """Return the letters that say what the threads of a process do, of those that are still there."""
    found = set()
    for status in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(status.read_text(encoding="utf-8").rpartition(") ")[2][0])
    return found


def free_port() -> int:
    """Find a port that is free now, and that systems do not give out by themselves while its server is away."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def discard(folder: Path) -> None:
    """Remove a server's folder."""
    shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _give(file: Path, folder: Path) -> None:
    owner = folder.stat()
    if os.geteuid() == 0:
        os.chown(file, owner.st_uid, owner.st_gid)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerFailed("there is neither a user `postgres` nor `nobody` to run servers as")
