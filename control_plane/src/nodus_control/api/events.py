"""`/v1/events` and `/v1/jobs/{id}/events`: transitions as server-sent events, resumable, as they happen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nodus_core.times import timestamp
from nodus_ledger.event_log import EventRecord

from ..auth import authenticate
from ..calls import Call, in_thread, read_call, translated
from ..events import EventFeed, Subscription
from ..plane import Plane
from .errors import ApiError

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
class _Start:
    """Where a stream begins: after the number or position `after`.

    `is_over` if no event will ever follow; `tells_id` if the client does not know yet what `after` is.
    """

    customer_id: str
    key_id: str
    job_id: str | None
    after: int
    is_over: bool = False
    tells_id: bool = False


async def _respond(request: Request, find: Callable[[Plane, Call], _Start]) -> Response:
    plane: Plane = request.app.state.plane
    start = await in_thread(translated, find, plane, await read_call(request))
    return _EventStream(plane.feed, start)


def _of_customer(plane: Plane, call: Call) -> _Start:
    key = authenticate(plane, call)
    if call.header("last-event-id") is None and call.parameters.get("after") == LATEST:
        return _Start(key.customer_id, key.id, None, plane.feed.head(key.customer_id), tells_id=True)
    after = _asked_for(call)
    # A sequence that is shorter than that is another one: the control plane has lost its memory since.
    if after and after > plane.feed.head(key.customer_id):
        after = 0
    return _Start(key.customer_id, key.id, None, after)


def _of_job(plane: Plane, call: Call) -> _Start:
    key = authenticate(plane, call)
    after = _asked_for(call)
    job = plane.jobs.get(key.customer_id, call.path_params["job_id"])
    if after > job.events:
        after = 0
    return _Start(key.customer_id, key.id, job.id, after, is_over=job.is_terminal and after == job.events)


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


class _EventStream(Response):
    """A response that goes on until the job is over, the client leaves, or the server stops."""

    def __init__(self, feed: EventFeed, start: _Start) -> None:
        super().__init__(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._start = start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events."""
        async with anyio.create_task_group() as tasks:

            async def watch_client() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch_client)
            start = self._start
            place = self._feed.subscribe(start.customer_id, start.key_id, job_id=start.job_id, after=start.after)
            try:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                if not start.is_over:
                    await self._send_events(place, send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                self._feed.unsubscribe(place)
                tasks.cancel_scope.cancel()

    async def _send_events(self, place: Subscription, send: Send) -> None:
        if self._start.tells_id:
            # A client that reconnects before the first event must know where it had begun.
            await send(_chunk(f"id: {self._start.after}\n\n".encode()))
        while not place.is_closed:
            news = self._feed.arm(place)
            events = self._feed.recent(place)
            if events is None:
                events = await in_thread(self._feed.read, place)
            if events:
                await send(_chunk(b"".join(_encode(event, of_job=place.job_id is not None) for event in events)))
                if place.job_id is not None and events[-1].is_terminal:
                    return
                continue
            silence = anyio.move_on_after(self._feed.heartbeat_seconds)
            with silence:
                await news.wait()
            if silence.cancelled_caught:
                await send(_chunk(_HEARTBEAT))


def _chunk(body: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _encode(event: EventRecord, *, of_job: bool) -> bytes:
    data = {
        "seq": event.seq,
        "job_id": event.job_id,
        "status": event.status,
        "at": timestamp(event.at),
        "attempt": event.attempt,
        "supplier": event.supplier,
        "region": event.region,
        "reason": event.reason,
        "simulated": event.is_simulated,
    }
    number = event.seq if of_job else event.position
    return f"id: {number}\nevent: status\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
