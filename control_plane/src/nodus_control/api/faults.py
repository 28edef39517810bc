"""Scripted faults: the next requests that match are dropped, delayed, cut short or answered with a status."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ApiError

ACTIONS = ("status", "drop_before", "drop_after", "delay", "truncate")
DROP = "nodus_drop_connection"
"""The key in a request's `state` under which the server leaves the function that cuts its connection."""

_CODES = {401: "invalid_api_key", 404: "not_found", 429: "rate_limited", 503: "no_supplier"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What to do to the next `times` requests that match; `path` is exact, or a prefix if it ends in `*`."""

    do: str
    method: str | None = None
    path: str | None = None
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    times: int = 1

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request matches."""
        if self.method is not None and self.method.upper() != method:
            return False
        if self.path is None:
            return True
        return path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path

    def view(self) -> dict[str, Any]:
        """Return what `GET /_dev/state` shows."""
        return {
            "match": {"method": self.method, "path": self.path},
            "do": self.do,
            "status": self.status,
            "headers": dict(self.headers),
            "seconds": self.seconds,
            "times": self.times,
        }


class FaultScript:
    """The faults to come, first come, first served."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Add a fault after those that are waiting.

        Raises:
            ValueError: its action is unknown.
        """
        if fault.do not in ACTIONS:
            raise ValueError(f"`do` must be one of {', '.join(ACTIONS)}")
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Remove them all."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> list[Fault]:
        """Return those that are waiting."""
        with self._lock:
            return list(self._faults)

    def take(self, method: str, path: str) -> Fault | None:
        """Use up one turn of the first fault that matches."""
        with self._lock:
            for position, fault in enumerate(self._faults):
                if fault.matches(method, path):
                    if fault.times > 1:
                        self._faults[position] = replace(fault, times=fault.times - 1)
                    else:
                        del self._faults[position]
                    return fault
        return None


class FaultMiddleware:
    """Applies the script to requests, except those to `/_dev` itself."""

    def __init__(self, app: ASGIApp, script: FaultScript) -> None:
        self._app = app
        self._script = script

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        fault = None
        if scope["type"] == "http" and not scope["path"].startswith("/_dev"):
            fault = self._script.take(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.do == "status":
            code = _CODES.get(fault.status, "injected_fault")
            raise ApiError(fault.status, code, "This answer was scripted.", headers=fault.headers)
        elif fault.do == "delay":
            await anyio.sleep(fault.seconds)
            await self._app(scope, receive, send)
        elif fault.do == "drop_before":
            await _drop(scope, receive)
        elif fault.do == "drop_after":
            await self._handle(scope, receive)
            await _drop(scope, receive)
        else:
            await self._truncate(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive) -> list[Message]:
        """Return the application's response; of one that goes on, its beginning."""
        messages: list[Message] = []
        with anyio.CancelScope() as handling:

            async def keep(message: Message) -> None:
                messages.append(message)
                goes_on = all(name != b"content-length" for name, _ in messages[0]["headers"])
                if goes_on and message.get("body") and message.get("more_body"):
                    handling.cancel()

            await self._app(scope, receive, keep)
        return messages

    async def _truncate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise the whole body, send half of it, and cut the connection."""
        messages = await self._handle(scope, receive)
        body = b"".join(message.get("body", b"") for message in messages[1:])
        headers = [(name, value) for name, value in messages[0]["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(max(1, len(body))).encode()))
        await send({**messages[0], "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await _drop(scope, receive, is_orderly=True)


async def _drop(scope: Scope, receive: Receive, *, is_orderly: bool = False) -> None:
    """Cut the connection as a crashed server would; in process, raise what a client would find."""
    drop: Callable[[bool], None] | None = scope.get("state", {}).get(DROP)
    if drop is None:
        raise httpx.RemoteProtocolError("the connection was dropped, as asked for")
    drop(is_orderly)
    while (await receive())["type"] != "http.disconnect":
        pass
