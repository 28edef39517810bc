"""The deliveries to the playground's built-in receiver, kept in memory."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nodus

MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery; `received_at` in Unix milliseconds of the control plane's clock."""

    name: str
    received_at: int
    headers: Mapping[str, str]
    body: str
    event: Any
    signature_valid: bool


class Inbox:
    """The latest 1000 deliveries, the oldest first."""

    def __init__(self) -> None:
        self._received: deque[Received] = deque(maxlen=MOST_KEPT)
        self._lock = threading.Lock()

    def add(self, received: Received) -> None:
        """Keep a delivery."""
        with self._lock:
            self._received.append(received)

    def all(self) -> list[Received]:
        """Return the deliveries that are kept."""
        with self._lock:
            return list(self._received)

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._received.clear()


def read_event(body: bytes) -> Any:
    """Return the decoded JSON of a body; None if it is not JSON."""
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):
        return None


def is_signed(secrets: Sequence[str], path: str, body: bytes, header: str | None) -> bool:
    """Say whether one of these secrets signed a delivery, in the same way as its receiver would."""
    return bool(secrets) and nodus.verify_webhook(
        signing_secret=list(secrets), method="POST", path=path, body=body, signature_header=header
    )
