"""Runs blocking code in threads, from an event loop.

A server keeps threads for it. Those of anyio do the same on every event loop, but cost three times as much where many
requests come together: each waits for a turn of the loop before it begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from typing_extensions import TypeVarTuple, Unpack

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

_kept: RunVar[ThreadPoolExecutor | None] = RunVar("nodus_control_kept_threads", None)
"""The threads that this event loop's server keeps."""


def begin_thread(
    name: str, work: Callable[[Unpack[_Arguments]], object], *args: Unpack[_Arguments]
) -> threading.Thread:
    """Return a thread that has begun to run blocking code, and does not keep its process alive.

    What is said of a thread is said after this: one that did not begin would be waited for, or relied on, for ever.
    Where the thread needs the same lock to undo it, both are done under that.

    Raises:
        RuntimeError: there are as many threads as there may be.
    """
    thread = threading.Thread(target=work, name=name, args=args, daemon=True)
    thread.start()
    return thread


def keep_threads(most: int) -> None:
    """Keep up to so many threads for this event loop, which is asyncio's, until they are released."""
    _kept.set(ThreadPoolExecutor(most, thread_name_prefix="asyncio"))


def release_threads() -> None:
    """End the threads of this event loop, once what they run is over."""
    executor = _kept.get()
    if executor is not None:
        _kept.set(None)
        executor.shutdown(wait=False)


async def run_in_thread(
    function: Callable[[Unpack[_Arguments]], _Result],
    *args: Unpack[_Arguments],
    limiter: anyio.CapacityLimiter,
) -> _Result:
    """Run blocking code in a thread. Cancelling waits for its end, because nothing can stop it.

    The caller sees to it that no more run at once than `limiter` allows.
    """
    executor = _kept.get()
    if executor is None:
        return await anyio.to_thread.run_sync(function, *args, limiter=limiter)
    future = executor.submit(function, *args)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        await _end_of(future)
        raise


def thread_starter() -> Callable[[Callable[[], object]], None]:
    """Return what begins to run blocking code in a thread: one that this event loop's server keeps, or a new one."""
    executor = _kept.get()

    def start(function: Callable[[], object]) -> None:
        if executor is not None:
            try:
                executor.submit(function)
            except RuntimeError:
                # The server has stopped; somebody still answers what it had begun.
                pass
            else:
                return
        begin_thread("nodus-batch", function)

    return start


async def _end_of(future: Future[_Result]) -> None:
    """Wait until a thread is done with what it runs, however often this task is cancelled meanwhile."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(ended.set))
    with anyio.CancelScope(shield=True):
        while not ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ended.wait()
