"""One question for all who ask, and none waits longer than its patience."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import PATIENCE_SECONDS, eventually

from nodus_control.suppliers.protocol import EngineUnavailable
from nodus_control.suppliers.slurm.shared import Shared

LATE_SECONDS = 30.0


class Source:
    """Gives a number for each fetch, or what it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.now = 0.0
        self.raises: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self) -> int:
        self.count += 1
        count = self.count
        self.gate.wait(PATIENCE_SECONDS)
        if self.raises is not None:
            raise self.raises
        return count

    def shared(self, patience_seconds: float = PATIENCE_SECONDS) -> Shared[int]:
        return Shared(self.fetch, age_seconds=5.0, patience_seconds=patience_seconds, clock=lambda: self.now)


@pytest.fixture
def source() -> Source:
    return Source()


def test_a_young_answer_is_used_again(source: Source) -> None:
    """And an old one is not."""
    shared = source.shared()
    first = [shared.get(), shared.get()]
    source.now = 5.0

    assert (first, shared.get()) == ([1, 1], 2)


def test_many_who_ask_at_once_ask_once(source: Source) -> None:
    """They get the same answer."""
    shared = source.shared()
    source.gate.clear()
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(shared.get) for _ in range(16)]
        source.gate.set()
        answers = {each.result() for each in asked}

    assert answers == {1}


def test_an_answer_that_was_under_way_is_not_one_since_now(source: Source) -> None:
    """It may have been true before what the caller did."""
    shared = source.shared()
    source.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(shared.get)
        eventually(lambda: source.count == 1)
        since = pool.submit(shared.get, since_now=True)
        source.gate.set()

        assert before.result() in (1, 2)
        assert since.result() == 2


def test_an_engine_that_hangs_is_waited_for_only_so_long(source: Source) -> None:
    """Its answer is used by whoever asks later."""
    shared = source.shared(patience_seconds=0.01)
    source.gate.clear()
    for _ in range(3):
        with pytest.raises(EngineUnavailable):
            shared.get()
    source.gate.set()
    eventually(lambda: shared.peek() == 1)

    assert source.count == 1


def test_an_engine_that_is_slow_is_known_by_its_last_answer(source: Source) -> None:
    """Not for ever, and not to whoever needs one since now."""
    shared = source.shared(patience_seconds=0.01)
    eventually(lambda: shared.peek() == 1)
    source.gate.clear()
    source.now = 6.0
    assert shared.get() == 1
    with pytest.raises(EngineUnavailable):
        shared.get(since_now=True)
    source.now = LATE_SECONDS
    with pytest.raises(EngineUnavailable):
        shared.get()
    source.gate.set()
    eventually(lambda: shared.peek() == 3)
    source.gate.clear()
    source.now += LATE_SECONDS - 1
    assert shared.get() == 3
    source.now += 1
    with pytest.raises(EngineUnavailable):
        shared.get()
    source.gate.set()


def test_that_there_is_no_answer_is_shared_too(source: Source) -> None:
    """An engine that is down is not asked more often than one that is up."""
    shared = source.shared()
    source.raises = EngineUnavailable("down", never_sent=True)
    raised = []
    for _ in range(2):
        with pytest.raises(EngineUnavailable) as caught:
            shared.get()
        raised.append((caught.value.detail, caught.value.never_sent))
    source.raises, source.now = None, 5.0

    assert raised == [("down", True)] * 2
    assert shared.get() == 2


@pytest.mark.parametrize("is_peeking", [False, True])
def test_a_host_without_threads_for_a_moment_can_ask_again(
    source: Source, monkeypatch: pytest.MonkeyPatch, is_peeking: bool
) -> None:
    """Whoever needs an answer hears that there is none, and nobody waits for one that nobody fetches."""
    shared = source.shared()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        if is_peeking:
            assert shared.peek() is None
        with pytest.raises(EngineUnavailable, match="no thread"):
            shared.get()
    source.now = 5.0

    assert shared.get() == 1


def test_looking_without_waiting_sees_to_a_younger_answer(source: Source) -> None:
    """None before there is one."""
    shared = source.shared()
    source.gate.clear()
    first = shared.peek()
    source.gate.set()

    assert first is None
    eventually(lambda: shared.peek() == 1)
