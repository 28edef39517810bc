"""What waits is woken by the dozen, and output is looked at once for all who follow it."""

from __future__ import annotations

import threading
from collections import Counter

import anyio
import anyio.to_thread
import pytest
from patience import PATIENCE_SECONDS
from scarcity import NO_THREAD, no_thread

from nodus_control.concurrency.wakeups import Sleeper, interleaved, wake_all, wake_in_turn
from nodus_control.streams.output_watch import OutputWatch
from nodus_control.suppliers.protocol import LogChunk, Placement

pytestmark = pytest.mark.anyio

PLACEMENT = Placement("job", 1, "lambda", "us-west-1", 0.0)
LOOKS = 4
"""The look that finds something."""


def test_nobody_waits_for_all_of_another() -> None:
    """One of each group after the other, and each once."""
    assert list(interleaved([[1, 2, 3], [4], [], [5, 6]])) == [1, 4, 5, 2, 6, 3]
    assert list(interleaved([])) == []


async def test_all_are_woken() -> None:
    """Every sleeper wakes, whichever thread wakes them."""
    sleepers = [Sleeper() for _ in range(100)]
    with anyio.fail_after(PATIENCE_SECONDS):
        await anyio.to_thread.run_sync(wake_in_turn, [sleepers[:70], sleepers[70:]], threading.Event())
        for sleeper in sleepers:
            await sleeper.news.wait()


async def test_news_before_the_wait_is_not_missed() -> None:
    """Arming takes an event that the next news sets, and no old one."""
    sleeper = Sleeper()
    wake_all([sleeper])
    with anyio.fail_after(PATIENCE_SECONDS):
        await sleeper.news.wait()
        news = sleeper.arm()
        assert not news.is_set()
        wake_all([sleeper])
        await news.wait()


async def test_output_is_looked_at_once_for_all_who_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are woken when there is more than they have, and then read."""
    monkeypatch.setattr("nodus_control.streams.output_watch.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("nodus_control.streams.output_watch._REST_FACTOR", 0.0)
    asked: Counter[int] = Counter()
    all_wait, all_are_woken = threading.Event(), threading.Event()
    waiting, woken, before = 0, 0, -1

    def read(_placement: Placement, offset: int, limit: int) -> LogChunk:
        nonlocal before
        asked[limit] += 1
        if asked[limit] == 1:
            assert all_wait.wait(PATIENCE_SECONDS)
        elif asked[limit] == LOOKS:
            before = woken
        elif asked[limit] > LOOKS:
            # It goes on looking until all have left, however long that takes.
            assert all_are_woken.wait(PATIENCE_SECONDS)
        return LogChunk(b"", offset, 10 if asked[limit] < LOOKS else 11, complete=False)

    watch = OutputWatch(read)
    sleepers = [Sleeper() for _ in range(50)]

    async def follow(sleeper: Sleeper) -> None:
        nonlocal waiting, woken
        with watch.watching(sleeper, PLACEMENT, 10):
            waiting += 1
            if waiting == len(sleepers):
                all_wait.set()
            await sleeper.arm().wait()
        woken += 1

    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                for sleeper in sleepers:
                    tasks.start_soon(follow, sleeper)
    finally:
        all_wait.set()
        all_are_woken.set()
        watch.close()

    assert (before, woken) == (0, 50)
    assert set(asked) == {0}
    assert asked[0] <= LOOKS + 1
    assert watch._waiting == {}


async def test_output_is_looked_at_once_there_is_a_thread_for_it() -> None:
    """Whoever came when there was none is told, and waits for nothing."""
    watch = OutputWatch(lambda _placement, offset, _limit: LogChunk(b"", offset, offset + 1, complete=False))
    sleeper = Sleeper()
    with no_thread("nodus-output"), pytest.raises(RuntimeError, match=NO_THREAD):  # noqa: SIM117
        with watch.watching(sleeper, PLACEMENT, 10):
            pass
    waiting = dict(watch._waiting)
    try:
        with anyio.fail_after(PATIENCE_SECONDS), watch.watching(sleeper, PLACEMENT, 10):
            await sleeper.arm().wait()
    finally:
        watch.close()

    assert waiting == {}
