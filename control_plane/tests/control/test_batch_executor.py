"""An executor's thread does all that waits at a time, and hands the outcomes back at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import pytest
from patience import PATIENCE_SECONDS, eventually

from nodus_control.concurrency.batch_executor import BatchExecutor, TurnDidNotCome


class Batches:
    """What an executor's pieces are done in; it may fail at its end."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.fails = False
        self.is_open = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.sizes.append(0)
        self.is_open.set()
        yield
        self.may_end.wait(PATIENCE_SECONDS)
        if self.fails:
            raise ConnectionError("it is gone")

    def piece(self, value: str) -> str:
        """Be done."""
        self.sizes[-1] += 1
        return value


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something that is asked is true."""
    await anyio.to_thread.run_sync(eventually, condition)


@pytest.mark.anyio
async def test_what_comes_together_is_done_together() -> None:
    """In a thread, for all of it the same; each has its own outcome."""
    batches = Batches()
    executor = BatchExecutor(batches, PATIENCE_SECONDS, most=8)
    answers: dict[int, object] = {}
    threads = set()

    def work(number: int) -> str:
        threads.add(threading.get_ident())
        if number % 3 == 0:
            raise ZeroDivisionError(number)
        return batches.piece(f"n{number}")

    async def ask(number: int) -> None:
        try:
            answers[number] = await executor.do("a", work, number)
        except ZeroDivisionError as exc:
            answers[number] = exc.args[0]

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(ask, number)

    assert answers == {number: f"n{number}" if number % 3 else number for number in range(20)}
    assert len(batches.sizes) == 3
    assert threading.get_ident() not in threads


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has no order of those it wakes
async def test_who_was_answered_can_be_in_the_next_batch() -> None:
    """It begins when the outcomes of the one before are handed out, with all that has come by then."""
    batches = Batches()
    executor = BatchExecutor(batches, PATIENCE_SECONDS)

    async def ask_twice() -> None:
        await executor.do("a", batches.piece, "first")
        await executor.do("a", batches.piece, "second")

    batches.may_end.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_twice)
        await until(batches.is_open.is_set)
        tasks.start_soon(executor.do, "b", batches.piece, "other")
        await until(lambda: executor.waiting == 1)
        batches.may_end.set()
        # The loop is busy until the thread is done with all that it does by itself.
        eventually(lambda: all(thread.name != "nodus-batch" for thread in threading.enumerate()))

    assert batches.sizes == [1, 2]


@pytest.mark.anyio
async def test_nobody_is_answered_before_the_end_of_the_batch() -> None:
    """What fails there fails for all that was done in it, and for nobody else."""
    batches = Batches()
    batches.may_end.clear()
    executor = BatchExecutor(batches, PATIENCE_SECONDS)
    outcomes: list[object] = []

    async def ask() -> None:
        try:
            outcomes.append(await executor.do("a", batches.piece, "done"))
        except ConnectionError as exc:
            outcomes.append(str(exc))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask)
        await until(lambda: batches.sizes == [3])
        assert outcomes == []
        batches.fails = True
        batches.may_end.set()
    assert outcomes == ["it is gone"] * 3

    batches.fails = False
    assert await executor.do("a", batches.piece, "done") == "done"


@pytest.mark.anyio
async def test_flows_take_turns() -> None:
    """One flow's many do not keep another's one waiting for all of them."""
    batches = Batches()
    batches.may_end.clear()
    executor = BatchExecutor(batches, PATIENCE_SECONDS, most=2)
    order: list[str] = []

    async def ask(flow: str) -> None:
        await executor.do(flow, order.append, flow)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "a")
        await until(lambda: order == ["a"])
        for flow in "aaaaaab":
            tasks.start_soon(ask, flow)
        await until(lambda: executor.waiting == 7)
        batches.may_end.set()

    # Which of the flows came first differs with the event loop.
    assert "b" in order[1:3]


@pytest.mark.anyio
async def test_whose_turn_does_not_come_is_told() -> None:
    """What had begun by then has its own outcome."""
    batches = Batches()
    batches.may_end.clear()
    executor = BatchExecutor(batches, 0.05)
    done: list[str] = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(executor.do, "a", done.append, "first")
        await until(lambda: done == ["first"])
        for _ in range(2):
            with pytest.raises(TurnDidNotCome):
                await executor.do("a", done.append, "second")
        batches.may_end.set()

    assert done == ["first"]
    await executor.do("a", done.append, "third")
    assert done == ["first", "third"]


@pytest.mark.anyio
async def test_who_is_cancelled_leaves_the_queue_or_waits_for_the_end() -> None:
    """Nothing can stop what has begun."""
    batches = Batches()
    batches.may_end.clear()
    executor = BatchExecutor(batches, PATIENCE_SECONDS)
    done: list[str] = []
    over: list[str] = []

    async def ask(name: str, scope: anyio.CancelScope) -> None:
        with scope:
            await executor.do("a", done.append, name)
        over.append(name)

    async with anyio.create_task_group() as tasks:
        scopes = [anyio.CancelScope() for _ in range(2)]
        tasks.start_soon(ask, "begun", scopes[0])
        await until(lambda: done == ["begun"])
        tasks.start_soon(ask, "waiting", scopes[1])
        await until(lambda: executor.waiting == 1)
        for scope in scopes:
            scope.cancel()
        await until(lambda: over == ["waiting"])
        batches.may_end.set()

    assert done == ["begun"]
    assert over == ["waiting", "begun"]


@pytest.mark.anyio
async def test_a_lane_that_nobody_uses_has_no_thread() -> None:
    """What comes later is done by another, or by one that the event loop keeps."""
    executor = BatchExecutor(Batches(), PATIENCE_SECONDS)
    for _ in range(3):
        thread = await executor.do("a", threading.current_thread)
        await until(lambda thread=thread: not thread.is_alive())  # type: ignore[misc]
