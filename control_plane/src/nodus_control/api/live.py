"""Responses that go on: their subscriptions to the feed, and their end when the client leaves, or does not read."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nodus_ledger.errors import Refused

from ..errors import ApiError
from ..streams.event_feed import EventFeed, Subscription
from ..streams.stream_slots import OF_KEY, TooManyInAll, TooManyOfKey
from .faults import DROP

RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins: after the number or position `after`, for a key."""

    customer_id: str
    key_id: str
    job_id: str | None
    after: int


class LiveResponse(Response):
    """A response that goes on until it has told everything, the client leaves, or the server stops."""

    def __init__(self, feed: EventFeed, start: Start, *, status_code: int = 200, headers: dict[str, str]) -> None:
        super().__init__(status_code=status_code, headers=headers)
        del self.headers["content-length"]
        self.feed = feed
        self.start = start
        self._send: Send
        self.subscription: Subscription

    @abstractmethod
    async def tell(self) -> bool:
        """Write everything; return whether that was the whole, or the client must not take it for that.

        Raises:
            ApiError, Refused: nothing more can be told now.
        """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response.

        Raises:
            ApiError: 429 `too_many_streams`, 503 `busy`.
        """
        self._send = send
        self.subscription = self._subscribe()
        drop: Callable[[bool], None] | None = scope.get("state", {}).get(DROP)
        if drop is not None:
            self.subscription.cut = lambda: drop(False)
        try:
            async with anyio.create_task_group() as tasks:

                async def watch_client() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch_client)
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                try:
                    is_whole = await self.tell()
                except (ApiError, Refused):
                    # The client comes again, and is told why not, or goes on where this ended.
                    is_whole = self.can_resume
                if is_whole or drop is None:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    tasks.cancel_scope.cancel()
                else:
                    drop(False)
        finally:
            self.feed.unsubscribe(self.subscription)

    can_resume = True
    """Whether a client that finds the response at its end comes again by itself."""

    async def write(self, data: bytes) -> None:
        """Send a part."""
        subscription = self.subscription
        subscription.sending_since = subscription.silent_since = time.monotonic()
        subscription.owes_heartbeat = False
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        subscription.sending_since = None

    def _subscribe(self) -> Subscription:
        start = self.start
        try:
            return self.feed.subscribe(start.customer_id, start.key_id, job_id=start.job_id, after=start.after)
        except TooManyOfKey:
            raise ApiError(
                429,
                "too_many_streams",
                f"This key has {OF_KEY} streams open: close one, or ask again and again instead.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            ) from None
        except TooManyInAll:
            raise ApiError(
                503,
                "busy",
                "There are too many streams open on this server: try again.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            ) from None
