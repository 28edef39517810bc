"""Whether to try a call again, and after how long: pure, fed with failures, a clock reading and a random source.

How often, and for how long in all, is the caller's choice: `_config.Settings`.
"""

from __future__ import annotations

import random

from ._errors import APIConnectionError, APITimeoutError, Failure, NodusError

BASE_DELAY = 0.5
MAX_DELAY = 8.0
MAX_HINT = 120.0
"""A `Retry-After` above this many seconds is neither obeyed nor shortened: the caller gets the error, and decides."""

_TRANSIENT = frozenset((408, 409, 425, 429))
"""Retried, like every 5xx."""

_NOTHING_DONE = frozenset((429, 503))
"""Say that the server did not act on the request."""

_CONCLUSIVE = frozenset((400, 402, 404, 422))
"""Responses of a server that has looked up the idempotency key, and so knows what an earlier attempt had done."""

_REPLAYED = "signature_replayed"
"""The same bytes were signed twice within a second; the next attempt is signed anew."""


def is_transient(failure: Failure, *, repeatable: bool = True) -> bool:
    """Whether another attempt may succeed, and cannot do the same thing twice.

    Most calls may be sent again after any failure: they read, or the server recognises a repeated submission by its
    idempotency key. The others must not, unless it is certain that nothing was done: the request was never sent, or
    the response says so.

    Args:
        failure: the attempt that failed.
        repeatable: False for calls that must not be sent twice, unless the response says that nothing was done.
    """
    error = failure.error
    if failure.permanent:
        return False
    if not repeatable and not (_says_nothing_was_done(error) or _was_never_sent(error)):
        return False
    if failure.server_verdict is not None:
        # Only after the rule above: `x-should-retry` says that a retry may succeed, not that it does no harm.
        return failure.server_verdict
    if isinstance(error, APIConnectionError):
        return True
    status = error.status_code
    return status is not None and (status in _TRANSIENT or 500 <= status < 600)


def _says_nothing_was_done(error: NodusError) -> bool:
    return error.status_code in _NOTHING_DONE or (error.status_code == 409 and error.code == _REPLAYED)


def _was_never_sent(error: NodusError) -> bool:
    return isinstance(error, APIConnectionError) and not error.outcome_unknown


class RetryState:
    """The retries of one logical call.

    Args:
        max_retries: how many attempts may follow the first.
        deadline: the clock reading at which the whole call must be over, or None.
        repeatable: see `is_transient`.
        rng: the source of jitter.

    Attributes:
        attempts: how many attempts have failed.
        outcome_unknown: whether the server may have acted on one of them.
        error: what to raise if there is no further attempt.
    """

    __slots__ = (
        "_deadline",
        "_is_cut_short",
        "_max_retries",
        "_previous",
        "_repeatable",
        "_rng",
        "attempts",
        "error",
        "outcome_unknown",
    )

    def __init__(
        self, *, max_retries: int, deadline: float | None, repeatable: bool = True, rng: random.Random
    ) -> None:
        self._max_retries = max_retries
        self._deadline = deadline
        self._repeatable = repeatable
        self._rng = rng
        self._previous = BASE_DELAY
        self._is_cut_short = False
        self.attempts = 0
        self.outcome_unknown = False
        self.error: NodusError | None = None

    def attempt_deadline(self, now: float, timeout: float) -> float:
        """When the attempt that starts at `now` must be over: after `timeout` seconds, or with the whole call."""
        self._is_cut_short = self._deadline is not None and self._deadline < now + timeout
        return now + timeout if self._deadline is None else min(now + timeout, self._deadline)

    def delay_after(self, failure: Failure, now: float) -> float | None:
        """Record a failed attempt; return how many seconds to sleep before the next, or None to raise `error`."""
        self.attempts += 1
        if self.error is None or not (self._is_cut_short and isinstance(failure.error, APITimeoutError)):
            # An attempt that was cut short by the deadline of the whole call tells nothing new: the error before it
            # says why the call took so long.
            self.error = failure.error
        if failure.error.status_code in _CONCLUSIVE:
            # If the server had accepted an earlier attempt, it would have returned that job rather than this error.
            self.outcome_unknown = False
        else:
            self.outcome_unknown |= failure.error.outcome_unknown
        if self.attempts > self._max_retries or not is_transient(failure, repeatable=self._repeatable):
            return None
        delay = self._delay(failure.error)
        if delay is None or (self._deadline is not None and now + delay >= self._deadline):
            return None
        return delay

    def _delay(self, error: NodusError) -> float | None:
        hint = error.retry_after
        if hint is not None and hint > MAX_HINT:
            return None
        if hint is not None and error.status_code == 429:
            # A rate limit is this client's own. A 503 tells all clients the same, so jitter has to spread them.
            return hint
        # Decorrelated jitter: each delay is drawn from a range that depends on the one before, not on the attempt.
        jitter = min(MAX_DELAY, self._rng.uniform(BASE_DELAY, 3 * self._previous))
        self._previous = jitter
        return jitter if hint is None else max(jitter, hint)
