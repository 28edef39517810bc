"""`/v1/events` and `/v1/jobs/{id}/events`: transitions as server-sent events, resumable, as they happen."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.lowlevel import RunVar

from nodus_ledger.jobs.jobs import Jobs
from nodus_ledger.keys.keys import KeyRecord

from ..concurrency.wakeups import LONGEST_PAUSE_SECONDS, PAUSE_FACTOR
from ..errors import ApiError
from ..streams.event_feed import EventFeed, Page
from .live import LiveResponse, Start
from .requests import ApiRequest, in_thread

MEDIA_TYPE = "text/event-stream"
LATEST = "latest"

CATCHING_UP = 4
"""How many streams at once are told what happened before they began."""

_limiters: RunVar[anyio.CapacityLimiter] = RunVar("nodus_control_catching_up")
_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_HEARTBEAT = b":\n\n"


class Parts(Protocol):
    """What these operations need of a control plane."""

    feed: EventFeed
    jobs: Jobs


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to stream. `is_over` if no event will follow; `tells_id` if the client does not know yet where it begins."""

    start: Start
    is_over: bool = False
    tells_id: bool = False


def follow_events(parts: Parts, call: ApiRequest, key: KeyRecord) -> LiveResponse:
    """Follow all of the customer's jobs."""
    return _EventStream(parts.feed, _of_customer(parts, call, key))


def follow_job(parts: Parts, call: ApiRequest, key: KeyRecord) -> LiveResponse:
    """Follow a job."""
    after = _asked_for(call)
    job = parts.jobs.get(key.customer_id, call.path_params["job_id"])
    if after > job.events:
        after = 0
    start = Start(key.customer_id, key.id, job.id, after)
    return _EventStream(parts.feed, _Asked(start, is_over=job.is_terminal and after == job.events))


def _of_customer(parts: Parts, call: ApiRequest, key: KeyRecord) -> _Asked:
    if call.header("last-event-id") is None and call.parameters.get("after") == LATEST:
        return _Asked(Start(key.customer_id, key.id, None, parts.feed.head(key.customer_id)), tells_id=True)
    after = _asked_for(call)
    # A sequence that is shorter than that is another one: the control plane has lost its memory since.
    if after and after > parts.feed.head(key.customer_id):
        after = 0
    return _Asked(Start(key.customer_id, key.id, None, after))


def _asked_for(call: ApiRequest) -> int:
    """Return the number of the last event that the client has received; `Last-Event-ID` takes precedence.

    Raises:
        ApiError: 422 `invalid_query`.
    """
    last = call.header("last-event-id")
    if last is not None and _NUMBER.match(last):
        return int(last)
    after = call.parameters.get("after")
    if after is None:
        return 0
    if not _NUMBER.match(after):
        raise ApiError(422, "invalid_query", "`after` must be the `id` of an event that came before.")
    return int(after)


class _EventStream(LiveResponse):
    """Events, as they happen."""

    def __init__(self, feed: EventFeed, asked: _Asked) -> None:
        headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(feed, asked.start, headers=headers)
        self._asked = asked

    async def tell(self) -> bool:
        """Write events until the job is over, or the subscription is gone."""
        if self._asked.is_over:
            return True
        if self._asked.tells_id:
            # A client that reconnects before the first event must know where it had begun.
            await self.write(f"id: {self.start.after}\n\n".encode())
        subscription = self.subscription
        while not subscription.is_closed:
            news = subscription.arm()
            page = self.feed.recent_text(subscription)
            if page is None:
                page = await self._old_page()
            elif page.text:
                await self.write(page.text)
            elif subscription.owes_heartbeat:
                await self.write(_HEARTBEAT)
            else:
                await news.wait()
            if page.is_last:
                return True
        return True

    async def _old_page(self) -> Page:
        """Write what came before the recent events, a page at a time, beside few other streams.

        Sending need not wait for anything, so a thousand streams with much to tell would keep everybody else waiting.
        """
        # Whoever does not read waits here, and holds up nobody.
        await self.write(b"")
        async with _catching_up():
            began = time.monotonic()
            page = self.feed.kept_text(self.subscription)
            if page is None:
                page = await in_thread(self.feed.read_text, self.subscription)
            if page.text:
                await self.write(page.text)
            await anyio.sleep(min(LONGEST_PAUSE_SECONDS, PAUSE_FACTOR * (time.monotonic() - began)))
        return page


def _catching_up() -> anyio.CapacityLimiter:
    try:
        return _limiters.get()
    except LookupError:
        _limiters.set(limiter := anyio.CapacityLimiter(CATCHING_UP))
        return limiter
