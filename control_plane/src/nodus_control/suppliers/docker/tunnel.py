"""A way to an engine's socket on another host, by `ssh`: whoever may log in there as a user who may use the engine."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from nodus_core.suppliers_file import SshEndpoint

from ...concurrency.threads import begin_thread
from ..protocol import EngineUnavailable

REMOTE_SOCKET = "/var/run/docker.sock"
OPENING_SECONDS = 10.0

_LOOK_SECONDS = 0.05
_CLOSING_SECONDS = 5.0
_NO_SSH = "ssh cannot be started on this host"
_UNREACHABLE = "the supplier's host cannot be reached by ssh"
_NO_THREAD = "this host has no thread in which to reach the supplier's host"
_CLOSED = "the connection to the supplier's host is closed"


class _Opening:
    """One attempt to open the way, whoever waits for it."""

    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.is_over = threading.Event()
        self.failure: str | None = None


class Tunnel:
    """A socket here that leads to a socket there, for as long as it is used; made anew when it broke.

    It is opened in a thread of its own, once at a time, and whoever needs it meanwhile waits for the same attempt.
    Nobody is asked for a password: keys and known hosts are those of the user that this process runs as.

    Args:
        endpoint: the host.
        remote_socket: where the engine listens there.
        program: `ssh`.
    """

    def __init__(self, endpoint: SshEndpoint, remote_socket: str = REMOTE_SOCKET, program: str = "ssh") -> None:
        self._endpoint = endpoint
        self._remote_socket = remote_socket
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="nodus-ssh-"))  # nobody else may look into it
        self._process: subprocess.Popen[bytes] | None = None
        self._opening: _Opening | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @property
    def socket(self) -> Path:
        """Where it begins."""
        return self._folder / "s"

    def open(self, seconds: float = OPENING_SECONDS) -> None:
        """Make sure that it is open.

        Args:
            seconds: how long an attempt to open it is waited for, from its beginning; it goes on after that.

        Raises:
            EngineUnavailable: it cannot be opened, or is not open yet; nothing was sent.
        """
        with self._lock:
            if self._closing.is_set():
                raise EngineUnavailable(_CLOSED, never_sent=True)
            opening = self._opening
            if opening is None:
                if self._is_open():
                    return
                opening = _Opening()
                try:
                    begin_thread("nodus-docker-ssh", self._open, opening)
                except RuntimeError as exc:
                    raise EngineUnavailable(_NO_THREAD, never_sent=True) from exc
                self._opening = opening
        if not opening.is_over.wait(max(0.0, opening.began_at + seconds - time.monotonic())):
            raise EngineUnavailable(_UNREACHABLE, never_sent=True)
        if opening.failure is not None:
            raise EngineUnavailable(opening.failure, never_sent=True)

    def command(self) -> list[str]:
        """Return what is run."""
        options = ["BatchMode=yes", "ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes", "ServerAliveInterval=15"]
        options.append(f"ConnectTimeout={round(OPENING_SECONDS)}")
        words = [self._program, "-N", "-T", *(word for option in options for word in ("-o", option))]
        if self._endpoint.port is not None:
            words += ["-p", str(self._endpoint.port)]
        return [*words, "-L", f"{self.socket}:{self._remote_socket}", "--", self._endpoint.destination]

    def end(self) -> None:
        """End the connection; `open` makes another."""
        while True:
            with self._lock:
                opening = self._opening
                if opening is None:
                    self._end()
                    return
            opening.is_over.wait()

    def close(self) -> None:
        """Close it for good."""
        self._closing.set()
        self.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_open(self) -> bool:
        return self._process is not None and self._process.poll() is None and self.socket.exists()

    def _open(self, opening: _Opening) -> None:
        """Open it. As long as this goes on, no other thread touches the process."""
        try:
            opening.failure = self._try()
        finally:
            with self._lock:
                self._opening = None
            opening.is_over.set()

    def _try(self) -> str | None:
        """Return why it cannot be opened; None for that it is open."""
        self._end()
        try:
            process = self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError:
            return _NO_SSH
        deadline = time.monotonic() + OPENING_SECONDS
        while not self.socket.exists():
            if process.poll() is not None or time.monotonic() > deadline or self._closing.wait(_LOOK_SECONDS):
                self._end()
                return _UNREACHABLE
        return None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_CLOSING_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()
