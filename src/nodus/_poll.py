"""When to poll a job again, what to tolerate, and when to give up: pure, fed with outcomes and clock readings."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ._errors import Failure, NodusError
from ._retry import is_transient

DEFAULT_POLL_SECONDS = 2.0
DEFAULT_UNREACHABLE_SECONDS = 900.0
LAST_POLL_SECONDS = 5.0
"""How long the one poll that starts at the deadline may take."""

CANCEL_SECONDS = 5.0
"""How long leaving a wait may take to cancel its job, if `cancel_on_exit` was given."""

NOT_FOUND_GRACE_SECONDS = 5.0
"""How long after its submission a job may be answered with 404: a replica may lag behind."""

_JITTER = 0.1
_MAX_WIDENING_SECONDS = 30.0
_SHORTEST_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Sleep:
    """Poll again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The deadline has passed, and the last poll was made."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the wait with `error`, which the last poll met."""

    error: NodusError


Step = Sleep | TimedOut | GiveUp


def is_lagging(error: NodusError, submitted_at: float | None, now: float) -> bool:
    """Whether a job may be answered with 404 only because it is too new for every replica to know it."""
    return error.status_code == 404 and submitted_at is not None and now - submitted_at <= NOT_FOUND_GRACE_SECONDS


class PollState:
    """The polls of one wait: when the next is due, and when the wait is over.

    Args:
        poll_seconds: the base interval; every interval varies by 10 % around it.
        deadline: the clock reading at which to stop, or None.
        unreachable_seconds: how many seconds of nothing but failures to tolerate, if there is no deadline.
        rng: the source of jitter.
    """

    __slots__ = (
        "_deadline",
        "_failing_since",
        "_interval",
        "_poll_seconds",
        "_rng",
        "_unreachable_seconds",
    )

    def __init__(
        self,
        *,
        poll_seconds: float,
        deadline: float | None,
        unreachable_seconds: float = DEFAULT_UNREACHABLE_SECONDS,
        rng: random.Random,
    ) -> None:
        self._poll_seconds = poll_seconds
        self._interval = poll_seconds
        self._deadline = deadline
        self._unreachable_seconds = unreachable_seconds
        self._failing_since: float | None = None
        self._rng = rng

    def poll_deadline(self, now: float, timeout: float) -> float:
        """When a poll that starts at `now` must be over: the last one may pass the deadline, by 5 s at most."""
        if self._deadline is None:
            return now + timeout
        return now + min(timeout, max(self._deadline - now, LAST_POLL_SECONDS))

    def after_success(self, now: float) -> Step:
        """Decide what follows a poll that found the job still going."""
        self._failing_since = None
        self._interval = self._poll_seconds
        return self._sleep(now, self._vary(self._poll_seconds))

    def after_failure(self, failure: Failure, now: float, *, submitted_at: float | None = None) -> Step:
        """Decide what follows a poll that failed: widen the interval, or end the wait if the failure is permanent.

        Args:
            failure: what the poll met.
            now: the clock reading.
            submitted_at: the clock reading at which `run()` returned the job; None for a job from elsewhere.
        """
        lags = is_lagging(failure.error, submitted_at, now)
        if not (lags or is_transient(failure)):
            return GiveUp(failure.error)
        is_first = self._failing_since is None
        if self._failing_since is None:
            self._failing_since = now
        patience = math.inf
        if self._deadline is None:
            # With a deadline, the caller has said how long to try, and only that ends the wait.
            patience = self._failing_since + self._unreachable_seconds - now
        if patience <= 0:
            return GiveUp(failure.error)
        hint = failure.error.retry_after
        seconds = self._vary(self._interval) if hint is None else hint
        if not is_first:
            # A server that keeps failing with `Retry-After: 0` would be polled without pause for a quarter of an hour.
            seconds = max(seconds, min(self._poll_seconds, _SHORTEST_PAUSE_SECONDS))
        if not lags:
            # A replica that lags is healthy: polling less often would only delay the first status.
            self._interval = min(self._interval * 2, max(self._poll_seconds, _MAX_WIDENING_SECONDS))
        return self._sleep(now, min(seconds, patience))

    def _vary(self, seconds: float) -> float:
        return seconds * self._rng.uniform(1 - _JITTER, 1 + _JITTER)

    def _sleep(self, now: float, seconds: float) -> Step:
        remaining = math.inf if self._deadline is None else self._deadline - now
        if remaining <= 0:
            return TimedOut()
        return Sleep(min(seconds, remaining))
