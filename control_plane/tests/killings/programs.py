"""What the jobs of a campaign run: programs of many lengths, each of which leaves marks that nobody can lose."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from patience import PATIENCE_SECONDS
from typing_extensions import Self

BEGIN, END = "begin", "end"


@dataclass(frozen=True, slots=True)
class Program:
    """One program.

    Attributes:
        seconds: how long it takes.
        status: what it exits with.
        lines: how many numbers it prints.
        gpu_count: how many GPUs it asks for.
        is_cancelled: its customer cancels it at some time.
    """

    number: int
    seconds: float
    status: int
    lines: int
    gpu_count: int
    is_cancelled: bool

    def script(self, mark: Callable[[str], str]) -> str:
        """Return it, as a shell runs it; `mark` gives the command that leaves a mark."""
        work = f"echo program {self.number}; seq 1 {self.lines}; sleep {self.seconds:.2f}"
        return f"{mark(BEGIN)}; {work}; {mark(END)}; exit {self.status}"

    @property
    def output(self) -> bytes:
        """What it prints."""
        return b"".join([b"program %d\n" % self.number, *(b"%d\n" % number for number in range(1, self.lines + 1))])


def make_programs(chance: random.Random, count: int, gpu_counts: tuple[int, ...], longest: float) -> list[Program]:
    """Choose programs, most of them short; of six one is long, of eight one fails, of eight one prints a lot."""
    return [
        Program(
            number,
            seconds=chance.uniform(longest / 3, longest) if chance.random() < 1 / 6 else chance.uniform(0.2, 3.0),
            status=chance.choice([0] * 7 + [7]),
            lines=chance.choice([1] * 7 + [50_000]),
            gpu_count=chance.choice(gpu_counts),
            is_cancelled=chance.random() < 1 / 16,
        )
        for number in range(count)
    ]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a program left: `BEGIN` or `END`, of which attempt, and what else it said."""

    word: str
    job_id: str
    attempt: int
    rest: tuple[str, ...] = ()


class Witness(Protocol):
    """Takes the marks of programs, past everything that is killed."""

    def mark(self, word: str) -> str:
        """Return the shell's command that leaves a mark."""
        ...

    def marks(self) -> list[Mark]:
        """Return those that were left so far."""
        ...


class FileWitness:
    """A file that programs append to, with whatever a variable holds."""

    def __init__(self, path: Path, *variables: str) -> None:
        self._path = path
        self._variables = variables
        path.touch()

    def mark(self, word: str) -> str:
        """Return the shell's command that leaves a mark."""
        words = " ".join([word, *(f"${name}" for name in ("NODUS_JOB_ID", "NODUS_ATTEMPT", *self._variables))])
        return f"echo \"{words}\" >>'{self._path}'"

    def marks(self) -> list[Mark]:
        """Return those that were left so far."""
        return [_read(line) for line in self._path.read_text().splitlines()]


class NetworkWitness:
    """A listener on loopback, for programs that share the host's network and nothing else. `with` ends it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def mark(self, word: str) -> str:
        """Return the shell's command that leaves a mark."""
        return f'echo "{word} $NODUS_JOB_ID $NODUS_ATTEMPT" | nc 127.0.0.1 {self._listener.getsockname()[1]}'

    def marks(self) -> list[Mark]:
        """Return those that were left so far."""
        return [_read(line) for line in self._lines]

    def _listen(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(PATIENCE_SECONDS)
                said = b""
                # Whoever is killed in the midst of it may have said nothing yet.
                with contextlib.suppress(OSError):
                    while not said.endswith(b"\n") and (more := connection.recv(1024)):
                        said += more
            if said == b"stop\n":
                return
            if said.endswith(b"\n"):
                self._lines.append(said.decode().strip())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with socket.create_connection(self._listener.getsockname(), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(b"stop\n")
        self._thread.join()
        self._listener.close()


def _read(line: str) -> Mark:
    word, job_id, attempt, *rest = line.split(" ")
    return Mark(word, job_id, int(attempt), tuple(rest))
