"""One question for everybody who asks it at about the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ..protocol import EngineUnavailable

T = TypeVar("T")

LATE_SECONDS = 30.0
"""How old an answer may be that is given where a younger one has not come in time."""


class Shared(Generic[T]):
    """An answer that several threads use, fetched by one thread at a time, and not more often than is worth it.

    Whoever asks waits for a while, and not for as long as a fetch may take: an engine that hangs costs the others
    nothing. One that is slow is known by its last answer, unless that is older than `LATE_SECONDS`. An answer that says
    that the engine cannot be asked is shared like any other.

    Args:
        fetch: gets the answer; what it raises counts as one if it is `EngineUnavailable`.
        age_seconds: how old an answer may be.
        patience_seconds: how long one waits for it.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        fetch: Callable[[], T],
        *,
        age_seconds: float,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._age_seconds = age_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._is_fetching = False
        self._begun = 0
        self._finished = 0
        self._begun_at = float("-inf")
        self._answer_begun_at = float("-inf")
        self._answer: T | EngineUnavailable | None = None

    def get(self, *, since_now: bool = False) -> T:
        """Return an answer that is young enough, or with `since_now` one that was asked for after this call began.

        Without `since_now`, the last one counts too where none that is young enough comes in time.

        Raises:
            EngineUnavailable: there is none.
        """
        deadline = time.monotonic() + self._patience_seconds
        with self._changed:
            is_young = self._clock() - self._begun_at < self._age_seconds
            wanted = self._begun + (1 if since_now or (not is_young and not self._is_fetching) else 0)
            while self._finished < wanted:
                self._begin(wanted)
                if self._finished >= wanted:
                    break
                if not self._changed.wait(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                    if not since_now and self._clock() - self._answer_begun_at < LATE_SECONDS:
                        break
                    raise EngineUnavailable("the cluster has not answered yet")
            answer = self._answer
        if isinstance(answer, EngineUnavailable):
            raise EngineUnavailable(answer.detail, never_sent=answer.never_sent)
        assert answer is not None
        return answer

    def peek(self) -> T | None:
        """Return the last answer, however old, without waiting, and see to it that there is a younger one soon."""
        with self._changed:
            if self._clock() - self._begun_at >= self._age_seconds:
                self._begin(self._begun + 1)
            return None if isinstance(self._answer, EngineUnavailable) else self._answer

    def _begin(self, wanted: int) -> None:
        if self._is_fetching or self._begun >= wanted:
            return
        self._is_fetching = True
        self._begun += 1
        self._begun_at = self._clock()
        try:
            threading.Thread(target=self._run, name="slurm-query", daemon=True).start()
        except RuntimeError:
            self._finish(EngineUnavailable("this host has no thread to ask the cluster with"))

    def _run(self) -> None:
        answer: T | EngineUnavailable = EngineUnavailable("the cluster cannot be asked: see the control plane's log")
        try:
            answer = self._fetch()
        except EngineUnavailable as exc:
            answer = exc
        finally:
            with self._changed:
                self._finish(answer)

    def _finish(self, answer: T | EngineUnavailable) -> None:
        self._answer = answer
        self._answer_begun_at = self._begun_at
        self._is_fetching = False
        self._finished = self._begun
        self._changed.notify_all()
