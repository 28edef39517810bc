"""Run nox sessions, one more at once than there are cores: tests wait for much of their time.

What runs beside others keeps its output to itself, and it is shown whole when the session ends; one that runs alone
writes straight to the terminal.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

EXIT_INTERRUPTED = 130
_WORDS = {"success": "passed"}


@dataclass(frozen=True)
class Ending:
    """How a session ended: its name, nox's exit status, and the result in one word."""

    name: str
    status: int
    result: str


@dataclass
class Programs:
    """Children that run now, which a signal to this process has to reach."""

    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    interrupted: bool = False
    terminated: bool = False

    def add(self, child: subprocess.Popen[bytes]) -> None:
        """Take one that has just been started, perhaps while the signal came."""
        self.running.append(child)
        if self.terminated:
            child.terminate()

    @contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """After Ctrl-C or a SIGTERM, start no more; hand the latter on to those that run.

        Nothing is raised meanwhile: wherever the signal comes, those that run are waited for.
        """
        handlers = {signal.SIGTERM: self._terminate}
        # Whoever was started in the background of a shell finds it ignored, and leaves it so.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            handlers[signal.SIGINT] = self._interrupt
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, *_: object) -> None:
        self.interrupted = True

    def _terminate(self, *_: object) -> None:
        self.interrupted = self.terminated = True
        for child in list(self.running):
            child.terminate()


def find(nox: Sequence[str], environment: dict[str, str], folder: Path, tags: Iterable[str]) -> list[str]:
    """The names of the sessions that have one of the tags, in the order of the noxfile."""
    done = subprocess.run(
        [*nox, "--list", "--json", "--tags", *tags], cwd=folder, env=environment, stdout=subprocess.PIPE, check=True
    )
    return [session["session"] for session in json.loads(done.stdout)]


def run(
    nox: Sequence[str],
    environment: dict[str, str],
    folder: Path,
    names: Sequence[str],
    arguments: Sequence[str] = (),
    *,
    at_once: int | None = None,
) -> list[Ending]:
    """Run sessions to their ends; return these in the order of `names`.

    Ctrl-C reaches the sessions by itself, since they are in the same process group: each is left the time to clean up,
    and none is started after it.

    Args:
        nox: the command that starts nox.
        environment: its environment variables.
        folder: where to run it.
        names: the sessions.
        arguments: what to hand on to them.
        at_once: how many run side by side; by default, one more than this process has cores.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once every session that had started is over.
    """
    lanes = min(len(names), at_once or cores() + 1)
    endings: dict[str, Ending] = {}
    waiting = list(names)
    over: queue.Queue[Ending] = queue.Queue()
    programs = Programs()
    with programs.ended_by_signals(), tempfile.TemporaryDirectory(prefix="nodus-") as scratch:
        runner = _Runner(nox, environment, folder, arguments, Path(scratch), programs, shares_terminal=lanes > 1)
        under_way = 0
        while under_way or (waiting and not programs.interrupted):
            while waiting and under_way < lanes and not programs.interrupted:
                runner.start(waiting.pop(0), over)
                under_way += 1
            ending = _next(over)
            under_way -= 1
            endings[ending.name] = ending
            runner.show(ending)
    if programs.interrupted:
        raise KeyboardInterrupt
    return [endings[name] for name in names]


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """How many cores this process may use: a container may have fewer than the machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        usable = min(usable, round(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no limit, or none that is known
    return max(usable, 1)


def summary(title: str, endings: Sequence[Ending]) -> str:
    """One line: `test: tests-3.10 passed, tests-3.11 skipped, …`."""
    results = [f"{ending.name} {_WORDS.get(ending.result, ending.result)}" for ending in endings]
    return f"{title}: {', '.join(results) or 'nothing ran'}"


def _next(over: queue.Queue[Ending]) -> Ending:
    """Wait for the end of a session, in short waits: a signal just before one begins is acted on only when it ends."""
    while True:
        with suppress(queue.Empty):
            return over.get(timeout=1)


class _Runner:
    def __init__(
        self,
        nox: Sequence[str],
        environment: dict[str, str],
        folder: Path,
        arguments: Sequence[str],
        scratch: Path,
        programs: Programs,
        *,
        shares_terminal: bool,
    ) -> None:
        self._nox = nox
        self._environment = environment
        self._folder = folder
        self._rest = ["--", *arguments] if arguments else []
        self._scratch = scratch
        self._programs = programs
        self._shares_terminal = shares_terminal

    def start(self, name: str, over: queue.Queue[Ending]) -> None:
        """Start a session; its end goes into the queue."""
        command = [*self._nox, "--sessions", name, "--report", str(self._report(name)), *self._rest]
        output: IO[bytes] | None = None
        if self._shares_terminal:
            print(f"{name}: started", flush=True)
            output = self._output(name).open("wb")
        child = subprocess.Popen(
            command, cwd=self._folder, env=self._environment, stdout=output, stderr=output and subprocess.STDOUT
        )
        if output is not None:
            output.close()
        self._programs.add(child)
        threading.Thread(target=self._await, args=(child, name, over), daemon=True).start()

    def show(self, ending: Ending) -> None:
        """Print what a session that did not have the terminal has to say."""
        if self._shares_terminal:
            text = self._output(ending.name).read_text(encoding="utf-8", errors="replace")
            sys.stdout.write(f"\n{ending.name}: {_WORDS.get(ending.result, ending.result)}\n{text.rstrip()}\n\n")
            sys.stdout.flush()

    def _await(self, child: subprocess.Popen[bytes], name: str, over: queue.Queue[Ending]) -> None:
        status = child.wait()
        self._programs.running.remove(child)
        over.put(Ending(name, status, self._result(name, status)))

    def _result(self, name: str, status: int) -> str:
        report = self._report(name)
        if not report.exists():
            return "failed" if status else "success"
        sessions: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["sessions"]
        # nox reports what a session requires before the session itself.
        return str(sessions[-1]["result"]) if sessions else "failed"

    def _report(self, name: str) -> Path:
        return self._scratch / f"{name}.json"

    def _output(self, name: str) -> Path:
        return self._scratch / f"{name}.txt"
