"""A control plane in a process of its own, that dies where it is told to and is started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from crashes.tripwire import Tripwire
from patience import eventually
from typing_extensions import Self


class Died(Exception):
    """The process is no more."""


class Victim:
    """A playground on one database, as fast as it goes: API, worker and webhooks in one process, killed time and again.

    Attributes:
        tripwire: where it is to die.
        base_url, api_key, agent_api_key, agent_signing_secret: as its ready file says, once it was started.
    """

    def __init__(self, directory: Path, database_url: str, *, seed: int, driver: str = "simulated") -> None:
        self._directory = directory
        self._options = ["--port", "0", "--no-browser", "--db", database_url, "--driver", driver, "--seed", str(seed)]
        if driver == "simulated":
            self._options += ["--speed", "instant"]
        self._ready = directory / "ready.json"
        self._log = directory / "log.txt"
        self.tripwire = Tripwire(directory / "tripwire")
        self._pid: int | None = None
        self._starter = subprocess.Popen(
            [sys.executable, "-m", "crashes.forking"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.base_url = self.api_key = self.agent_api_key = self.agent_signing_secret = ""

    @property
    def log(self) -> str:
        """All that it ever printed."""
        return self._log.read_text(encoding="utf-8")

    @property
    def is_alive(self) -> bool:
        """Whether it runs. A process that has ended is one until it is waited for, so look closer."""
        if self._pid is None:
            return False
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True

    def start(self, *, dies_at: int = 0) -> None:
        """Start it; back once it answers.

        Raises:
            Died: it got to the point where it was to die before that.
        """
        self._ready.unlink(missing_ok=True)
        self.tripwire.set(dies_at)
        order = {
            "command": "playground",
            "arguments": [*self._options, "--ready-file", str(self._ready)],
            "tripwire": str(self._directory / "tripwire"),
            "log": str(self._log),
        }
        self._tell(json.dumps(order))
        self._pid = int(self._hear())
        eventually(lambda: self._ready.exists() or not self.is_alive)
        if not self._ready.exists():
            raise Died
        ready = json.loads(self._ready.read_text())
        for name in ("base_url", "api_key", "agent_api_key", "agent_signing_secret"):
            setattr(self, name, ready[name])

    def end(self, how: signal.Signals | None = None) -> int:
        """Send a signal, if any, and wait for its end; return the exit status."""
        assert self._pid is not None
        if how is not None:
            os.kill(self._pid, how)
        status = int(self._hear())
        self._pid = None
        return status

    def _tell(self, line: str) -> None:
        assert self._starter.stdin is not None
        self._starter.stdin.write(line + "\n")
        self._starter.stdin.flush()

    def _hear(self) -> str:
        assert self._starter.stdout is not None
        return self._starter.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pid is not None:
            self.end(signal.SIGKILL)
        self._starter.communicate()
