"""`/_dev/inbox`: a built-in webhook receiver, to see what is delivered."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.requests import Request
from starlette.responses import Response

from nodus_core.times import timestamp

from ..api.jobs import read_limit
from ..api.requests import ApiRequest, read_request
from ..control_plane import ControlPlane
from ..errors import ApiError
from ..webhooks.inbox import MOST_KEPT, Received, is_signed
from ..webhooks.urls import parse_url
from .context import Context
from .endpoints import Control

_Result = TypeVar("_Result")

_own_threads: RunVar[anyio.CapacityLimiter] = RunVar("nodus_control_inbox_threads")


def get_inbox(control: Control) -> dict[str, Any]:
    """Show what was received, the oldest first; with `limit`, only the latest."""
    parameters = control.call.parameters
    limit = read_limit(parameters["limit"]) if "limit" in parameters else MOST_KEPT
    return {
        "deliveries": [
            {
                "name": each.name,
                "received_at": timestamp(each.received_at),
                "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in each.headers},
                "body": each.body.decode("utf-8", "replace"),
                "event": each.event(),
                "signature_valid": True,
            }
            for each in control.control_plane.webhooks.inbox.all()[-limit:]
        ]
    }


def clear_inbox(control: Control) -> dict[str, Any]:
    """Remove everything that was received."""
    control.control_plane.webhooks.inbox.clear()
    return {"deliveries": []}


async def receive(context: Context, request: Request) -> Response:
    """Receive a delivery. It needs no key, but the signature of an endpoint of this control plane that leads here."""
    control_plane = context.control_plane
    path, header = _raw_path(request), _signature(request)
    # Before the body is read: strangers are not worth more.
    secrets = await _in_own_thread(_secrets, control_plane, path) if header is not None else []
    if not secrets:
        raise _not_signed()
    call = await read_request(control_plane, request)
    await _in_own_thread(_keep, control_plane, call, header, secrets)
    return Response(status_code=204)


def _keep(control_plane: ControlPlane, call: ApiRequest, header: str, secrets: list[str]) -> None:
    if not is_signed(secrets, call.raw_path, call.body, header):
        raise _not_signed()
    control_plane.webhooks.inbox.add(
        Received(
            name=call.path_params["name"],
            received_at=control_plane.clock.now(),
            headers=tuple((bytes(name), bytes(value)) for name, value in call.headers),
            body=call.body,
        )
    )


def _raw_path(request: Request) -> str:
    raw_path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw_path.decode("latin-1")


def _signature(request: Request) -> str | None:
    found = request.headers.getlist("nodus-signature")
    return found[0] if len(found) == 1 else None


def _secrets(control_plane: ControlPlane, path: str) -> list[str]:
    """Return the secrets of the endpoints that lead to this path."""
    now = control_plane.clock.now()
    return [
        secret
        for endpoint in control_plane.webhooks.endpoints.live()
        if parse_url(endpoint.url).path == path
        for secret in control_plane.webhooks.endpoints.destination(endpoint.id, now).secrets
    ]


def _not_signed() -> ApiError:
    return ApiError(
        401,
        "signature_invalid",
        "The inbox keeps only what an endpoint of this control plane signed: register one that leads to this path.",
    )


async def _in_own_thread(function: Callable[..., _Result], *args: object) -> _Result:
    """Run blocking code, but not in the threads of other requests: all may be waiting for deliveries to this inbox."""
    try:
        limiter = _own_threads.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(8)
        _own_threads.set(limiter)
    return await anyio.to_thread.run_sync(functools.partial(function, *args), limiter=limiter)
