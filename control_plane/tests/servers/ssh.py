"""A real server of ssh on loopback, into which one key logs in."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from patience import PATIENCE_SECONDS

from .process import LocalServer


class SshServer(LocalServer):
    """A server of ssh, of this user.

    Args:
        program: `sshd`.
    """

    def __init__(self, program: Path) -> None:
        super().__init__(may_be_root=True)
        self._program = program
        for name in ("host", "user"):
            key = self._folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._process.port

    @property
    def user(self) -> str:
        """Who logs in."""
        return getpass.getuser()

    def client(self) -> Path:
        """Return a program that is `ssh` with the key, and knows the server."""
        program = self._folder / "ssh"
        known, host = self._folder / "known", (self._folder / "host.pub").read_text()
        known.write_text(f"[127.0.0.1]:{self.port} {host}")
        program.write_text(
            f'#!/bin/sh\nexec ssh -F /dev/null -i {self._folder}/user -o UserKnownHostsFile={known} "$@"\n'
        )
        program.chmod(0o700)
        return program

    def _command(self, port: int) -> Sequence[str | Path]:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        settings = {
            "Port": port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self._folder / "host",
            "AuthorizedKeysFile": self._folder / "user.pub",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
        }
        configuration = self._folder / "sshd_config"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return [self._program, "-D", "-e", "-f", configuration]

    def _is_ready(self, port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as probe:
            return probe.recv(4) == b"SSH-"
        return False
