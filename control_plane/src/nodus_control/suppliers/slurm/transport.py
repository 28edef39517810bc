"""How commands reach a cluster: on this host, or on its login node with `ssh`.

Both run the same small shell scripts with the same arguments, so what is tested on one host holds on the other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from nodus_core.suppliers_file import SshEndpoint

from ..protocol import EngineUnavailable
from .script import quote

CONNECT_SECONDS = 10
_SSH_FAILED = 255

# Of the control plane's own environment, which holds secrets, nothing else reaches a command: `sbatch` hands what it
# has on to jobs.
_HANDED_ON = ("HOME", "LANG", "LOGNAME", "PATH", "SLURM_CONF", "SSH_AUTH_SOCK", "USER")
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a script ended, and what it said."""

    status: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode("utf-8", errors="replace")

    @property
    def complaint(self) -> str:
        """The errors as text."""
        return self.errors.decode("utf-8", errors="replace").strip()


class Transport(Protocol):
    """Runs shell scripts where Slurm's commands are."""

    def run(self, script: str, arguments: Sequence[str], *, seconds: float, given: bytes = b"") -> Outcome:
        """Run a script with these arguments and this input, to its end.

        Raises:
            EngineUnavailable: it could not be run, or took longer than `seconds`.
        """
        ...


class ShellTransport:
    """Runs scripts with the shell of this host, or of another to which `ssh` leads.

    Args:
        endpoint: the login node; None for this host.
        ssh: the program.
    """

    def __init__(self, endpoint: SshEndpoint | None, *, ssh: str = "ssh") -> None:
        self._endpoint = endpoint
        self._ssh = ssh

    def run(self, script: str, arguments: Sequence[str], *, seconds: float, given: bytes = b"") -> Outcome:
        """See `Transport`."""
        words = ["/bin/sh", "-c", script, "nodus", *arguments]
        if self._endpoint is not None:
            words = [*self._ssh_words(self._endpoint), " ".join(map(quote, words))]
        outcome = _run(words, given, seconds, _environment(os.environ))
        if self._endpoint is not None and outcome.status == _SSH_FAILED:
            raise EngineUnavailable("the cluster's login node cannot be reached with ssh")
        return outcome

    def _ssh_words(self, endpoint: SshEndpoint) -> list[str]:
        options = ["-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
        # A connection whose other side is gone ends by itself.
        options += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        if endpoint.port is not None:
            options += ["-p", str(endpoint.port)]
        return [self._ssh, *options, "--", endpoint.destination]


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": _USUAL_PATH, **{name: own[name] for name in _HANDED_ON if name in own}}


def _run(words: Sequence[str], given: bytes, seconds: float, environment: Mapping[str, str]) -> Outcome:
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except OSError as exc:
        raise EngineUnavailable(f"{words[0]} cannot be started on this host", never_sent=True) from exc
    try:
        output, errors = process.communicate(given, timeout=seconds)
    except subprocess.TimeoutExpired:
        _give_up(process)
        # Not chained: it would show the script with its arguments.
        raise EngineUnavailable(f"the cluster did not answer within {seconds:g} s") from None
    return Outcome(process.returncode, output, errors)


def _give_up(process: subprocess.Popen[bytes]) -> None:
    """End a script with everything that it started. What hangs in a file system is not waited for."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
