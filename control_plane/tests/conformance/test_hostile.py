"""The hostile engine: what it does follows from its seed, all of it happens, and after it the truth is told."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable

import pytest
from conformance.hostile import BROKEN, HANGING, LYING, Deed, HostileDriver
from conformance.memory import MemoryDriver, MemoryEngine, MovedClock, program_command
from patience import eventually

from nodus_control.suppliers.conformance import Program
from nodus_control.suppliers.protocol import (
    CapacityRefused,
    EngineUnavailable,
    Placement,
    PlacementState,
    Report,
    Workload,
)

ENDINGS = {0: PlacementState.COMPLETED, 5: PlacementState.FAILED}
TROUBLE = (EngineUnavailable, CapacityRefused, RuntimeError)


class Bench:
    """A clock, an engine, and a hostile driver for it."""

    def __init__(self, seed: int, mood: dict[Deed, float]) -> None:
        self.clock = MovedClock()
        self.engine = MemoryEngine(self.clock.now)
        self.driver = HostileDriver(MemoryDriver(self.engine), seed=seed, mood=mood)

    def placement(self, number: int) -> Placement:
        """Return the placement of that number."""
        return Placement(f"job-{number}", 1, "supplier", "region", self.clock.now(), gpu_indices=(0,))

    def workload(self, number: int) -> Workload:
        """Return a program that runs for 20 s and ends as its number says."""
        program = Program(prints=b"x", seconds=20, exit_code=list(ENDINGS)[number % 2])
        return Workload("image", "h100", 1, 3600, program_command(program), {})

    def persist(self, call: Callable[[], object]) -> None:
        """Call until it succeeds, as a worker does."""
        for _ in range(1000):
            with contextlib.suppress(*TROUBLE):
                call()
                return
            self.clock.advance(0.1)
        raise AssertionError("a call never succeeds")

    def trouble(self, count: int) -> dict[int, list[str]]:
        """Submit and poll so many placements; return what came of each call."""
        told: dict[int, list[str]] = {}
        for number in range(count):
            placement, workload = self.placement(number), self.workload(number)
            self.persist(lambda p=placement, w=workload: self.driver.submit(p, w, self.clock.now()))  # type: ignore[misc]
            for _ in range(20):
                try:
                    said = repr(self.driver.poll(placement, workload, self.clock.now()))
                except TROUBLE as exc:
                    said = repr(exc)
                told.setdefault(number, []).append(said)
                self.clock.advance(0.1)
        return told


def test_its_deeds_follow_from_its_seed() -> None:
    """The same calls come to the same, and another seed to others."""
    first, second, other = (Bench(seed, dict(LYING)).trouble(10) for seed in (3, 3, 4))

    assert first == second
    assert first != other


def test_its_deeds_do_not_depend_on_the_order_of_other_placements() -> None:
    """So that threads of a worker do not change what is done to each job."""
    alone, beside = Bench(5, dict(BROKEN)), Bench(5, dict(BROKEN))
    beside.persist(lambda: beside.driver.submit(beside.placement(7), beside.workload(7), 0.0))
    for bench in (alone, beside):
        bench.trouble(1)

    assert {d: n for d, n in alone.driver.deeds.items() if d[0] == "poll"} == {
        d: n for d, n in beside.driver.deeds.items() if d[0] == "poll"
    }


def test_all_of_it_happens() -> None:
    """None of the deeds is only a word."""
    bench = Bench(1, dict(LYING))
    bench.trouble(60)
    done = {deed for _, deed in bench.driver.deeds}

    assert done == set(Deed) - {Deed.HANG}


@pytest.mark.parametrize("seed", range(25))
def test_a_broken_engine_runs_each_program_once_and_its_end_is_known(seed: int) -> None:
    """Answers that are lost, late or old do no harm to whoever asks again."""
    bench = Bench(seed, dict(BROKEN))
    bench.trouble(8)
    bench.clock.advance(60)
    bench.driver.calm()
    ends = [bench.driver.poll(bench.placement(n), bench.workload(n), bench.clock.now()) for n in range(8)]

    assert [bench.engine.times_begun(f"job-{n}", 1) for n in range(8)] == [1] * 8
    assert [end.state for end in ends] == [list(ENDINGS.values())[n % 2] for n in range(8)]
    assert all(end.finished_at - end.started_at == 20 for end in ends if end.started_at and end.finished_at)


def test_its_lies_hold_times_that_cannot_be() -> None:
    """Whoever believes them moves a clock, or a bill."""
    bench = Bench(2, {Deed.LIE: 1.0})
    placement, workload = bench.placement(0), bench.workload(0)
    bench.driver.submit(placement, workload, bench.clock.now())
    reports: list[Report] = [bench.driver.poll(placement, workload, bench.clock.now()) for _ in range(300)]
    times = [time for each in reports for time in (each.started_at, each.finished_at) if time is not None]

    assert any(math.isnan(time) for time in times)
    assert any(time == math.inf for time in times)
    assert any(each.started_at and each.finished_at and each.finished_at < each.started_at for each in reports)
    assert {each.state for each in reports} >= set(PlacementState) - {PlacementState.PROVISIONING}


def test_a_call_hangs_until_it_is_released_and_has_been_done() -> None:
    """Others are answered meanwhile, by another driver of the same engine."""
    bench = Bench(0, dict(HANGING))
    placement, workload = bench.placement(0), bench.workload(0)
    thread = threading.Thread(target=bench.driver.submit, args=(placement, workload, bench.clock.now()))
    thread.start()
    eventually(lambda: bench.driver.hanging == 1)
    report = bench.driver.honest.poll(placement, workload, bench.clock.now())
    bench.driver.release()
    thread.join()

    assert report.state is PlacementState.RUNNING
    assert bench.driver.hanging == 0


def test_what_the_engine_forgets_runs_on() -> None:
    """Its program is not over because nobody knows of it."""
    bench = Bench(0, {Deed.FORGET: 1.0})
    placement, workload = bench.placement(0), bench.workload(0)
    bench.driver.submit(placement, workload, bench.clock.now())
    report = bench.driver.poll(placement, workload, bench.clock.now())

    assert report.state is PlacementState.NOT_STARTED
    assert bench.engine.times_begun("job-0", 1) == 1
