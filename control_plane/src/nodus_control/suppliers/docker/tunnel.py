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

from ..protocol import EngineUnavailable

REMOTE_SOCKET = "/var/run/docker.sock"
OPENING_SECONDS = 10.0

_LOOK_SECONDS = 0.05
_CLOSING_SECONDS = 5.0


class Tunnel:
    """A socket here that leads to a socket there, for as long as it is used; made anew when it broke.

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
        self._lock = threading.Lock()

    @property
    def socket(self) -> Path:
        """Where it begins."""
        return self._folder / "s"

    def open(self) -> None:
        """Make sure that it is open.

        Raises:
            EngineUnavailable: it cannot be opened; nothing was sent.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None and self.socket.exists():
                return
            self._end()
            try:
                self._process = subprocess.Popen(
                    self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            except OSError as exc:
                raise EngineUnavailable("ssh cannot be started on this host", never_sent=True) from exc
            deadline = time.monotonic() + OPENING_SECONDS
            while not self.socket.exists():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._end()
                    raise EngineUnavailable("the supplier's host cannot be reached by ssh", never_sent=True)
                time.sleep(_LOOK_SECONDS)

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
        with self._lock:
            self._end()

    def close(self) -> None:
        """Close it for good."""
        with self._lock:
            self._end()
            shutil.rmtree(self._folder, ignore_errors=True)

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
