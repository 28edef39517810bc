"""The outermost layer: gives every response a request id, and every error the common envelope."""

from __future__ import annotations

import logging
import secrets

import httpx
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ApiError, translate
from ..trouble import Trouble, unavailable_in
from .faults import DROP
from .paths import is_canonical

_logger = logging.getLogger(__name__)


def new_request_id() -> str:
    """Make the id of a request."""
    return "req_" + secrets.token_hex(12)


class EnvelopeMiddleware:
    """Numbers requests, and turns whatever was raised below into a response."""

    def __init__(self, app: ASGIApp, trouble: Trouble) -> None:
        self._app = app
        self._trouble = trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        has_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        scope.setdefault("state", {})["request_id"] = request_id
        try:
            if not is_canonical(scope.get("raw_path") or b""):
                raise ApiError(404, "not_found", "There is nothing at this path.")
            await self._app(scope, receive, send_with_id)
        except httpx.TransportError:
            raise  # a scripted fault of a client in this process
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception as exc:
            unavailable = unavailable_in(exc)
            if unavailable is not None and has_started:
                self._trouble.say(unavailable)
            refusal = exc if isinstance(exc, ApiError) else None if unavailable is None else translate(unavailable)
            if has_started and refusal is None:
                raise
            if has_started:
                _logger.warning(
                    "%s: %s %s broke off in the middle of its answer: %s; its client was cut off, and has to ask again",
                    *(request_id, scope["method"], scope["path"], refusal),
                )
                await _cut_off(scope, receive)
                return
            if refusal is not None:
                await refusal.response(request_id)(scope, receive, send_with_id)
                return
            _logger.exception("%s: an unexpected error", request_id)
            error = ApiError(
                500, "internal_error", "Something went wrong on the server: quote the request id when you report it."
            )
            await error.response(request_id)(scope, receive, send_with_id)


async def _cut_off(scope: Scope, receive: Receive) -> None:
    """End an answer as if its connection had broken, so that nobody takes what has come of it for the whole."""
    drop = scope["state"].get(DROP)
    if drop is None:
        raise httpx.RemoteProtocolError("the answer broke off before its end")
    drop(False)
    while (await receive())["type"] != "http.disconnect":
        pass
