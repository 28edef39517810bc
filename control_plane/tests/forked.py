"""Programs of the control plane in processes of their own, started by forking: an import costs more than many tests.

For tests of what a program does, not of how it is executed: what `/proc` shows of it is the fork server's command line
and its first variables. Tests of those execute it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

from patience import PATIENCE_SECONDS
from typing_extensions import Self

Name = Literal["code", "control", "playground"]
"""The control plane's programs, and one that runs its first argument, as `python -c` does."""

_ENVIRONMENT = dict(os.environ)
"""Of the fork server, which outlives every test: without what the fixtures of the one that starts it have set."""


class Program:
    """A program that runs, or has ended: what tests use of `subprocess.Popen`."""

    def __init__(self, words: list[str], told: IO[bytes]) -> None:
        self.args = words
        self._told = told
        said = told.readline()
        assert said, "the fork server ended"
        self.pid = int(said)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, if it has ended: minus the number of a signal that ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit status.

        Raises:
            TimeoutExpired: it has not ended within so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()


def start(
    name: Name,
    *arguments: str,
    stdout: IO[Any] | int = subprocess.DEVNULL,
    stderr: IO[Any] | int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Program:
    """Start a program; what it prints goes nowhere, or into the files that are given."""
    order = {
        "program": name,
        "arguments": arguments,
        "environment": {**(os.environ if env is None else env)},
        "folder": str(cwd or Path.cwd()),
    }
    ends, told = os.pipe()
    with open(os.devnull, "r+b") as nothing:
        outputs = [
            nothing.fileno() if given == subprocess.DEVNULL else given if isinstance(given, int) else given.fileno()
            for given in (stdout, stderr)
        ]
        line = json.dumps(order).encode() + b"\n"
        sent = socket.send_fds(_server(), [line], [nothing.fileno(), *outputs, told])
        _server().sendall(line[sent:])
    os.close(told)
    return Program([name, *arguments], os.fdopen(ends, "rb", buffering=0))


def run(
    name: Name,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = PATIENCE_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and return its exit status and what it printed."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        program = start(name, *arguments, stdout=output, stderr=errors, env=env, cwd=cwd)
        try:
            status = program.wait(timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            raise
        said = []
        for file in (output, errors):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(program.args, status, *said)


@functools.lru_cache(maxsize=1)
def _server() -> socket.socket:
    """Start the fork server; it ends when this process does, or closes the socket."""
    here, there = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(there.fileno())],
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        pass_fds=[there.fileno()],
    )
    there.close()

    def close() -> None:
        here.close()
        process.wait()

    atexit.register(close)
    return here
