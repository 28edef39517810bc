"""A customer's jobs, kept by a fake clock: the server's side of listing, paging and looking up."""

from __future__ import annotations

import datetime
import email.utils

from nodus._httpx import httpx
from tests.support.clock import NEW_YEAR, AsyncFakeClock, FakeClock
from tests.support.script import refusal, reply


class Fleet:
    """Jobs that each end at a time that is known ahead.

    Args:
        clock: what says which are over.
        ends: seconds on the clock at which each ends, by id; the first was submitted last.
        failed: ids of those that end as failed.
        answer_seconds: how long each answer takes.
        says_date: whether answers have a `Date`, as those of almost every server do.

    Attributes:
        requests: path and query of each request, in order.
        down: statuses to answer with before anything else, one a request.
    """

    def __init__(
        self,
        clock: AsyncFakeClock | FakeClock,
        ends: dict[str, float],
        failed: frozenset[str] = frozenset(),
        *,
        answer_seconds: float = 0.0,
        says_date: bool = False,
    ) -> None:
        self._clock = clock
        self._ends = ends
        self._failed = failed
        self._answer_seconds = answer_seconds
        self._says_date = says_date
        self.requests: list[str] = []
        self.down: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._answer(request)
        if self._says_date:
            answer.headers["Date"] = email.utils.formatdate(self._clock.unix_time(), usegmt=True)
        self._clock.advance(self._answer_seconds)
        return answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append(str(request.url.raw_path, "ascii"))
        if self.down:
            return refusal(self.down.pop(0), "internal")
        if path == "/v1/jobs":
            return self._page(request.url.params)
        job_id = path.removeprefix("/v1/jobs/")
        return reply(200, self.view(job_id)) if job_id in self._ends else refusal(404, "job_not_found")

    def view(self, job_id: str) -> dict[str, object]:
        """The job as the server describes it now."""
        end = self._ends[job_id]
        if self._clock.now() < end:
            return {"id": job_id, "status": "running"}
        finished_at = datetime.datetime.fromtimestamp(NEW_YEAR + end, datetime.timezone.utc).isoformat()
        status = "failed" if job_id in self._failed else "completed"
        return {"id": job_id, "status": status, "finished_at": finished_at, "cost_usd": end}

    def _page(self, params: httpx.QueryParams) -> httpx.Response:
        wanted = params["status"].split(",")
        views = [view for view in map(self.view, self._ends) if view["status"] in wanted]
        start, limit = int(params.get("cursor", 0)), int(params["limit"])
        more = start + limit < len(views)
        return reply(200, {"jobs": views[start : start + limit], "next_cursor": str(start + limit) if more else None})
