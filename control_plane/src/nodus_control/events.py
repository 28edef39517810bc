"""What happens to jobs, as it happens: one thread watches the database for all event streams of an API process.

It sees what any process commits. Streams keep no queue: each knows how far it has got, and reads on from there: in
the recent events that its customer's streams share, or, if it is further behind, in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence

import anyio

from nodus_ledger.event_log import EventLog, EventRecord

from .trouble import Trouble

POLL_SECONDS = 0.1
"""How long, in real seconds, a commit by another process may go unnoticed."""

GATHERING_SECONDS = 0.01
"""How long, in real seconds, the watcher lets more happen before it looks again."""

RETRY_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
PAGE = 256
RECENT = 1024

CallSoon = Callable[..., object]
"""Calls a function in an event loop, from any thread."""

_logger = logging.getLogger(__name__)


class Subscription:
    """One stream's place in the feed. `job_id` is None for all of the customer's jobs.

    Every event that the stream still needs is after `position` in the customer's sequence, and, for one job, has a
    number above `seq`.
    """

    def __init__(self, customer_id: str, key_id: str, job_id: str | None, after: int) -> None:
        self.customer_id = customer_id
        self.key_id = key_id
        self.job_id = job_id
        self.position = 0 if job_id is not None else after
        self.seq = after if job_id is not None else 0
        self.is_closed = False
        self.call_soon = _call_soon()
        self.news = anyio.Event()

    def pass_by(self, events: Sequence[EventRecord]) -> None:
        """Note that the stream has received these."""
        if events:
            self.position = max(self.position, events[-1].position)
            self.seq = events[-1].seq


class _Log:
    """What the streams of one customer share: the latest events, all of them after `complete_after`."""

    def __init__(self) -> None:
        self.head: int | None = None
        self.complete_after = 0
        self.recent: deque[EventRecord] = deque()
        self.subscriptions: set[Subscription] = set()

    def begin(self, head: int) -> None:
        self.head = self.complete_after = head
        self.recent.clear()

    def extend(self, events: Sequence[EventRecord], head: int) -> None:
        self.recent.extend(events)
        while len(self.recent) > RECENT:
            self.complete_after = self.recent.popleft().position
        # The events were read after the head, and may go past it.
        self.head = max([head, *(event.position for event in events[-1:])])

    def since(self, position: int) -> list[EventRecord] | None:
        """Return the events after a position; None if not all of them are here."""
        if self.head is None or position < self.complete_after:
            return None
        found: list[EventRecord] = []
        for event in reversed(self.recent):
            if event.position <= position:
                break
            found.append(event)
        found.reverse()
        return found


class EventFeed:
    """Tells event streams what has been committed.

    Args:
        events: the log that they follow.
        live_keys: returns which of the given keys are not revoked.
        heartbeat_seconds: how often, in real seconds, idle streams send a sign of life, and keys are checked.
    """

    def __init__(
        self,
        events: EventLog,
        live_keys: Callable[[Sequence[str]], set[str]],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self._events = events
        self._live_keys = live_keys
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._next_check = 0.0
        self._trouble = Trouble(_logger, "the event feed")

    @property
    def streams(self) -> int:
        """How many streams there are."""
        with self._lock:
            return sum(len(log.subscriptions) for log in self._logs.values())

    def subscribe(self, customer_id: str, key_id: str, *, job_id: str | None = None, after: int = 0) -> Subscription:
        """Take a place in the feed, after a position in the customer's sequence or a number in the job's.

        Called in the stream's event loop. After `close` the place is a closed one.
        """
        subscription = Subscription(customer_id, key_id, job_id, after)
        with self._lock:
            if self._stopping.is_set():
                subscription.is_closed = True
                return subscription
            self._logs.setdefault(customer_id, _Log()).subscriptions.add(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nodus-events", daemon=True)
                self._thread.start()
        self._news.set()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Release a place."""
        with self._lock:
            subscription.is_closed = True
            log = self._logs.get(subscription.customer_id)
            if log is not None:
                log.subscriptions.discard(subscription)
                if not log.subscriptions:
                    del self._logs[subscription.customer_id]

    def head(self, customer_id: str) -> int:
        """Return how far a customer's sequence has got."""
        return self._events.heads([customer_id])[customer_id]

    def arm(self, subscription: Subscription) -> anyio.Event:
        """Return the event that the next news for a stream sets; to be called before the stream reads."""
        with self._lock:
            subscription.news = anyio.Event()
            return subscription.news

    def recent(self, subscription: Subscription) -> list[EventRecord] | None:
        """Return what a stream has not received yet, and advance it; None if that must be read from the database."""
        with self._lock:
            log = self._logs.get(subscription.customer_id)
            events = None if log is None else log.since(subscription.position)
            if log is None or log.head is None or events is None:
                return None
            if len(events) > PAGE:
                events = events[:PAGE]
                reached = events[-1].position
            else:
                reached = log.head
            if subscription.job_id is not None:
                events = [each for each in events if each.job_id == subscription.job_id and each.seq > subscription.seq]
            subscription.pass_by(events)
            subscription.position = max(subscription.position, reached)
            return events

    def read(self, subscription: Subscription) -> list[EventRecord]:
        """Return, from the database, a page of what a stream has not received yet, and advance it. Blocks."""
        with self._lock:
            log = self._logs.get(subscription.customer_id)
            head = 0 if log is None or log.head is None else log.head
        if subscription.job_id is None:
            events = self._events.of_customer(subscription.customer_id, after=subscription.position, limit=PAGE)
        else:
            events = self._events.of_job(subscription.job_id, after=subscription.seq, limit=PAGE)
        subscription.pass_by(events)
        if len(events) < PAGE:
            subscription.position = max(subscription.position, head)
        return events

    def wake(self) -> None:
        """Say that something may have happened."""
        self._news.set()

    def end_streams(self) -> None:
        """End every stream: its client reconnects, and gets what it missed."""
        with self._lock:
            streams = [each for log in self._logs.values() for each in log.subscriptions]
            self._logs.clear()
            for subscription in streams:
                subscription.is_closed = True
        _wake_up(streams)

    def close(self) -> None:
        """End every stream, and accept no new ones."""
        self._stopping.set()
        self._news.set()
        self.end_streams()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(POLL_SECONDS if self._logs else None)
            self._news.clear()
            try:
                self._look()
                self._check_keys()
                self._trouble.is_over()
            except Exception as exc:
                self._trouble.say(exc)
                self._stopping.wait(RETRY_SECONDS)
            self._stopping.wait(GATHERING_SECONDS)

    def _look(self) -> None:
        with self._lock:
            logs = dict(self._logs)
        if not logs:
            return
        for customer_id, head in self._events.heads(list(logs)).items():
            known = logs[customer_id].head
            if known is None:
                self._tell(logs[customer_id], head, None)
            elif head > known:
                events = self._events.of_customer(customer_id, after=known, limit=RECENT)
                self._tell(logs[customer_id], head, events if len(events) < RECENT else None)

    def _tell(self, log: _Log, head: int, events: Sequence[EventRecord] | None) -> None:
        """Bring a log up to its head, and notify its streams; with None, they all read from the database."""
        with self._lock:
            if events is None:
                log.begin(head)
                told = list(log.subscriptions)
            else:
                log.extend(events, head)
                jobs = {event.job_id for event in events}
                told = [each for each in log.subscriptions if each.job_id in jobs or (each.job_id is None and jobs)]
        _wake_up(told)

    def _check_keys(self) -> None:
        """End the streams of keys that were revoked."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + self.heartbeat_seconds
        with self._lock:
            streams = [each for log in self._logs.values() for each in log.subscriptions]
        if not streams:
            return
        live = self._live_keys(sorted({each.key_id for each in streams}))
        revoked = [each for each in streams if each.key_id not in live]
        for subscription in revoked:
            self.unsubscribe(subscription)
        _wake_up(revoked)


def _call_soon() -> CallSoon:
    """Return a function that calls another in the event loop that is running here, from any thread."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon


def _wake_up(subscriptions: Iterable[Subscription]) -> None:
    """Tell streams that there is news, with one call per event loop."""
    by_loop: defaultdict[CallSoon, list[anyio.Event]] = defaultdict(list)
    for subscription in subscriptions:
        by_loop[subscription.call_soon].append(subscription.news)
    for call_soon, events in by_loop.items():
        # A closed loop has no streams left to notify.
        with contextlib.suppress(RuntimeError):
            call_soon(_set_all, events)


def _set_all(events: Iterable[anyio.Event]) -> None:
    for event in events:
        event.set()
