"""`/v1/events` and `/v1/jobs/{id}/events`: transitions as server-sent events, resumable, as they happen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import anyio.lowlevel
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ..auth import authenticate
from ..calls import Call, in_thread, read_call, translated
from ..events import EventFeed
from ..plane import Plane
from .errors import ApiError
from .live import LiveResponse, Start

MEDIA_TYPE = "text/event-stream"
LATEST = "latest"

_NUMBER = re.compile(r"[0-9]{1,18}\Z")
_HEARTBEAT = b":\n\n"

router = APIRouter()


@router.get("/v1/events")
async def get_events(request: Request) -> Response:
    """Follow all of the customer's jobs."""
    return await _respond(request, _of_customer)


@router.get("/v1/jobs/{job_id}/events")
async def get_job_events(request: Request) -> Response:
    """Follow a job."""
    return await _respond(request, _of_job)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to stream. `is_over` if no event will follow; `tells_id` if the client does not know yet where it begins."""

    start: Start
    is_over: bool = False
    tells_id: bool = False


async def _respond(request: Request, find: Callable[[Plane, Call], _Asked]) -> Response:
    plane: Plane = request.app.state.plane
    call = await read_call(request)
    return _EventStream(plane.feed, await in_thread(translated, find, plane, call))


def _of_customer(plane: Plane, call: Call) -> _Asked:
    key = authenticate(plane, call)
    if call.header("last-event-id") is None and call.parameters.get("after") == LATEST:
        return _Asked(Start(key.customer_id, key.id, None, plane.feed.head(key.customer_id)), tells_id=True)
    after = _asked_for(call)
    # A sequence that is shorter than that is another one: the control plane has lost its memory since.
    if after and after > plane.feed.head(key.customer_id):
        after = 0
    return _Asked(Start(key.customer_id, key.id, None, after))


def _of_job(plane: Plane, call: Call) -> _Asked:
    key = authenticate(plane, call)
    after = _asked_for(call)
    job = plane.jobs.get(key.customer_id, call.path_params["job_id"])
    if after > job.events:
        after = 0
    return _Asked(Start(key.customer_id, key.id, job.id, after), is_over=job.is_terminal and after == job.events)


def _asked_for(call: Call) -> int:
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
        """Write events until the job is over, or the place is gone."""
        if self._asked.is_over:
            return True
        if self._asked.tells_id:
            # A client that reconnects before the first event must know where it had begun.
            await self.write(f"id: {self.start.after}\n\n".encode())
        place = self.place
        while not place.is_closed:
            news = place.arm()
            page = self.feed.recent_text(place)
            if page is None:
                page = await in_thread(self.feed.read_text, place)
            if page.text:
                await self.write(page.text)
                if page.is_last:
                    return True
                # Sending need not wait, and so others would, for as long as there is more.
                await anyio.lowlevel.checkpoint()
                continue
            silence = anyio.move_on_after(self.heartbeat_seconds())
            with silence:
                await news.wait()
            if silence.cancelled_caught:
                await self.write(_HEARTBEAT)
        return True
