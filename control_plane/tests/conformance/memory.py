"""An engine in memory, on a clock that moves when it is told to, and an honest driver for it.

What a container does is a function of the time: nothing runs in the background, and nothing is ever late. Its commands
are `program_command(Program(...))`.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from nodus_control.suppliers.conformance import Program
from nodus_control.suppliers.protocol import (
    CapacityRefused,
    EngineUnavailable,
    Found,
    LogChunk,
    Placement,
    PlacementState,
    Report,
    SubmissionRefused,
    Workload,
    always,
)

GRACE_SECONDS = 5.0
WORD = "program"


def program_command(program: Program) -> tuple[str, ...]:
    """Return a program as a command of this engine."""
    document = {
        "prints": program.prints.decode("latin-1"),
        "times": program.times,
        "complains": program.complains.decode("latin-1"),
        "shows": program.shows,
        "seconds": program.seconds,
        "exit_code": 137 if program.kills_itself else program.exit_code,
        "ignores_term": program.ignores_term,
    }
    return WORD, json.dumps(document), *program.arguments


class MovedClock:
    """A clock for tests: it stands still until it is moved."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Unix seconds."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Move it."""
        with self._lock:
            self._now += seconds


class Course(NamedTuple):
    """What has become of a container by now. Unix seconds; `code` is None where it was not its program that ended."""

    begun_at: float | None
    ended_at: float | None
    code: int | None = None
    reason: str | None = None


@dataclass
class Container:
    """Something that the engine holds."""

    id: str
    name: str
    placement: Placement
    workload: Workload = field(repr=False)
    owner: tuple[str, str]
    created_at: float
    program: Program | None
    gpus_given: tuple[int, ...]
    start_calls: int = 0
    starts_at: float | None = None
    stop_asked_at: float | None = None

    def course(self, now: float) -> Course:
        """Say how far it is."""
        if self.starts_at is None or (self.stop_asked_at is not None and self.stop_asked_at < self.starts_at):
            return Course(None, self.stop_asked_at, reason="stopped")
        if now < self.starts_at:
            return Course(None, None)
        if self.program is None:
            return Course(self.starts_at, self.starts_at, 127, "exited")
        ends = [
            (self.starts_at + self.program.seconds, "exited"),
            (self.starts_at + self.workload.max_runtime_seconds, "limit"),
        ]
        if self.stop_asked_at is not None:
            grace = GRACE_SECONDS if self.program.ignores_term else 0.0
            ends.append((max(self.stop_asked_at, self.starts_at) + grace, "stopped"))
        ended_at, reason = min(ends)
        if now < ended_at:
            return Course(self.starts_at, None)
        return Course(self.starts_at, ended_at, self.program.exit_code if reason == "exited" else None, reason)

    def output(self, now: float) -> bytes:
        """Return what its program has printed."""
        if self.program is None or self.course(now).begun_at is None:
            return b""
        return self.program.output(dict(self.workload.env))


class MemoryEngine:
    """Containers by name, which no two of them share. As with real ones, GPUs that are not there are left out silently.

    Args:
        now: what time it is.
        gpus: how many there are.
    """

    def __init__(self, now: Callable[[], float], *, gpus: int = 8, identity: str = "memory") -> None:
        self.now = now
        self.gpus = gpus
        self.identity = identity
        self.start_delay = 0.0
        self.is_up = True
        self.made: list[Container] = []
        """Every container that there ever was, also those that were removed."""
        self._held: dict[str, Container] = {}
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def require_up(self) -> None:
        """Be there, or not."""
        if not self.is_up:
            raise EngineUnavailable("the engine does not answer")

    def create(self, name: str, placement: Placement, workload: Workload, owner: tuple[str, str]) -> Container | None:
        """Make a container; None where there is one of that name."""
        self.require_up()
        given = tuple(index for index in placement.gpu_indices if index < self.gpus)
        with self._lock:
            if name in self._held:
                return None
            made = Container(
                f"id-{next(self._ids)}", name, placement, workload, owner, self.now(), _parse(workload), given
            )
            self._held[name] = made
            self.made.append(made)
            return made

    def start(self, container: Container) -> None:
        """Start it, unless it was started before."""
        self.require_up()
        with self._lock:
            container.start_calls += 1
            if container.starts_at is None and container.name in self._held:
                container.starts_at = self.now() + self.start_delay

    def get(self, reference: str) -> Container | None:
        """Look one up by its id."""
        return next((each for each in self.held() if each.id == reference), None)

    def find(self, name: str) -> Container | None:
        """Look one up by its name."""
        self.require_up()
        with self._lock:
            return self._held.get(name)

    def held(self) -> list[Container]:
        """List all."""
        self.require_up()
        with self._lock:
            return list(self._held.values())

    def stop(self, container: Container) -> None:
        """Ask its program to end, and see to it."""
        self.require_up()
        with self._lock:
            if container.stop_asked_at is None and container.course(self.now()).ended_at is None:
                container.stop_asked_at = self.now()

    def remove(self, container: Container) -> None:
        """Remove it, and end it."""
        self.require_up()
        with self._lock:
            if container.stop_asked_at is None:
                container.stop_asked_at = self.now()
            self._held.pop(container.name, None)

    def lose(self, container: Container) -> None:
        """Know nothing of it any more, while its program goes on."""
        with self._lock:
            self._held.pop(container.name, None)

    def times_begun(self, job_id: str, attempt: int) -> int:
        """Count the programs of a placement that have begun."""
        return sum(
            each.course(self.now()).begun_at is not None
            for each in list(self.made)
            if (each.placement.job_id, each.placement.attempt) == (job_id, attempt)
        )


class MemoryDriver:
    """An honest driver for it."""

    def __init__(self, engine: MemoryEngine, *, database_id: str = "db", incarnation: str = "first") -> None:
        self.engine = engine
        self.owner = (database_id, incarnation)

    @property
    def name(self) -> str:
        """`memory`."""
        return "memory"

    @property
    def runs_commands(self) -> bool:
        """Yes."""
        return True

    def identity(self) -> str | None:
        """Return the engine's."""
        self.engine.require_up()
        return self.engine.identity

    def submit(self, placement: Placement, workload: Workload, now: float, holds: Callable[[], bool] = always) -> None:
        """Create, then start: only the claim's holder does the second."""
        if not workload.command:
            raise SubmissionRefused("command_required", "this engine runs commands")
        name = self.name_of(placement)
        found = self.engine.create(name, placement, workload, self.owner) or self.engine.find(name)
        if found is None or found.starts_at is not None or found.stop_asked_at is not None:
            return
        if not self.has_its_gpus(found):
            self.engine.remove(found)
            raise CapacityRefused("the engine does not have these GPUs")
        if not self.may_start(holds):
            if found.starts_at is None:
                self.engine.remove(found)
            raise EngineUnavailable("another worker has taken over the placement", never_sent=True)
        self.engine.start(found)

    def poll(self, placement: Placement, workload: Workload, now: float) -> Report:
        """Look at the container."""
        found = self.locate(placement)
        if found is None:
            return self.report_missing(placement)
        return self.report(found, now)

    def cancel(self, placement: Placement, now: float) -> None:
        """Stop the container, if there is one."""
        found = self.locate(placement)
        if found is not None:
            self.engine.stop(found)

    def logs(self, placement: Placement, offset: int, limit: int) -> LogChunk:
        """Read from what was printed."""
        found = self.locate(placement)
        if found is None:
            return LogChunk(b"", offset, 0, complete=True)
        data = self.printed(found)
        return LogChunk(data[offset : offset + limit], offset, len(data), self.is_all(found, offset + limit, len(data)))

    def forget(self, placement: Placement) -> None:
        """Remove the container, if it has ended."""
        found = self.locate(placement)
        if found is not None and found.course(self.engine.now()).ended_at is not None:
            self.engine.remove(found)

    def list_placements(self) -> Sequence[Found]:
        """List the containers."""
        return [self.describe(each) for each in self.engine.held()]

    # The rest is where a test can have it do something else.

    def name_of(self, placement: Placement) -> str:
        """Return the name of a placement's container."""
        return f"nodus-{self.owner[0]}-{placement.job_id}-{placement.attempt}"

    def has_its_gpus(self, container: Container) -> bool:
        """Whether the engine gave what it was asked for."""
        return container.gpus_given == container.placement.gpu_indices

    def may_start(self, holds: Callable[[], bool]) -> bool:
        """Whether the claim holds."""
        return holds()

    def locate(self, placement: Placement) -> Container | None:
        """Find the container; by the reference only where the name is right."""
        name = self.name_of(placement)
        if placement.engine_ref is not None:
            found = self.engine.get(placement.engine_ref)
            if found is not None and found.name == name:
                return found
        return self.engine.find(name)

    def report_missing(self, placement: Placement) -> Report:
        """Say what it means that there is no container."""
        state = PlacementState.NOT_STARTED if placement.started_at is None else PlacementState.LOST
        return Report(state, placement.started_at, self.engine.now())

    def report(self, container: Container, now: float) -> Report:
        """Say how far a container is."""
        course = container.course(self.engine.now())
        if course.ended_at is None:
            if course.begun_at is None:
                return Report(PlacementState.PROVISIONING, phase="waiting_in_engine", engine_ref=container.id)
            return Report(PlacementState.RUNNING, course.begun_at, engine_ref=container.id)
        if course.reason == "stopped":
            state = PlacementState.CANCELLED
            return Report(state, course.begun_at, course.ended_at, engine_ref=container.id)
        if course.reason == "limit":
            code, message = "max_runtime_exceeded", "the program was ended at its limit"
        elif course.code == 0:
            return Report(PlacementState.COMPLETED, course.begun_at, course.ended_at, engine_ref=container.id)
        else:
            code, message = "nonzero_exit", f"the program exited with code {course.code}"
        return Report(PlacementState.FAILED, course.begun_at, course.ended_at, code, message, engine_ref=container.id)

    def printed(self, container: Container) -> bytes:
        """Return a container's output."""
        return container.output(self.engine.now())

    def is_all(self, container: Container, read: int, total: int) -> bool:
        """Whether nothing more will come after so many bytes."""
        return container.course(self.engine.now()).ended_at is not None and read >= total

    def describe(self, container: Container) -> Found:
        """Say what a container is."""
        course = container.course(self.engine.now())
        is_running = course.begun_at is not None and course.ended_at is None
        placement = container.placement
        return Found(placement.job_id, placement.attempt, *container.owner, container.created_at, is_running)


def _parse(workload: Workload) -> Program | None:
    """Return the program that a command is; None where there is no such program."""
    command = workload.command or ("", "")
    if command[0] != WORD:
        return None
    document = json.loads(command[1])
    return Program(
        prints=document["prints"].encode("latin-1"),
        times=document["times"],
        complains=document["complains"].encode("latin-1"),
        shows=tuple(document["shows"]),
        arguments=command[2:],
        seconds=document["seconds"],
        exit_code=document["exit_code"],
        ignores_term=document["ignores_term"],
    )
