"""Blocking code runs in threads, kept ones or anyio's, and whoever is cancelled waits for its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest
from patience import PATIENCE_SECONDS
from scarcity import NO_THREAD, no_thread

from nodus_control.concurrency.threads import begin_thread, keep_threads, release_threads, run_in_thread, thread_starter


@contextmanager
def kept(most: int) -> Iterator[None]:
    """The threads that a server keeps."""
    keep_threads(most)
    try:
        yield
    finally:
        release_threads()


@pytest.mark.anyio
async def test_without_a_server_it_runs_on_every_event_loop() -> None:
    """As in a client's own process, on asyncio and on trio."""
    limiter = anyio.CapacityLimiter(1)

    assert await run_in_thread(divmod, 7, 2, limiter=limiter) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(divmod, 7, 0, limiter=limiter)


def test_a_kept_thread_answers_and_raises() -> None:
    """It is used again, and is another thread than the event loop's."""

    async def use() -> set[int]:
        limiter = anyio.CapacityLimiter(1)
        with kept(1):
            used = {await run_in_thread(threading.get_ident, limiter=limiter) for _ in range(3)}
            with pytest.raises(ZeroDivisionError):
                await run_in_thread(divmod, 7, 0, limiter=limiter)
        return used

    used = asyncio.run(use())

    assert len(used) == 1
    assert threading.get_ident() not in used


def test_whoever_is_cancelled_waits_for_what_runs() -> None:
    """However often: its place must not be given to another before it is free."""
    begun, may_end, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(PATIENCE_SECONDS)
        over.set()

    async def cancel_twice() -> bool:
        with kept(1):
            task = asyncio.create_task(run_in_thread(work, limiter=anyio.CapacityLimiter(1)))
            await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
            for _ in range(2):
                task.cancel()
                for _ in range(5):
                    await asyncio.sleep(0)
            waited = not task.done()
            may_end.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            return waited and over.is_set()

    assert asyncio.run(cancel_twice())


def test_a_deadline_that_passes_waits_for_what_runs() -> None:
    """Likewise where a cancel scope ends it, which cancels again and again."""
    may_end, over = threading.Event(), threading.Event()

    async def time_out() -> bool:
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            scope.cancel()
            loop.call_later(0.01, may_end.set)

        def work() -> None:
            # What has not begun would not be waited for, but called off.
            loop.call_soon_threadsafe(cancel)
            may_end.wait(PATIENCE_SECONDS)
            over.set()

        with kept(1), anyio.CancelScope() as scope:
            await run_in_thread(work, limiter=anyio.CapacityLimiter(1))
        return scope.cancelled_caught and over.is_set()

    assert asyncio.run(time_out())


def test_a_thread_is_begun_without_being_waited_for() -> None:
    """One that the server keeps, while it does; then another."""

    async def begin() -> list[threading.Thread]:
        used: list[threading.Thread] = []
        done = threading.Semaphore(0)

        def work() -> None:
            used.append(threading.current_thread())
            done.release()

        with kept(1):
            start = thread_starter()
            for _ in range(2):
                start(work)
                await asyncio.to_thread(done.acquire, timeout=PATIENCE_SECONDS)
        start(work)
        await asyncio.to_thread(done.acquire, timeout=PATIENCE_SECONDS)
        return used

    first, second, third = asyncio.run(begin())

    assert first is second
    assert third is not first
    assert threading.current_thread() not in (first, third)


def test_a_thread_that_cannot_be_had_is_none() -> None:
    """One that can has begun, with what it was given."""
    done: list[int] = []
    with no_thread("test"), pytest.raises(RuntimeError, match=NO_THREAD):
        begin_thread("test", done.append, 1)
    thread = begin_thread("test", done.append, 2)
    thread.join(PATIENCE_SECONDS)

    assert (thread.name, thread.daemon) == ("test", True)
    assert done == [2]
