"""What waits is woken by the dozen, and output is looked at once for all who follow it."""

from __future__ import annotations

import threading
from collections import Counter

import anyio
import anyio.lowlevel
import pytest
from patience import PATIENCE_SECONDS

from nodus_control.output_watch import OutputWatch
from nodus_control.suppliers.protocol import LogChunk, Placement
from nodus_control.wakeups import Sleeper, interleaved, wake_all, wake_in_turn

pytestmark = pytest.mark.anyio

PLACEMENT = Placement("job", 1, "lambda", "us-west-1", 0.0)


def test_nobody_waits_for_all_of_another() -> None:
    """One of each group after the other, and each once."""
    assert list(interleaved([[1, 2, 3], [4], [], [5, 6]])) == [1, 4, 5, 2, 6, 3]
    assert list(interleaved([])) == []


async def test_all_are_woken() -> None:
    """However many, and from another thread."""
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
    monkeypatch.setattr("nodus_control.output_watch.LOOK_SECONDS", 0.01)
    total = 10
    asked: Counter[int] = Counter()

    def read(_placement: Placement, offset: int, limit: int) -> LogChunk:
        asked[limit] += 1
        return LogChunk(b"", offset, total, complete=False)

    watch = OutputWatch(read)
    sleepers = [Sleeper() for _ in range(50)]
    woken, before = 0, -1

    async def follow(sleeper: Sleeper) -> None:
        nonlocal woken
        with watch.watching(sleeper, PLACEMENT, 10):
            await sleeper.arm().wait()
        woken += 1

    try:
        with anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as tasks:
                for sleeper in sleepers:
                    tasks.start_soon(follow, sleeper)
                while asked[0] < 3:
                    await anyio.lowlevel.checkpoint()
                before = woken
                total = 11
    finally:
        watch.close()

    assert (before, woken) == (0, 50)
    assert set(asked) == {0}
    assert asked[0] < 50
    assert watch._waiting == {}
