"""The deliveries to the playground's built-in receiver, kept in memory, within limits of number and size.

Only what an endpoint of this control plane signed is kept: the receiver needs no key, so anybody on this machine could
fill it otherwise. What was received is kept as it came, and read when it is shown.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nodus

MOST_KEPT = 1000
MOST_BYTES = 16 << 20
"""What all names together may keep; the oldest deliveries go first."""

MOST_BYTES_OF_A_NAME = 4 << 20

_OVERHEAD_BYTES = 1024  # what an empty delivery takes, roughly


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery; `received_at` in Unix milliseconds of the control plane's clock."""

    name: str
    received_at: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    @property
    def size(self) -> int:
        """How many bytes it takes to keep, roughly."""
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return _OVERHEAD_BYTES + len(self.name) + headers + len(self.body)

    def event(self) -> Any:
        """Return the decoded JSON of the body; None if it is not JSON."""
        try:
            return json.loads(self.body.decode())
        except (ValueError, RecursionError):
            return None


class Inbox:
    """The latest deliveries, the oldest first."""

    def __init__(
        self,
        *,
        most: int = MOST_KEPT,
        most_bytes: int = MOST_BYTES,
        most_bytes_of_a_name: int = MOST_BYTES_OF_A_NAME,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._most_bytes_of_a_name = most_bytes_of_a_name
        self._lock = threading.Lock()
        self._forget_all()

    def add(self, received: Received) -> None:
        """Keep a delivery, in the place of older ones where there is no room; not one that is too large by itself."""
        if received.size > min(self._most_bytes, self._most_bytes_of_a_name):
            return
        with self._lock:
            of_name = self._numbers[received.name]
            while of_name and self._bytes[received.name] + received.size > self._most_bytes_of_a_name:
                self._remove(of_name[0])
            while self._received and (
                len(self._received) >= self._most or self._all_bytes + received.size > self._most_bytes
            ):
                self._remove(next(iter(self._received)))
            self._last += 1
            self._received[self._last] = received
            self._numbers[received.name].append(self._last)
            self._bytes[received.name] += received.size
            self._all_bytes += received.size

    def all(self) -> list[Received]:
        """Return the deliveries that are kept."""
        with self._lock:
            return list(self._received.values())

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._forget_all()

    def _forget_all(self) -> None:
        self._received: OrderedDict[int, Received] = OrderedDict()
        self._numbers: defaultdict[str, deque[int]] = defaultdict(deque)
        self._bytes: defaultdict[str, int] = defaultdict(int)
        self._all_bytes = 0
        self._last = 0

    def _remove(self, number: int) -> None:
        """Remove a delivery, which is the oldest of its name."""
        removed = self._received.pop(number)
        self._numbers[removed.name].popleft()
        self._bytes[removed.name] -= removed.size
        self._all_bytes -= removed.size
        if not self._numbers[removed.name]:
            del self._numbers[removed.name], self._bytes[removed.name]


def is_signed(secrets: Sequence[str], path: str, body: bytes, header: str | None) -> bool:
    """Say whether one of these secrets signed a delivery, in the same way as its receiver would."""
    return bool(secrets) and nodus.verify_webhook(
        signing_secret=list(secrets), method="POST", path=path, body=body, signature_header=header
    )
