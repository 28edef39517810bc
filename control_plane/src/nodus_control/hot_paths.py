"""The two paths that a busy control plane answers most, ahead of the framework: its routing costs more than they do.

They stay routes of the application too, for its OpenAPI document, for other methods, and under a mount prefix. What
they raise is answered for by the envelope around them.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .api import jobs
from .calls import Endpoint, respond

_ONE_JOB = re.compile(r"/v1/jobs/([^/]+)\Z")


class HotPaths:
    """Answers `POST /v1/jobs` and `GET /v1/jobs/{id}`, and hands on everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        found = _endpoint(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        endpoint, scope["path_params"] = found
        response = await respond(Request(scope, receive), endpoint)
        await response(scope, receive, send)


def _endpoint(scope: Scope) -> tuple[Endpoint, dict[str, str]] | None:
    if scope["method"] == "POST" and scope["path"] == "/v1/jobs":
        return jobs.submit, {}
    if scope["method"] == "GET" and (found := _ONE_JOB.match(scope["path"])) is not None:
        return jobs.get, {"job_id": found.group(1)}
    return None
