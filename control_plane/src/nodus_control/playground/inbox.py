"""`/_dev/inbox`: a built-in webhook receiver, to see what is delivered."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from nodus_core.times import timestamp

from ..api.jobs import read_limit
from ..api.views import to_json
from ..auth import authenticate
from ..calls import Call, in_thread, read_call, translated
from ..plane import Plane
from ..webhooks.inbox import MOST_KEPT, Received, is_signed, read_event
from ..webhooks.urls import parse_url

router = APIRouter()

_own_threads: RunVar[anyio.CapacityLimiter] = RunVar("nodus_control_inbox_threads")


@router.get("/_dev/inbox")
async def get_inbox(request: Request) -> Response:
    """Show what was received, the oldest first; with `limit`, only the latest."""
    return await _respond(request, _show)


@router.delete("/_dev/inbox")
async def clear_inbox(request: Request) -> Response:
    """Remove everything that was received."""
    return await _respond(request, _clear)


@router.post("/_dev/inbox/{name}", status_code=204)
async def receive(request: Request) -> Response:
    """Receive a delivery. It needs no key; the inbox shows whether its signature is valid."""
    call = await read_call(request)
    try:
        limiter = _own_threads.get()
    except LookupError:
        # Not in the threads of other requests: all of those may be waiting for deliveries to this inbox.
        limiter = anyio.CapacityLimiter(8)
        _own_threads.set(limiter)
    await anyio.to_thread.run_sync(_keep, request.app.state.plane, call, limiter=limiter)
    return Response(status_code=204)


def _keep(plane: Plane, call: Call) -> None:
    signature_header = call.only_header("nodus-signature")
    plane.webhooks.inbox.add(
        Received(
            name=call.path_params["name"],
            received_at=plane.clock.now(),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers},
            body=call.body.decode("utf-8", "replace"),
            event=read_event(call.body),
            signature_valid=is_signed(_secrets(plane, call.raw_path), call.raw_path, call.body, signature_header),
        )
    )


def _secrets(plane: Plane, path: str) -> list[str]:
    """Return the secrets of the endpoints that lead to this path."""
    now = plane.clock.now()
    return [
        secret
        for endpoint in plane.webhooks.endpoints.live()
        if parse_url(endpoint.url).path == path
        for secret in plane.webhooks.endpoints.signing_secrets(endpoint.id, now)
    ]


async def _respond(request: Request, control: Any) -> Response:
    plane: Plane = request.app.state.plane
    call = await read_call(request)

    def run(plane: Plane, call: Call) -> dict[str, Any]:
        if plane.driver.runs_commands:
            authenticate(plane, call)
        content: dict[str, Any] = control(plane, call)
        return content

    return Response(to_json(await in_thread(translated, run, plane, call)), media_type="application/json")


def _show(plane: Plane, call: Call) -> dict[str, Any]:
    limit = read_limit(call.parameters["limit"]) if "limit" in call.parameters else MOST_KEPT
    return {
        "deliveries": [
            {
                "name": each.name,
                "received_at": timestamp(each.received_at),
                "headers": dict(each.headers),
                "body": each.body,
                "event": each.event,
                "signature_valid": each.signature_valid,
            }
            for each in plane.webhooks.inbox.all()[-limit:]
        ]
    }


def _clear(plane: Plane, _call: Call) -> dict[str, Any]:
    plane.webhooks.inbox.clear()
    return {"deliveries": []}
