"""`nodus-control` as processes of their own, on a database that they share with the test."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import forked
import httpx
from patience import PATIENCE_SECONDS, eventually
from supplier_files import SIMULATIONS
from typing_extensions import Self

from nodus_ledger.database.sealing import KEY_VARIABLE

_PROGRAM = "from nodus_control.cli import main; main()"
Process = subprocess.Popen[bytes] | forked.Program


def _with_suppliers(options: Sequence[str]) -> Sequence[str]:
    return options if "--suppliers" in options else (*SIMULATIONS, *options)


def _without_limit(options: Sequence[str]) -> Sequence[str]:
    """Let tests ask as often as they have to: the longer a machine takes, the more often that is."""
    return _with_suppliers(options if "--rate-limit" in options else ("--rate-limit", "off", *options))


def _in_a_file(path: Path, secret: str) -> str:
    """Give a setting as operators are told to, where commands run as the same user."""
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n")
    return f"file:{path}"


def post(client: httpx.Client, path: str, content: object = None) -> httpx.Response:
    """Post, and come again where the database is busy for longer than it lets others wait: nothing was done then."""
    while (answer := client.post(path, json=content)).status_code == 503:
        pass
    return answer


class Hosted:
    """Starts `nodus-control serve` and `worker` on one database; ends by a signal what is left of them."""

    def __init__(
        self, database_url: str, directory: Path, *, state: Path | None = None, is_executed: bool = False
    ) -> None:
        """Their output goes into `directory`, and what they remember too, unless `state` is where.

        They are started by forking, unless `is_executed`: for tests that look at processes from outside.
        """
        remembered = str(state or directory)
        self._environment = {
            **os.environ,
            "NODUS_DATABASE_URL": _in_a_file(directory / "hosted-database", database_url),
            "XDG_STATE_HOME": remembered,
        }
        if key := os.environ.get(KEY_VARIABLE):
            self._environment[KEY_VARIABLE] = _in_a_file(directory / "hosted-key", key)
        self._directory = directory
        self._is_executed = is_executed
        self.processes: list[Process] = []

    def serve(self, *options: str) -> str:
        """Start answering requests on a free port; return where."""
        process, output = self._start("serve", "--port", "0", *_without_limit(options))
        return self._until(process, output, r"serving (http://\S+)\n")

    def serve_all(self, count: int) -> list[str]:
        """Start several that answer, side by side; return where."""
        started = [self._start("serve", "--port", "0", *_without_limit(())) for _ in range(count)]
        return [self._until(process, output, r"serving (http://\S+)\n") for process, output in started]

    def work(self, *options: str, program: str = _PROGRAM, environment: Mapping[str, str] | None = None) -> Process:
        """Start a worker; `program` may be another one that runs `nodus-control`, `environment` has more variables."""
        process, output = self._start("worker", *_with_suppliers(options), program=program, environment=environment)
        self._until(process, output, r"(working)\n")
        return process

    def fail(self, *arguments: str) -> tuple[int, str]:
        """Run a command that does not start; return its exit status, and what it printed."""
        process, output = self._start(*arguments)
        self.processes.remove(process)
        try:
            return process.wait(PATIENCE_SECONDS), output.read_text()
        finally:
            process.kill()

    def output(self) -> str:
        """Return what they all printed."""
        return "\n".join(file.read_text() for file in sorted(self._directory.glob("hosted-*.txt")))

    def stop(self) -> list[int]:
        """End them all with a signal; give their exit statuses."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        return [process.wait(PATIENCE_SECONDS) for process in self.processes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            for process in self.processes:
                process.kill()

    def _start(
        self, *arguments: str, program: str = _PROGRAM, environment: Mapping[str, str] | None = None
    ) -> tuple[Process, Path]:
        path = self._directory / f"hosted-{len(self.processes)}.txt"
        variables = {**self._environment, **(environment or {})}
        process: Process
        with path.open("ab") as file:
            if self._is_executed:
                command = [sys.executable, "-u", "-c", program, *arguments]
                process = subprocess.Popen(command, env=variables, stdout=file, stderr=subprocess.STDOUT)
            elif program == _PROGRAM:
                process = forked.start("control", *arguments, stdout=file, stderr=file, env=variables)
            else:
                process = forked.start("code", program, *arguments, stdout=file, stderr=file, env=variables)
        self.processes.append(process)
        return process, path

    def _until(self, process: Process, output: Path, pattern: str) -> str:
        eventually(lambda: process.poll() is not None or re.search(pattern, output.read_text()) is not None)
        found = re.search(pattern, output.read_text())
        assert found is not None, output.read_text()
        return found.group(1)
