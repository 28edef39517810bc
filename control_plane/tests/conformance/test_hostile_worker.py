"""Two workers, three customers and an engine that is against them: what holds all the same, and what does for others.

Time is moved by the test; the workers' calls run in threads of their own, as they always do, so that no two runs are
alike in the order of what happens. What is checked does not depend on that.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Mapping

import pytest
from conformance.hostile import BROKEN, LYING, Deed, HostileDriver
from conformance.memory import Course, MemoryDriver, MemoryEngine, program_command
from entries import file_of, supplier
from patience import eventually
from sqlalchemy import func, select

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_control.dispatch.engine_identities import EngineIdentities
from nodus_control.dispatch.strays import DatabaseLife
from nodus_control.dispatch.sweeper import Sweeper
from nodus_control.dispatch.worker import Worker
from nodus_control.suppliers.conformance import Program
from nodus_control.suppliers.drivers import Drivers, Service
from nodus_control.suppliers.protocol import EngineUnavailable
from nodus_core.money import cost_micros
from nodus_core.spec import parse_spec
from nodus_ledger.database.rows import JOB_FIELDS, JobRecord
from nodus_ledger.database.schema import attempts, jobs, slots
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.keys import budgets
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.verification.verify import verify

GPUS = 4
RUNS_SECONDS = 20
STEP_SECONDS = 10
TROUBLED_ROUNDS = 30
"""How long the engine is hostile, and how long it then hangs in what it was asked."""

WAITED_FOR_SECONDS = 600.0
"""In real time: the bound of a test, which is never reached."""

BOTH_SUPPLIERS, ONE_SUPPLIER = "l40s", "a10g"
"""Models: of the second only the engine that is kind has any."""


class Siege:
    """A control plane of two suppliers, `mean` and `kind`, with two workers that each have drivers of their own."""

    def __init__(self, database_url: str, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self.seconds = 0.0
        self.engines = {name: MemoryEngine(self._now, gpus=GPUS, identity=name) for name in ("mean", "kind")}
        self.hostile: list[HostileDriver] = []
        suppliers = file_of(
            supplier("mean", {BOTH_SUPPLIERS: 1_000_000}, {BOTH_SUPPLIERS: GPUS}),
            supplier(
                "kind",
                {BOTH_SUPPLIERS: 2_000_000, ONE_SUPPLIER: 2_000_000},
                {BOTH_SUPPLIERS: GPUS // 2, ONE_SUPPLIER: GPUS // 2},
            ),
        )
        services = {
            name: Service("memory", lambda context, name=name: MemoryDriver(self.engines[name]))  # type: ignore[misc]
            for name in self.engines
        }
        self.plane = ControlPlane(database_url, clock=self.clock, suppliers=suppliers, services=services)
        self.owner = DatabaseLife(self.plane.settings.database_id(), self.plane.settings.incarnation())
        self.workers = [self._worker(seed * 10 + number) for number in range(2)]
        self.keys = [self._key(f"customer {number}") for number in range(3)]

    def _now(self) -> float:
        return self.clock.now() / 1000

    def _worker(self, seed: int) -> tuple[Worker, Sweeper, Drivers]:
        ours = (self.owner.database_id, self.owner.incarnation)
        mean, kind = (
            MemoryDriver(self.engines[name], database_id=ours[0], incarnation=ours[1]) for name in ("mean", "kind")
        )
        self.hostile.append(HostileDriver(mean, seed=seed, mood={}))
        drivers = Drivers({"mean": self.hostile[-1], "kind": kind})
        plane, identities = self.plane, EngineIdentities(self.plane.settings)
        # It has seen its engines once before they turn against it.
        assert all(identities.is_own(name, driver) for name, driver in drivers.one_of_each())
        claims = Claims(plane.database, plane.catalogue)
        real_time = lambda: 1e9 + self.seconds  # noqa: E731
        worker = Worker(
            plane.jobs,
            claims,
            drivers,
            self.clock.now,
            real_time,
            identities=identities,
            monotonic=lambda: self.seconds,
        )
        return worker, Sweeper(plane.jobs, drivers, identities, lambda: self.owner, self.clock.now), drivers

    def _key(self, customer: str) -> KeyRecord:
        minted = self.plane.keys.mint(customer_id=customer, label="", principal_kind=PrincipalKind.HUMAN, now=0)
        key = self.plane.keys.find(minted.api_key)
        assert key is not None
        return key

    def submit(self, count: int) -> None:
        """Submit so many jobs, of all customers and for both models; every fifth program fails."""
        for number in range(count):
            program = Program(prints=b"x", seconds=RUNS_SECONDS, exit_code=3 if number % 5 == 0 else 0)
            spec = {
                "image": "x",
                "gpu": ONE_SUPPLIER if number % 4 == 0 else BOTH_SUPPLIERS,
                "gpu_count": self.chance.choice((1, 1, 2)),
                "command": list(program_command(program)),
                "max_runtime_seconds": 3600,
            }
            self.plane.jobs.submit(self.keys[number % 3], parse_spec(spec), None, self.clock.now())

    def jobs(self) -> list[JobRecord]:
        """Read them all."""
        with self.plane.database.read() as connection:
            return [JobRecord(*row) for row in connection.execute(select(*JOB_FIELDS).order_by(jobs.c.seq))]

    def round(self, number: int) -> None:
        """Let both workers work, and time pass; cancel something now and then, and sweep."""
        for worker, sweeper, drivers in self.workers:
            for _ in range(3):
                if not worker.run_batch():
                    break
            if number % 6 == 0:
                for name, driver in drivers.one_of_each():
                    if driver not in self.hostile or not self._may_hang():
                        with contextlib.suppress(EngineUnavailable, RuntimeError):
                            sweeper.sweep(name, driver)
        if number % 10 == 5:
            job = self.chance.choice(self.jobs())
            key = next(key for key in self.keys if key.id == job.key_id)
            self.plane.jobs.request_cancel(key, job.id, self.clock.now())
        self.clock.advance_to(self.clock.now() + STEP_SECONDS * 1000)
        self.seconds += STEP_SECONDS

    def _may_hang(self) -> bool:
        return any(Deed.HANG in driver.mood for driver in self.hostile)

    def go_through(self, mood: Mapping[Deed, float]) -> None:
        """Have the engine hostile for a while, and calm afterwards, until every job has ended and nothing is held."""
        for driver in self.hostile:
            driver.mood = dict(mood)
        for number in range(TROUBLED_ROUNDS):
            self.round(number)
        for driver in self.hostile:
            driver.calm()
        number, until = 0, time.monotonic() + WAITED_FOR_SECONDS
        while self.is_anything_left():
            assert time.monotonic() < until, [job for job in self.jobs() if not job.is_terminal]
            self.round(number := number + 1)

    def is_anything_left(self) -> bool:
        """Whether a job has not ended, or something is held."""
        with self.plane.database.read() as connection:
            held = connection.execute(select(func.count()).where(slots.c.job_id.is_not(None))).scalar_one()
        return bool(held) or not all(job.is_terminal for job in self.jobs())

    def close(self) -> None:
        """End it."""
        for driver in self.hostile:
            driver.calm()
        for worker, _, _ in self.workers:
            worker.close()
        eventually(lambda: not any(each.name in ("nodus-mean", "nodus-kind") for each in threading.enumerate()))
        self.plane.close()

    def courses(self, job_id: str) -> list[Course]:
        """Return what became of the programs of a job that began, on both engines."""
        made = [each for engine in self.engines.values() for each in engine.made if each.placement.job_id == job_id]
        return [course for each in made if (course := each.course(self._now())).begun_at is not None]

    def require_truth(self) -> None:
        """Check what holds whatever an engine says."""
        ended = self.jobs()
        realised = dict.fromkeys([key.id for key in self.keys], 0)
        for job in ended:
            assert job.finished_at is not None
            assert job.cost is not None
            assert job.cost == cost_micros(job.rate or 0, job.gpu_count, job.duration_ms or 0)
            assert job.created_at <= (job.started_at or job.finished_at) <= job.finished_at <= self.clock.now()
            assert 0 <= (job.duration_ms or 0) <= job.finished_at - (job.placed_at or job.finished_at)
            realised[job.key_id] += job.cost
        with self.plane.database.read() as connection:
            figures = {key.id: budgets.figures(connection, key.id, self.clock.now()) for key in self.keys}
            open_attempts = select(func.count()).where(attempts.c.outcome.is_(None))
            assert connection.execute(open_attempts).scalar_one() == 0
        assert {key: (each.realised, each.in_flight) for key, each in figures.items()} == {
            key: (total, 0) for key, total in realised.items()
        }
        begun = [
            (each.placement.job_id, each.placement.attempt)
            for engine in self.engines.values()
            for each in engine.made
            if each.course(self._now()).begun_at is not None
        ]
        assert len(begun) == len(set(begun))
        report = verify(self.plane.database)
        assert report.is_sound, report

    def require_kindness(self) -> None:
        """Check that what another engine did to others cost these jobs nothing."""
        for job in self.jobs():
            if job.gpu == ONE_SUPPLIER and job.status != "cancelled":
                (course,) = self.courses(job.id)
                assert course.code == (3 if job.status == "failed" else 0)
                assert (job.attempt, job.duration_ms) == (1, RUNS_SECONDS * 1000)

    def require_single_runs(self) -> None:
        """Check that each job ran once, was billed for exactly that, and shared its GPUs with nobody."""
        for job in self.jobs():
            courses = self.courses(job.id)
            assert len(courses) <= 1
            if job.status != "cancelled":
                (course,) = courses
                assert (job.status, course.code) in (("completed", 0), ("failed", 3))
                assert abs((job.duration_ms or 0) - RUNS_SECONDS * 1000) <= 1
        for engine in self.engines.values():
            uses = sorted(
                (course.begun_at, course.ended_at or self._now(), each.workload.gpu, index)
                for each in engine.made
                if (course := each.course(self._now())).begun_at is not None
                for index in each.placement.gpu_indices
            )
            last: dict[tuple[str, int], float] = {}
            for begun_at, ended_at, gpu, index in uses:
                assert last.get((gpu, index), 0.0) <= begun_at
                last[gpu, index] = ended_at


FORGETFUL = {**BROKEN, Deed.FULL: 0.05}
HANGING = {**FORGETFUL, Deed.HANG: 0.03}
MOODS = {"broken": FORGETFUL, "hanging": HANGING, "lying": LYING}


def besiege(database_url: str, seed: int, mood: str, count: int) -> None:
    """Let an engine loose on so many jobs."""
    siege = Siege(database_url, seed)
    try:
        siege.submit(count)
        siege.go_through(MOODS[mood])
        siege.require_truth()
        siege.require_kindness()
        if mood != "lying":
            siege.require_single_runs()
    finally:
        siege.close()


@pytest.mark.both_engines
@pytest.mark.parametrize("mood", MOODS)
def test_a_hostile_engine_harms_neither_the_books_nor_others(database_url: str, mood: str) -> None:
    """Every job ends, no attempt begins twice, all that was held is free, and what is billed is what was recorded."""
    besiege(database_url, 1, mood, 24)


@pytest.mark.soak
@pytest.mark.both_engines
@pytest.mark.timeout(WAITED_FOR_SECONDS * 2)
@pytest.mark.parametrize("mood", MOODS)
@pytest.mark.parametrize("seed", range(5))
def test_it_harms_neither_for_long(database_url: str, mood: str, seed: int) -> None:
    """With many jobs, and other deeds each time."""
    besiege(database_url, 100 + seed, mood, 300)
