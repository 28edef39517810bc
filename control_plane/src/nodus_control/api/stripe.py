"""`POST /stripe/webhook`: what Stripe tells. Mounted only where `STRIPE_WEBHOOK_SECRET` is set."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from nodus_ledger.jobs.meter_reports import MeterReports

from ..errors import ApiError
from ..metering.signature import is_signed
from .operations import Handled
from .views import to_json

PATH = "/stripe/webhook"
MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
REPORT_TYPES = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")

_ID = re.compile(r"evt_[A-Za-z0-9_]{1,250}\Z")
_own_threads: RunVar[anyio.CapacityLimiter] = RunVar("nodus_control_stripe_threads")


def stripe_webhook(
    reports: MeterReports,
    secrets: Sequence[str],
    now: Callable[[], int],
    *,
    real_time: Callable[[], float] = time.time,
) -> Handled:
    """Return what takes in Stripe's webhooks.

    Of a body whose signature is right, only the id is believed: the exporter fetches what it is of.

    Args:
        reports: where the ids of error reports are kept.
        secrets: the secrets of the endpoint.
        now: the control plane's clock, in Unix milliseconds.
        real_time: real time, in Unix seconds, which signatures are held against.
    """

    async def handle(request: Request) -> Response:
        body = await _read_body(request)
        if not is_signed(body, request.headers.get("stripe-signature"), secrets, real_time()):
            raise ApiError(
                400, "invalid_signature", "`Stripe-Signature` is not that of this body, or not from the last 5 minutes."
            )
        event = _event_of(body)
        if event.get("type") in REPORT_TYPES and _ID.match(str(event.get("id"))):
            livemode = event.get("livemode") is not False
            await anyio.to_thread.run_sync(
                lambda: reports.announce(event["id"], livemode=livemode, now=now()), limiter=_limiter()
            )
        return Response(to_json({"received": True}), media_type="application/json")

    return Handled("POST", PATH, handle)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise ApiError(413, "body_too_large", "The body is larger than 64 KiB.")
    except (TimeoutError, ClientDisconnect) as exc:
        raise ApiError(400, "invalid_request", "The body did not come whole.") from exc
    return bytes(body)


def _event_of(body: bytes) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise ApiError(400, "invalid_json", "The body is not JSON.") from exc
    if not isinstance(event, dict):
        raise ApiError(400, "invalid_request", "The body is no object.")
    return event


def _limiter() -> anyio.CapacityLimiter:
    """Return what keeps these from taking the threads of others."""
    try:
        return _own_threads.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(2)
        _own_threads.set(limiter)
        return limiter
