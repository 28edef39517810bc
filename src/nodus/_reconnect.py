"""Reconnecting to event streams, decided without I/O: which events are new, where to resume, and when."""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import replace

from ._errors import APITimeoutError, Failure, NodusError
from ._http import Response, parse
from ._models import JobView
from ._poll import is_lagging
from ._resources import JobEvent
from ._retry import MAX_DELAY, MAX_HINT, is_transient
from ._sse import ServerSentEvent

MAX_STREAMS = 20
"""How many of a client's connections may follow single jobs, their output included; at most half of all."""

CATCHING_UP_SECONDS = 5.0
"""How long a stream that takes its turn may stay silent before it gives way to the next in the queue."""

TOO_MANY_STREAMS = "too_many_streams"
"""The server's code for a stream that is one too many for the key."""

LATEST = "latest"
"""As `after=`: skip everything that has already happened."""

NO_SUCH_ENDPOINT = frozenset((404, 405, 501))
FOLLOWED_JOBS = 20_000
"""How many jobs of a stream are remembered, to recognise repeated events."""

_BASE_DELAY = 0.1
_SETTLED_SECONDS = 10.0
_SUDDEN_SECONDS = 1.0
"""How long a stream must have lasted for the reconnection delay to start over."""


def shares_of_streams(connections: int) -> tuple[int, int]:
    """Return how many connections streams of single jobs may hold, and how many more they share by taking turns.

    Ordinary calls always keep at least half of the connections. If there are none for turns, a stream gives up the
    connection that it holds when another waits for it; a client of one connection can hold none.
    """
    if connections == 1:
        return 0, 1
    total = min(MAX_STREAMS, connections // 2)
    turns = 0 if total == 1 else max(1, total // 4)
    return total - turns, turns


class Progress:
    """How far a stream has got. Repeated events, as after a reconnection, are recognised by their job and number.

    Args:
        job_id: the job that is followed; None for all jobs.
        after: the id of the last event that the caller has already had; None for none.

    Attributes:
        last_id: the id to resume after; None for none yet.
        last: the last event.
    """

    def __init__(self, job_id: str | None, after: str | None) -> None:
        self.last_id = after
        self.last: JobEvent | None = None
        # Job id -> the number of its last event, in order of the last event, so that the oldest can be dropped. This
        # guards against a server that repeats events after a reconnection.
        self._seen: OrderedDict[str, int] = OrderedDict()
        if job_id is not None and after is not None and after.isdecimal():
            self._seen[job_id] = int(after)

    def is_new(self, event: JobEvent) -> bool:
        """Record an event; return whether it is new."""
        if event.seq <= self._seen.get(event.job_id, 0):
            return False
        self._seen[event.job_id] = event.seq
        self._seen.move_to_end(event.job_id)
        if len(self._seen) > FOLLOWED_JOBS:
            self._seen.popitem(last=False)
        self.last = event
        return True

    def next_seq(self, job_id: str) -> int:
        """Return the number of a job's next event, for events found by polling, which no server numbers."""
        return self._seen.get(job_id, 0) + 1


class Reconnection:
    """When to reconnect after a stream ended, or could not be opened.

    Args:
        unreachable_seconds: how many seconds of nothing but failures to tolerate.
        rng: the source of jitter.
    """

    def __init__(self, *, unreachable_seconds: float, rng: random.Random) -> None:
        self._unreachable_seconds = unreachable_seconds
        self._rng = rng
        self._previous = _BASE_DELAY
        self._failing_since: float | None = None
        # Kept while a stream is open: if it breaks off at once, the failures before it count on.
        self._failing_before: float | None = None
        self._opened_at = 0.0
        self._has_progressed = False

    def opened(self, now: float) -> None:
        """Record that a stream was opened."""
        self._opened_at = now
        self._failing_before, self._failing_since = self._failing_since, None
        self._has_progressed = False

    def progressed(self) -> None:
        """Record that a stream brought something new."""
        self._previous = _BASE_DELAY
        self._has_progressed = True

    def after_end(self, now: float, retry_seconds: float | None) -> float:
        """Return how many seconds to wait before reopening a stream that ended, in whatever way."""
        if now - self._opened_at >= _SETTLED_SECONDS:
            self._previous = _BASE_DELAY
        return max(self._delay(), min(retry_seconds or 0.0, MAX_HINT))

    def after_break(self, error: NodusError, now: float, retry_seconds: float | None = None) -> float | None:
        """Return how many seconds to wait before reopening a stream that broke off; None to raise the error.

        One that breaks off as soon as it is open, with nothing new, is no better than one that cannot be opened.
        """
        pause = self.after_end(now, retry_seconds)
        is_sudden = now - self._opened_at < _SUDDEN_SECONDS and not isinstance(error, APITimeoutError)
        if self._has_progressed or not is_sudden:
            return pause
        self._failing_since = self._opened_at if self._failing_before is None else self._failing_before
        patience = self._failing_since + self._unreachable_seconds - now
        return min(pause, patience) if patience > 0 else None

    def after_failure(self, failure: Failure, now: float, *, submitted_at: float | None = None) -> float | None:
        """Return how many seconds to wait after a stream could not be opened; None to raise the error."""
        error = failure.error
        if not (is_transient(failure) or is_lagging(error, submitted_at, now)):
            return None
        if self._failing_since is None:
            self._failing_since = now
        patience = self._failing_since + self._unreachable_seconds - now
        if patience <= 0:
            return None
        return min(max(self._delay(), error.retry_after or 0.0), patience)

    def _delay(self) -> float:
        self._previous = min(MAX_DELAY, self._rng.uniform(_BASE_DELAY, 3 * self._previous))
        return self._previous


def parse_event(event: ServerSentEvent, head: Response) -> JobEvent | None:
    """Read an event of the stream that `head` began; None for a kind that this version does not know.

    Raises:
        APIError: (`invalid_response`) its data is not an event's.
    """
    if event.type not in ("status", "message"):
        return None
    read = parse(replace(head, content=event.data.encode()), JobEvent)
    return read.model_copy(update={"id": event.id or None})


def event_of_view(view: JobView, seq: int) -> JobEvent:
    """Make an event out of what polling a job showed."""
    at = view.created_at if view.attempts in (None, 0) else view.started_at
    return JobEvent(
        seq=seq,
        job_id=view.id,
        status=view.status,
        at=view.finished_at or at,
        attempt=view.attempts,
        supplier=view.supplier,
        region=view.region,
        reason=view.error_code,
        simulated=view.simulated,
    )


def is_about(event: JobEvent, job_id: str | None) -> bool:
    """Whether an event belongs on the stream of a job; None for that of all jobs. UUIDs may be in either case."""
    return job_id is None or event.job_id.lower() == job_id.lower()


def is_one_too_many(error: NodusError) -> bool:
    """Whether the server refused a stream only because the key has reached its limit of streams."""
    return error.status_code == 429 and error.code == TOO_MANY_STREAMS


def has_no_endpoint(error: NodusError) -> bool:
    """Whether the server does not have this endpoint, rather than this job."""
    return error.status_code in NO_SUCH_ENDPOINT and error.code != "job_not_found"


def is_event_stream(head: Response) -> bool:
    """Whether the response is an event stream."""
    return head.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/event-stream"


def has_moved(view: JobView, event: JobEvent | None) -> bool:
    """Whether a job has moved on since an event."""
    if event is None or view.status != event.status:
        return True
    return None not in (view.attempts, event.attempt) and view.attempts != event.attempt
