"""What happens to jobs, as it happens: one thread watches the database for all event streams of an API process.

It sees what any process commits. Streams keep no queue: each knows how far it has got, and reads on from there: in
the recent events that its customer's streams share, or, if it is further behind, in the database. An event is made into
text once, whoever is sent it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nodus_ledger.jobs.event_log import EventLog, EventRecord

from ..concurrency.threads import begin_thread
from ..concurrency.wakeups import Sleeper, wake_all, wake_in_turn
from ..trouble import Trouble
from .event_text import encode
from .stream_slots import StreamSlots

POLL_SECONDS = 0.1
"""How long, in real seconds, a commit by another process may go unnoticed."""

GATHERING_SECONDS = 0.01
"""How long, in real seconds, the watcher lets more happen before it looks again."""

RETRY_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
CHECK_SECONDS = 1.0
"""How often, in real seconds, the keys of open streams are checked, and whether their clients read."""
SLOW_SECONDS = 10.0
"""How long, in real seconds, a client may leave what it was sent unread; then it is cut off, and can resume."""
PAGE = 256
RECENT = 1024
_PAGES_KEPT = 64

_logger = logging.getLogger(__name__)


class Subscription(Sleeper):
    """One stream's place in the feed. `job_id` is None for all of the customer's jobs.

    Every event that the stream still needs is after `position` in the customer's sequence, and, for one job, has a
    number above `seq`. While the stream waits for its client to read, `sending_since` says since when (monotonic
    seconds), and `cut` ends its connection, called in the stream's event loop. One that has been silent for long
    `owes_heartbeat`.
    """

    def __init__(self, customer_id: str, key_id: str, job_id: str | None, after: int) -> None:
        super().__init__()
        self.customer_id = customer_id
        self.key_id = key_id
        self.job_id = job_id
        self.position = 0 if job_id is not None else after
        self.seq = after if job_id is not None else 0
        self.is_closed = False
        self.sending_since: float | None = None
        self.silent_since = time.monotonic()
        self.owes_heartbeat = False
        self.cut: Callable[[], object] | None = None

    def pass_by(self, events: Sequence[EventRecord]) -> None:
        """Note that the stream has received these."""
        if events:
            self.position = max(self.position, events[-1].position)
            self.seq = events[-1].seq


class Page(NamedTuple):
    """Events as text, up to a position in the customer's sequence; `is_last` if they end with a job's last."""

    text: bytes
    reached: int
    is_last: bool = False


class _Log:
    """What the streams of one customer share: the latest events, all of them after `complete_after`."""

    def __init__(self) -> None:
        self.head: int | None = None
        self.complete_after = 0
        self.recent: deque[EventRecord] = deque()
        self.subscriptions: set[Subscription] = set()
        self.reading = threading.Lock()
        # By the position that a stream has reached: of the recent events, until there are more; of old ones, which
        # never change, whole pages.
        self.news: dict[int, Page] = {}
        self.history: OrderedDict[int, Page] = OrderedDict()

    def begin(self, head: int) -> None:
        self.head = self.complete_after = head
        self.recent.clear()
        self.news.clear()

    def extend(self, events: Sequence[EventRecord], head: int) -> None:
        self.recent.extend(events)
        while len(self.recent) > RECENT:
            self.complete_after = self.recent.popleft().position
        # The events were read after the head, and may go past it.
        self.head = max([head, *(event.position for event in events[-1:])])
        self.news.clear()

    def since(self, position: int) -> tuple[list[EventRecord], int] | None:
        """Return a page of the events after a position, and how far it goes; None if they are not all here."""
        if self.head is None or position < self.complete_after:
            return None
        found: list[EventRecord] = []
        for event in reversed(self.recent):
            if event.position <= position:
                break
            found.append(event)
        found.reverse()
        if len(found) > PAGE:
            found = found[:PAGE]
            return found, found[-1].position
        return found, self.head

    def keep(self, after: int, page: Page) -> None:
        self.history[after] = page
        if len(self.history) > _PAGES_KEPT:
            self.history.popitem(last=False)


class EventFeed:
    """Tells event streams what has been committed.

    Args:
        events: the log that they follow.
        live_keys: returns which of the given keys are neither revoked nor expired.
        heartbeat_seconds: how often, in real seconds, idle streams send a sign of life.
        slots: how many streams there may be.
    """

    def __init__(
        self,
        events: EventLog,
        live_keys: Callable[[Sequence[str]], set[str]],
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        slots: StreamSlots[Subscription] | None = None,
    ) -> None:
        self.heartbeat_seconds = heartbeat_seconds
        self.slow_seconds = SLOW_SECONDS
        self._slots: StreamSlots[Subscription] = StreamSlots() if slots is None else slots
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

        Raises:
            TooManyOfKey: the key has as many streams as it may have.
            TooManyInAll: there are as many as there may be.
            RuntimeError: there is no thread to be had.
        """
        subscription = Subscription(customer_id, key_id, job_id, after)
        with self._lock:
            if self._stopping.is_set():
                subscription.is_closed = True
                return subscription
            if self._thread is None:
                self._thread = begin_thread("nodus-events", self._run)
            displaced = self._slots.open(customer_id, key_id, subscription)
            if displaced is not None:
                self._remove(displaced)
            self._logs.setdefault(customer_id, _Log()).subscriptions.add(subscription)
        if displaced is not None:
            wake_all([displaced])
        self._news.set()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Release a place."""
        with self._lock:
            self._remove(subscription)

    def head(self, customer_id: str) -> int:
        """Return how far a customer's sequence has got."""
        return self._events.heads([customer_id])[customer_id]

    def recent(self, subscription: Subscription) -> list[EventRecord] | None:
        """Return what a stream has not received yet, and advance it; None if that must be read from the database."""
        with self._lock:
            log = self._logs.get(subscription.customer_id)
            found = None if log is None else log.since(subscription.position)
            if found is None:
                return None
            events, reached = found
            if subscription.job_id is not None:
                events = [each for each in events if each.job_id == subscription.job_id and each.seq > subscription.seq]
            subscription.pass_by(events)
            subscription.position = max(subscription.position, reached)
            return events

    def recent_text(self, subscription: Subscription) -> Page | None:
        """Return what a stream has not received yet, and advance it; None if that must be read from the database."""
        if subscription.job_id is not None:
            events = self.recent(subscription)
            return None if events is None else _page_of_job(events, subscription.position)
        with self._lock:
            log = self._logs.get(subscription.customer_id)
            if log is None:
                return None
            page = log.news.get(subscription.position)
            if page is None:
                found = log.since(subscription.position)
                if found is None:
                    return None
                page = log.news[subscription.position] = _page(*found)
            subscription.position = max(subscription.position, page.reached)
            return page

    def kept_text(self, subscription: Subscription) -> Page | None:
        """Return an old page that another stream has read, and advance this one; None if that must be read."""
        with self._lock:
            log = self._logs.get(subscription.customer_id)
            page = None if log is None or subscription.job_id is not None else log.history.get(subscription.position)
            if page is not None:
                subscription.position = page.reached
            return page

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

    def read_text(self, subscription: Subscription) -> Page:
        """Return, from the database, a page of what a stream has not received yet, and advance it. Blocks.

        Of many streams of a customer that begin at the same position, one reads.
        """
        if subscription.job_id is not None:
            return _page_of_job(self.read(subscription), subscription.position)
        with self._lock:
            log = self._logs.get(subscription.customer_id)
        if log is None:
            return Page(b"", subscription.position)
        with log.reading:
            page = self.kept_text(subscription) or self.recent_text(subscription)
            if page is None:
                after = subscription.position
                events = self.read(subscription)
                page = _page(events, subscription.position)
                if len(events) == PAGE:
                    with self._lock:
                        log.keep(after, page)
        return page

    def wake(self) -> None:
        """Say that something may have happened."""
        self._news.set()

    def end_streams(self) -> None:
        """End every stream: its client reconnects, and gets what it missed."""
        with self._lock:
            streams = [each for log in self._logs.values() for each in log.subscriptions]
            for subscription in streams:
                self._remove(subscription)
        wake_all(streams)

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
                self._check_streams()
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
        told: list[list[Subscription]] = []
        for customer_id, head in self._events.heads(list(logs)).items():
            known = logs[customer_id].head
            if known is None:
                told.append(self._tell(logs[customer_id], head, None))
            elif head > known:
                events = self._events.of_customer(customer_id, after=known, limit=RECENT)
                told.append(self._tell(logs[customer_id], head, events if len(events) < RECENT else None))
        wake_in_turn(told, self._stopping)

    def _tell(self, log: _Log, head: int, events: Sequence[EventRecord] | None) -> list[Subscription]:
        """Bring a log up to its head; return its streams that have news: with None, all must read from the database."""
        with self._lock:
            if events is None:
                log.begin(head)
                return list(log.subscriptions)
            log.extend(events, head)
            jobs = {event.job_id for event in events}
            return [each for each in log.subscriptions if each.job_id in jobs or (each.job_id is None and jobs)]

    def _check_streams(self) -> None:
        """End the streams of keys that are no longer valid, cut off clients that do not read, and wake idle ones.

        What is idle sends a sign of life, so that both sides know that the other is there.
        """
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_SECONDS
        with self._lock:
            streams = [each for log in self._logs.values() for each in log.subscriptions]
        if not streams:
            return
        for each in streams:
            since = each.sending_since
            if since is not None and now - since > self.slow_seconds and each.cut is not None:
                each.call(each.cut)
        silent = [each for each in streams if now - each.silent_since >= self.heartbeat_seconds - CHECK_SECONDS]
        for each in silent:
            each.owes_heartbeat = True
        live = self._live_keys(sorted({each.key_id for each in streams}))
        over = [each for each in streams if each.key_id not in live]
        for subscription in over:
            self.unsubscribe(subscription)
        wake_all(over)
        wake_in_turn([silent], self._stopping)

    def _remove(self, subscription: Subscription) -> None:
        subscription.is_closed = True
        self._slots.close(subscription.customer_id, subscription)
        log = self._logs.get(subscription.customer_id)
        if log is not None:
            log.subscriptions.discard(subscription)
            if not log.subscriptions:
                del self._logs[subscription.customer_id]


def _page(events: Sequence[EventRecord], reached: int) -> Page:
    return Page(b"".join(encode(event, of_job=False) for event in events), reached)


def _page_of_job(events: Sequence[EventRecord], reached: int) -> Page:
    text = b"".join(encode(event, of_job=True) for event in events)
    return Page(text, reached, is_last=bool(events) and events[-1].is_terminal)
