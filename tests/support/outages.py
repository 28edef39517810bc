"""Twenty hours of a control plane with an outage, two restarts, a period of errors and one of rate limits."""

from __future__ import annotations

from collections.abc import Callable

from nodus._httpx import httpx
from tests.support.clock import AsyncFakeClock, FakeClock
from tests.support.script import refusal

HOUR = 3600.0
DAY_JOB = 20 * HOUR
"""How long the longest job takes, in seconds."""

ANSWER_SECONDS = 0.05


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def dropped(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("connection reset by peer", request=request)


def broken(request: httpx.Request) -> httpx.Response:
    return refusal(500, "internal")


def limited(request: httpx.Request) -> httpx.Response:
    return refusal(429, "rate_limited", retry_after="45")


OUTAGES: list[tuple[float, float, Callable[[httpx.Request], httpx.Response]]] = [
    (2 * HOUR, 300.0, unreachable),
    (5 * HOUR, 10.0, dropped),
    (5 * HOUR + 10.0, 20.0, unreachable),
    (9 * HOUR, 200.0, broken),
    (13 * HOUR, 150.0, limited),
    (17 * HOUR, 10.0, dropped),
    (17 * HOUR + 10.0, 20.0, unreachable),
]
"""When each outage begins, how many seconds it lasts, and what a request meets meanwhile."""


class FailingServer:
    """A server with outages.

    Args:
        clock: tells whether there is an outage now; each request takes a little of its time.
        server: answers when there is none.

    Attributes:
        looks: when a request came, and whether it was answered as it should be.
    """

    def __init__(self, clock: AsyncFakeClock | FakeClock, server: Callable[[httpx.Request], httpx.Response]) -> None:
        self._clock = clock
        self._server = server
        self.looks: list[tuple[float, bool]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self._clock.advance(ANSWER_SECONDS)
        now = self._clock.now()
        for start, seconds, trouble in OUTAGES:
            if start <= now < start + seconds:
                self.looks.append((now, False))
                return trouble(request)
        self.looks.append((now, True))
        return self._server(request)

    @property
    def troubled(self) -> int:
        """How many requests failed."""
        return sum(not well for _, well in self.looks)

    def longest_pause(self) -> float:
        """The longest time between two requests of which the first was answered well."""
        pairs = zip(self.looks, self.looks[1:], strict=False)
        return max(later - sooner for (sooner, well), (later, _) in pairs if well)
