"""`/healthz`: whether this control plane answers. `/readyz`: whether it can do what it is asked."""

from __future__ import annotations

from typing import Protocol

import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.requests import Request
from starlette.responses import Response

from ..readiness import Readiness, is_ready
from ..version import VERSION
from .views import to_json

ANSWER_SECONDS = 5.0
"""How long the database may take to answer; whoever asks for readiness does not wait for ever."""

_own_thread: RunVar[anyio.CapacityLimiter] = RunVar("nodus_control_readiness_thread")


class Parts(Protocol):
    """What these operations need of a control plane."""

    readiness: Readiness


async def healthz(_parts: object, _request: Request) -> Response:
    """Say that requests are answered. Needs no credentials."""
    return Response(to_json({"status": "ok", "version": VERSION}), media_type="application/json")


async def readyz(parts: Parts, _request: Request) -> Response:
    """Say whether database and Redis answer, and whether a worker was seen. Needs no credentials."""
    # Without an answer in time, the database is what gives none: Redis has a shorter limit.
    checks = {"database": "no answer", "worker": "unknown"}
    with anyio.move_on_after(ANSWER_SECONDS):
        # In a thread that no request can occupy.
        checks = await anyio.to_thread.run_sync(parts.readiness.check, limiter=_limiter(), abandon_on_cancel=True)
    ready = is_ready(checks)
    content = {"status": "ok" if ready else "unavailable", "checks": checks}
    return Response(
        to_json(content),
        status_code=200 if ready else 503,
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _own_thread.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(2)
        _own_thread.set(limiter)
        return limiter
