"""`/v1/jobs/{id}/logs`: what a job printed, whole, by byte range, or as it comes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Protocol

from starlette.responses import Response, StreamingResponse

from nodus_ledger.database.rows import JobRecord
from nodus_ledger.jobs.jobs import Jobs, PlacementFacts
from nodus_ledger.jobs.permissions import require_own
from nodus_ledger.keys.keys import KeyRecord

from ..errors import ApiError
from ..streams.event_feed import EventFeed
from ..streams.output_watch import OutputWatch
from ..suppliers.drivers import Drivers
from ..suppliers.protocol import LogChunk, Placement
from .live import LiveResponse, Start
from .requests import ApiRequest, in_thread

CHUNK_BYTES = 256 * 1024
ATTEMPT_HEADER = "Nodus-Attempt"
"""The header that says which placement's output a response contains."""

_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})\Z")
_MEDIA_TYPE = "text/plain; charset=utf-8"


class Parts(Protocol):
    """What this operation needs of a control plane."""

    drivers: Drivers
    feed: EventFeed
    jobs: Jobs
    output_watch: OutputWatch


def get_logs(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Get what a job printed."""
    job = parts.jobs.get(key.customer_id, call.path_params["job_id"])
    require_own(key, job)
    facts = parts.jobs.latest_placement(job.id)
    if call.parameters.get("follow") == "true":
        return _follow(parts, call, key, job, facts)
    total = _read(parts, facts, 0, 0).total
    asked = _asked_range(call.only_header("range"), total, _headers(facts))
    if asked is None:
        return StreamingResponse(
            _stream(parts, facts, 0, total),
            headers=_headers(facts) | {"Content-Length": str(total)},
            media_type=_MEDIA_TYPE,
        )
    first, last = asked
    return StreamingResponse(
        _stream(parts, facts, first, last + 1),
        status_code=206,
        headers=_headers(facts)
        | {
            "Content-Range": f"bytes {first}-{last}/{total}",
            "Content-Length": str(last + 1 - first),
        },
        media_type=_MEDIA_TYPE,
    )


def _asked_range(header: str | None, total: int, headers: dict[str, str]) -> tuple[int, int] | None:
    """Read a `Range` (RFC 9110, section 14); one that is malformed or has several parts is ignored, as there.

    Raises:
        ApiError: 416, if none of that range exists yet.
    """
    found = _RANGE.match(header or "")
    if found is None:
        return None
    start, end = found.groups()
    if not start and not end:
        return None
    first, last = (int(start), int(end) if end else total - 1) if start else (max(0, total - int(end)), total - 1)
    if end and start and last < first:
        return None
    if first >= total or (not start and int(end) == 0):
        raise ApiError(
            416,
            "range_not_satisfiable",
            f"The job has printed {total} bytes so far.",
            headers=headers | {"Content-Range": f"bytes */{total}"},
        )
    return first, min(last, total - 1)


def _headers(facts: PlacementFacts | None) -> dict[str, str]:
    # Offsets count within the output of one placement.
    return {"Accept-Ranges": "bytes"} | ({} if facts is None else {ATTEMPT_HEADER: str(facts.attempt)})


async def _stream(parts: Parts, facts: PlacementFacts | None, offset: int, end: int) -> AsyncIterator[bytes]:
    while offset < end:
        chunk = await in_thread(_read, parts, facts, offset, min(CHUNK_BYTES, end - offset))
        if not chunk.data:
            return
        offset += len(chunk.data)
        yield chunk.data


# A proxy that gathers a response before it passes it on would hold back what is followed until its end.
_LIVE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def _follow(parts: Parts, call: ApiRequest, key: KeyRecord, job: JobRecord, facts: PlacementFacts | None) -> Response:
    asked = _RANGE.match(call.only_header("range") or "")
    offset = int(asked.group(1) or 0) if asked else 0
    headers = _headers(facts) | _LIVE | ({"Content-Range": f"bytes {offset}-*/*"} if offset else {})
    start = Start(job.customer_id, key.id, job.id, job.events)
    return _LiveOutput(parts, start, job, facts, offset, headers | {"Content-Type": _MEDIA_TYPE})


class _LiveOutput(LiveResponse):
    """Output as it comes."""

    can_resume = False

    def __init__(
        self,
        parts: Parts,
        start: Start,
        job: JobRecord,
        facts: PlacementFacts | None,
        offset: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(parts.feed, start, status_code=206 if offset else 200, headers=headers)
        self._parts = parts
        self._is_over = job.is_terminal
        self._facts = facts
        self._offset = offset

    async def tell(self) -> bool:
        """Write output until the placement's is complete or the job is over; false if the subscription ended first."""
        subscription, parts = self.subscription, self._parts
        while not subscription.is_closed:
            news = subscription.arm()
            events = self.feed.recent(subscription)
            if events is None:
                events = await in_thread(self.feed.read, subscription)
            # Checked before reading, so that the last read gets everything.
            self._is_over = self._is_over or any(event.is_terminal for event in events)
            if self._facts is None and events:
                self._facts = await in_thread(parts.jobs.latest_placement, self.start.job_id or "")
            chunk: LogChunk = await in_thread(_read, parts, self._facts, self._offset, CHUNK_BYTES)
            if chunk.data:
                self._offset += len(chunk.data)
                await self.write(chunk.data)
            elif self._is_over or (self._facts is not None and chunk.complete):
                return True
            elif self._facts is None:
                await news.wait()
            else:
                with parts.output_watch.watching(subscription, _placement(self._facts), self._offset):
                    await news.wait()
        # The server is stopping, or the key was revoked: the client must not take this for the whole output.
        return False


def _read(parts: Parts, facts: PlacementFacts | None, offset: int, limit: int) -> LogChunk:
    if facts is None:
        return LogChunk(b"", offset, 0, complete=False)
    return parts.drivers.logs(_placement(facts), offset, limit, simulated=facts.simulated)


def _placement(facts: PlacementFacts) -> Placement:
    return Placement(
        job_id=facts.job_id,
        attempt=facts.attempt,
        supplier=facts.supplier,
        region=facts.region,
        placed_at=facts.placed_at / 1000,
    )
