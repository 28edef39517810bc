"""Reads event streams over loopback, as far as a test needs them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import httpx
from patience import PATIENCE_SECONDS

from nodus_control.playground.seeded import CUSTOMER_ID
from nodus_control.testing import LocalControlPlane
from nodus_ledger.keys.keys import PrincipalKind


@dataclass(frozen=True)
class Frame:
    """One event as it stood on the wire; of a comment, all fields are empty."""

    id: str = ""
    event: str = ""
    data: Any = None


class Stream:
    """An open event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._frames = _frames(response)

    def read(self, count: int) -> list[Frame]:
        """Return the next events; fewer where the stream ends before. Comments come whenever a machine is slow."""
        return list(islice(self._events(), count))

    def read_all(self, count: int) -> list[Frame]:
        """Return the next events and comments."""
        return list(islice(self._frames, count))

    def rest(self) -> list[Frame]:
        """Return all events that are still to come."""
        return list(self._events())

    def _events(self) -> Iterator[Frame]:
        return (frame for frame in self._frames if frame != Frame())


@contextmanager
def opened(
    control_plane: LocalControlPlane, path: str, headers: Mapping[str, str] | None = None, *, api_key: str | None = None
) -> Iterator[Stream]:
    """Open a stream with a key; by default the person's."""
    authorization = {"Authorization": f"Bearer {api_key or control_plane.api_key}"}
    with (
        httpx.Client(
            base_url=control_plane.base_url, headers=authorization, trust_env=False, timeout=PATIENCE_SECONDS
        ) as client,
        client.stream("GET", path, headers=headers) as response,
    ):
        yield Stream(response)


def more_keys(control_plane: LocalControlPlane, count: int) -> list[str]:
    """Make keys of the same customer: each may have 20 streams."""
    now = control_plane.plane.clock.now()
    return [
        control_plane.plane.keys.mint(
            customer_id=CUSTOMER_ID, label="more", principal_kind=PrincipalKind.SERVICE, now=now
        ).api_key
        for _ in range(count)
    ]


def has_all_in_memory(control_plane: LocalControlPlane) -> bool:
    """Say whether the feed has all that any stream of its one customer still needs."""
    feed = control_plane.plane.feed
    with feed._lock:
        (log,) = feed._logs.values()
        return log.head is not None and all(log.since(each.position) is not None for each in log.subscriptions)


def parse(text: str) -> list[Frame]:
    """Read the events of a whole stream."""
    frames = [_frame(block.split("\n")) for block in text.split("\n\n") if block]
    return [frame for frame in frames if frame != Frame()]


def _frames(response: httpx.Response) -> Iterator[Frame]:
    lines: list[str] = []
    for line in response.iter_lines():
        if line:
            lines.append(line)
        else:
            yield _frame(lines)
            lines = []


def _frame(lines: list[str]) -> Frame:
    fields = dict(line.split(":", 1) for line in lines)
    id, event, data = (fields.get(name, "").strip() for name in ("id", "event", "data"))
    return Frame(id, event, json.loads(data) if data else None)
