"""The limiter: never more in than there are places, first come first served, and no place lost to whoever gives up."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodus._concurrency import AsyncLimiter, Limiter

PLACES = 3

STEPS = st.lists(st.sampled_from(["come", "leave", "give up first", "give up last", "let run"]), max_size=60)

CHOSEN = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    # The event loop is chosen by a fixture; it is the same one for all examples of a test.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Visit:
    """One task that wants in."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.leave = anyio.Event()


@pytest.mark.anyio
@CHOSEN
@given(steps=STEPS)
async def test_places_go_round_in_order_whatever_happens(steps: list[str]) -> None:
    """Tasks come, leave and are cancelled while queued or inside, and the counts are right after every step."""
    limiter = AsyncLimiter(PLACES)
    queued: list[Visit] = []
    inside: list[Visit] = []
    arrived: list[Visit] = []
    entered: list[Visit] = []
    most = 0

    async def check() -> None:
        await anyio.wait_all_tasks_blocked()
        assert limiter.free == PLACES - len(inside)
        assert not queued or limiter.free == 0
        assert all(arrived.index(one) < arrived.index(other) for one in entered for other in queued)

    async def visit(visitor: Visit) -> None:
        nonlocal most
        arrived.append(visitor)
        with visitor.scope:
            assert await limiter.acquire(60.0)
            queued.remove(visitor)
            inside.append(visitor)
            entered.append(visitor)
            most = max(most, len(inside))
            try:
                await visitor.leave.wait()
            finally:
                inside.remove(visitor)
                limiter.release()
        if visitor in queued:
            queued.remove(visitor)

    async with anyio.create_task_group() as tasks:
        for step in steps:
            if step == "come":
                visitor = Visit()
                queued.append(visitor)
                tasks.start_soon(visit, visitor)
            elif step == "leave" and inside:
                inside[0].leave.set()
            elif step == "give up first" and queued:
                queued[0].scope.cancel()
            elif step == "give up last" and queued:
                queued[-1].scope.cancel()
            elif step == "let run":
                await check()
        await check()
        while inside:
            inside[0].leave.set()
            await check()

    assert limiter.free == PLACES
    assert most <= PLACES


async def test_a_place_that_was_handed_over_as_its_taker_gave_up_is_passed_on() -> None:
    """The release and the cancellation come in the same instant; the next in the queue must get the place."""
    limiter = AsyncLimiter(1)
    assert await limiter.acquire(0.0)
    scope = anyio.CancelScope()
    got: list[str] = []

    async def give_up() -> None:
        with scope:
            await limiter.acquire(60.0)
            got.append("the one that gave up")
            limiter.release()

    async def stay() -> None:
        assert await limiter.acquire(60.0)
        got.append("the next")
        limiter.release()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_up)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(stay)
        await anyio.wait_all_tasks_blocked()
        limiter.release()
        scope.cancel()

    assert got[-1] == "the next"
    assert limiter.free == 1


async def test_a_place_that_does_not_come_in_time_is_not_taken() -> None:
    """An attempt that gives up leaves the count as it was."""
    limiter = AsyncLimiter(1)
    assert await limiter.acquire(0.0)

    assert not await limiter.acquire(0.0)
    assert not await limiter.acquire(-1.0)
    limiter.release()
    assert limiter.free == 1


@pytest.mark.parametrize("timeout", [0.0, 0.0005, 60.0], ids=["at once", "soon", "patient"])
def test_threads_never_exceed_the_limit_nor_lose_a_place(timeout: float) -> None:
    """Many threads, some of which give up while a place is on its way to them."""
    limiter = Limiter(PLACES)
    inside = 0
    most = 0
    mutex = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(200):
            if not limiter.acquire(timeout):
                continue
            with mutex:
                inside += 1
                most = max(most, inside)
            with mutex:
                inside -= 1
            limiter.release()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1 <= most <= PLACES
    assert limiter.free == PLACES


def test_threads_get_their_places_in_the_order_in_which_they_came() -> None:
    """The queue is first in, first out."""
    limiter = Limiter(1)
    assert limiter.acquire(0.0)
    order: list[int] = []

    def work(number: int) -> None:
        assert limiter.acquire(60.0)
        order.append(number)
        limiter.release()

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while len(limiter._queue) <= number:
            pass
    limiter.release()
    for thread in threads:
        thread.join()

    assert order == list(range(8))
