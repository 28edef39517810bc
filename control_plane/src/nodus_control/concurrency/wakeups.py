"""Waking what waits in event loops, from other threads: many at a time, but never all at once.

A thousand streams that are woken together keep their event loop from everything else until the last has written. So
they are woken by the dozen, and in between the loop gets several times as long for other work.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice, zip_longest
from typing import Any, TypeVar

import anyio

CallSoon = Callable[..., object]
"""Calls a function in an event loop, from any thread."""

AT_ONCE = 16
PAUSE_FACTOR = 3.0
"""How many times as long as a dozen took the loop is left alone."""
LONGEST_PAUSE_SECONDS = 0.05

_Item = TypeVar("_Item")


class Sleeper:
    """What can be woken: `news` is the event that it waits for, in the loop where it was made."""

    def __init__(self) -> None:
        self.call_soon = call_soon_here()
        self.news = anyio.Event()

    def arm(self) -> anyio.Event:
        """Return the event that the next news sets; to be called before looking whether there is any."""
        if self.news.is_set():
            self.news = anyio.Event()
        return self.news

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in its loop, from any thread."""
        # A closed loop has nothing left to call.
        with contextlib.suppress(RuntimeError):
            self.call_soon(function)


def call_soon_here() -> CallSoon:
    """Return a function that calls another in the event loop that is running here, from any thread."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon


def loop_here() -> Any:
    """Return what stands for the event loop that is running here; it can be referred to weakly."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token()


def call_next(function: Callable[[], object]) -> None:
    """Call a function in the event loop that is running here, behind all that is to run there now."""
    try:
        asyncio.get_running_loop().call_soon(function)
    except RuntimeError:
        call_soon_here()(function)


def call_later(seconds: float, function: Callable[[], object]) -> None:
    """Call a function in the event loop that is running here, after so many seconds."""
    try:
        asyncio.get_running_loop().call_later(seconds, function)
    except RuntimeError:
        import trio

        trio.lowlevel.spawn_system_task(_sleep_and_call, seconds, function)


async def _sleep_and_call(seconds: float, function: Callable[[], object]) -> None:
    await anyio.sleep(seconds)
    function()


def wake_all(sleepers: Iterable[Sleeper]) -> None:
    """Wake them at once, with one call per event loop."""
    _wake(sleepers, None)


def wake_in_turn(groups: Sequence[Sequence[Sleeper]], stopping: threading.Event) -> None:
    """Wake them by the dozen, one of each group after the other; blocks until all are woken, or it is stopping."""
    waiting = interleaved(groups)
    while some := list(islice(waiting, AT_ONCE)):
        began = time.monotonic()
        have_run = threading.Event()
        loops = _wake(some, have_run.set)
        if len(some) < AT_ONCE or not loops or stopping.is_set():
            continue
        have_run.wait(LONGEST_PAUSE_SECONDS)
        stopping.wait(min(LONGEST_PAUSE_SECONDS, PAUSE_FACTOR * (time.monotonic() - began)))


def interleaved(groups: Sequence[Sequence[_Item]]) -> Iterable[Any]:
    """Return an iterator over the first of every group, then the second of every group, and so on."""
    nothing = object()
    return (each for each in chain.from_iterable(zip_longest(*groups, fillvalue=nothing)) if each is not nothing)


def _wake(sleepers: Iterable[Sleeper], then: Callable[[], object] | None) -> int:
    by_loop: defaultdict[CallSoon, list[anyio.Event]] = defaultdict(list)
    for sleeper in sleepers:
        by_loop[sleeper.call_soon].append(sleeper.news)
    for call_soon, events in by_loop.items():
        # A closed loop has nobody left to wake.
        with contextlib.suppress(RuntimeError):
            call_soon(_set_all, events, then)
    return len(by_loop)


def _set_all(events: Iterable[anyio.Event], then: Callable[[], object] | None) -> None:
    for event in events:
        event.set()
    if then is not None:
        try:
            # Behind those that were just woken.
            asyncio.get_running_loop().call_soon(then)
        except RuntimeError:
            then()
