"""The worker of webhooks: claims deliveries that are due, has each sent, and records what became of it.

Attempts run concurrently on an event loop of their own, whose thread starts with the first delivery. Who may send next
is decided in `fair_share`: endpoints that hang, of however many customers, delay nobody else's deliveries.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from nodus_core.webhook_retries import INTERNAL, NOT_SIGNED, Outcome
from nodus_ledger.database.sealing import UnusableKey
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.webhooks.deliveries import Deliveries, Outgoing, new_owner
from nodus_ledger.webhooks.endpoints import Destination, Webhooks

from ..clock import Clock
from ..concurrency.threads import begin_thread
from ..trouble import Trouble
from .fair_share import InFlight, Limits, Waiting, share
from .sending import Sender

LEASE_MS = 30_000
"""Twice as long as an attempt may take."""

IDLE_SECONDS = 1.0
"""How long, in real seconds, news from another process may go unnoticed."""

GATHERING_SECONDS = 0.01
"""How long, in real seconds, news gathers after a look: a thousand submissions a second are not a thousand looks."""

STOPPING_SECONDS = 2.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt under way; `began` on the monotonic clock, in seconds."""

    endpoint_id: str
    customer_id: str
    is_suspect: bool
    began: float


class Deliverer:
    """Makes deliveries that are due. Any number of deliverers may share a database."""

    def __init__(
        self,
        webhooks: Webhooks,
        deliveries: Deliveries,
        sender: Sender,
        clock: Clock,
        *,
        chance: Callable[[], float] = random.random,
        real_time: Callable[[], float] = time.time,
        limits: Limits | None = None,
    ) -> None:
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._sender = sender
        self._clock = clock
        self._chance = chance
        self._real_time = real_time
        self._limits = limits or Limits()
        self._owner = new_owner()
        self._claiming = threading.Lock()
        self._changed = threading.Condition()
        self._in_flight: dict[str, _Attempt] = {}
        self._completed = 0
        self._news = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._closing = contextlib.ExitStack()
        self._portal: BlockingPortal | None = None
        self._trouble = Trouble(_logger, "delivering webhooks")

    def start(self) -> None:
        """Start delivering, in a thread."""
        self._thread = begin_thread("nodus-webhooks", self._run)

    def wake(self) -> None:
        """Say that something may have fallen due."""
        self._news.set()

    def run_due(self) -> int:
        """Deliver all that is due now, and wait for the outcomes; return how many attempts were made."""
        begun = 0
        while True:
            # Before the look: what ends after it has left room for something that was due.
            with self._changed:
                seen = self._completed
            claimed = self._begin_due()
            begun += claimed
            with self._changed:
                if not claimed and not self._in_flight and self._completed == seen:
                    return begun
                self._changed.wait_for(lambda seen=seen: self._completed != seen or not self._in_flight)  # type: ignore[misc]

    def next_due(self) -> int | None:
        """Return when something falls due next, later than now, in Unix milliseconds; None for nothing."""
        return self._deliveries.next_after(self._clock.now())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Start no attempt inside the block; those under way go on."""
        with self._claiming:
            yield

    def stop(self) -> None:
        """Stop. Attempts under way get two seconds; the deliveries of those that are not over then are given back."""
        self._is_stopping = True
        self._news.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._claiming, self._changed:
            self._changed.wait_for(lambda: not self._in_flight, timeout=STOPPING_SECONDS)
            left = list(self._in_flight)
        if self._portal is not None:
            self._portal.call(self._portal.stop, True)
        self._closing.close()
        self._portal = None
        self._deliveries.release(self._owner, left)

    def _run(self) -> None:
        while not self._is_stopping:
            self._news.clear()
            try:
                pause = self._round()
                self._trouble.is_over()
            except Exception as exc:
                self._trouble.say(exc)
                pause = IDLE_SECONDS
            self._news.wait(pause)
            if not self._is_stopping:
                time.sleep(GATHERING_SECONDS)

    def _round(self) -> float:
        """Start what is due; return how long to wait for news, in real seconds."""
        while not self._is_stopping and self._begin_due():
            pass
        due = self.next_due()
        pause = None if due is None else self._clock.real_seconds_until(due)
        return IDLE_SECONDS if pause is None else min(max(pause, 0.002), IDLE_SECONDS)

    def _begin_due(self) -> int:
        """Claim what is due, as far as there is room, and start to send it; return how many deliveries that was."""
        with self._claiming:
            if self._is_stopping:
                return 0
            now, real_now = self._clock.now(), int(self._real_time() * 1000)
            due = {endpoint.id: endpoint for endpoint in self._deliveries.due(now=now, real_now=real_now)}
            if not due:
                return 0
            waiting = [Waiting(each.id, each.customer_id, each.due_at, each.is_suspect) for each in due.values()]
            shares = share(waiting, self._occupied(), self._limits)
            claimed = self._deliveries.claim(self._owner, now=now, real_now=real_now, lease_ms=LEASE_MS, shares=shares)
            if claimed and self._portal is None:
                self._portal = self._closing.enter_context(start_blocking_portal("asyncio"))
            began = time.monotonic()
            with self._changed:
                for outgoing in claimed:
                    endpoint = due[outgoing.endpoint_id]
                    self._in_flight[outgoing.id] = _Attempt(
                        endpoint.id, endpoint.customer_id, endpoint.is_suspect, began
                    )
            for outgoing in claimed:
                assert self._portal is not None
                # This waits for the event loop, which may be waiting for `_changed`: so not while holding that.
                self._portal.start_task_soon(self._deliver, outgoing)
            return len(claimed)

    def _occupied(self) -> list[InFlight]:
        now = time.monotonic()
        with self._changed:
            return [
                InFlight(each.endpoint_id, each.customer_id, each.is_suspect, now - each.began)
                for each in self._in_flight.values()
            ]

    async def _deliver(self, outgoing: Outgoing) -> None:
        began = self._clock.now()
        try:
            outcome = await self._attempt(outgoing)
            await anyio.to_thread.run_sync(self._finish, outgoing, outcome, began)
        except Exception as exc:
            # Its lease expires, and then it is tried again.
            self._trouble.say(exc)
        finally:
            with self._changed:
                self._in_flight.pop(outgoing.id, None)
                self._completed += 1
                self._changed.notify_all()
            self._news.set()

    async def _attempt(self, outgoing: Outgoing) -> Outcome:
        try:
            destination = await anyio.to_thread.run_sync(self._destination, outgoing.endpoint_id)
            if not destination.secrets:
                return Outcome(None, 0, NOT_SIGNED)
            return await self._sender.send(destination.url, outgoing.body, destination.secrets)
        except DatabaseUnavailable:
            raise
        except Exception:
            _logger.exception("delivery %s: the attempt failed here, not at the endpoint", outgoing.id)
            return Outcome(None, 0, INTERNAL)

    def _destination(self, endpoint_id: str) -> Destination:
        try:
            return self._webhooks.destination(endpoint_id, self._clock.now())
        except UnusableKey:
            return Destination("", ())

    def _finish(self, outgoing: Outgoing, outcome: Outcome, began: int) -> None:
        self._deliveries.finish(
            self._owner, outgoing, outcome, began=began, ended=self._clock.now(), chance=self._chance()
        )
