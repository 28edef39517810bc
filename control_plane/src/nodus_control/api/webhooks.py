"""`/v1/webhooks`: register, read, enable and delete endpoints, rotate secrets, list and replay deliveries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nodus_core.times import timestamp
from nodus_core.webhook_events import EVENT_TYPES
from nodus_ledger.errors import IdempotencyKeyReused
from nodus_ledger.keys.keys import KeyRecord
from nodus_ledger.webhooks.deliveries import DeliveryFacts, UnknownDelivery, WebhookDisabled
from nodus_ledger.webhooks.endpoints import MAX_ENDPOINTS, Endpoint, Registered, TooManyWebhooks, UnknownWebhook

from ..clock import Clock
from ..errors import ApiError
from ..webhooks.addresses import AddressRefused
from ..webhooks.service import WebhookService
from ..webhooks.urls import InvalidUrl
from .jobs import read_limit
from .requests import ApiRequest, in_writing_thread, translated
from .requests import Parts as RequestParts
from .views import to_json


class Parts(RequestParts, Protocol):
    """What these operations need of a control plane."""

    clock: Clock
    webhooks: WebhookService

    def wake(self) -> None:
        """Tell the worker that something has fallen due."""


_Handled: TypeAlias = Callable[[Parts, ApiRequest, KeyRecord], Response]

_FIELDS = frozenset(("url", "events", "idempotency_key"))


def _translating(endpoint: _Handled) -> _Handled:
    """Translate what the ledger refuses here into the statuses and codes of webhooks."""

    @functools.wraps(endpoint)
    def translate(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
        try:
            return endpoint(parts, call, key)
        except (UnknownWebhook, UnknownDelivery, TooManyWebhooks, WebhookDisabled, IdempotencyKeyReused) as exc:
            status, code, message = _ANSWERS[type(exc)]
        raise ApiError(status, code, message)

    return translate


@_translating
def create_webhook(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Register an endpoint."""
    idempotency_key = call.require_idempotency_key()
    url, events = _registration(call.json())
    earlier = parts.webhooks.endpoints.earlier_or_room(key.customer_id, url, events, idempotency_key)
    if earlier is not None:
        return _registered(earlier, url)
    return _Registration(parts, call, key, url, events, idempotency_key)


class _Registration(Response):
    """The answer to a registration that may be made, if its URL leads where deliveries may go."""

    def __init__(
        self,
        parts: Parts,
        call: ApiRequest,
        key: KeyRecord,
        url: str,
        events: list[str],
        idempotency_key: str | None,
    ) -> None:
        super().__init__()
        self._parts = parts
        self._call = call
        self._key = key
        self._url = url
        self._events = events
        self._idempotency_key = idempotency_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Register the endpoint, and send what came of it.

        Raises:
            ApiError: 422 `invalid_webhook` or `url_not_allowed`, or as the ledger refuses it.
        """
        # Not in a thread that answers requests: the name's servers may take their time.
        try:
            await self._parts.webhooks.destinations.check(self._url, self._key.customer_id)
        except InvalidUrl as exc:
            raise _invalid("url", f"`url` {exc}.") from None
        except AddressRefused as exc:
            raise ApiError(
                422, "url_not_allowed", f"Nothing is delivered to this `url`: {exc}.", extra={"field": "url"}
            ) from None
        response = await in_writing_thread(translated, self._register, self._parts, self._call)
        await response(scope, receive, send)

    def _register(self, parts: Parts, call: ApiRequest) -> Response:
        return _translating(self._create)(parts, call, self._key)

    def _create(self, parts: Parts, _call: ApiRequest, key: KeyRecord) -> Response:
        registered = parts.webhooks.endpoints.register(
            key.customer_id, self._url, self._events, self._idempotency_key, parts.clock.now()
        )
        return _registered(registered, self._url)


def _registered(registered: Registered, url: str) -> Response:
    # To whoever sent it, the whole URL is no secret.
    view = {**_endpoint_view(registered.endpoint), "url": url}
    if registered.secret is None:
        return _json(view, headers={"Idempotent-Replayed": "true"})
    return _json({**view, "secret": registered.secret}, status=201)


def list_webhooks(parts: Parts, _call: ApiRequest, key: KeyRecord) -> Response:
    """List the endpoints."""
    found = parts.webhooks.endpoints.of_customer(key.customer_id)
    return _json({"webhooks": [_endpoint_view(endpoint) for endpoint in found]})


@_translating
def get_webhook(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Get an endpoint."""
    return _json(_endpoint_view(parts.webhooks.endpoints.get(key.customer_id, call.path_params["webhook_id"])))


@_translating
def delete_webhook(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Remove an endpoint."""
    parts.webhooks.endpoints.delete(key.customer_id, call.path_params["webhook_id"], parts.clock.now())
    return Response(status_code=204)


@_translating
def rotate_webhook(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Give an endpoint a new secret."""
    secret = parts.webhooks.endpoints.rotate(key.customer_id, call.path_params["webhook_id"], parts.clock.now())
    return _json({"secret": secret})


@_translating
def enable_webhook(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Let events be delivered again to an endpoint that was disabled."""
    endpoint = parts.webhooks.endpoints.enable(key.customer_id, call.path_params["webhook_id"])
    parts.wake()
    return _json(_endpoint_view(endpoint))


@_translating
def list_deliveries(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """List the deliveries to an endpoint, newest first."""
    page = parts.webhooks.deliveries.page(
        key.customer_id,
        call.path_params["webhook_id"],
        limit=read_limit(call.parameters.get("limit")),
        cursor=call.parameters.get("cursor") or None,
    )
    return _json({"deliveries": [_delivery_view(each) for each in page.deliveries], "next_cursor": page.next_cursor})


@_translating
def replay_delivery(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Deliver an event once more."""
    webhook_id, delivery_id = call.path_params["webhook_id"], call.path_params["delivery_id"]
    delivery = parts.webhooks.deliveries.replay(key.customer_id, webhook_id, delivery_id, parts.clock.now())
    parts.wake()
    return _json(_delivery_view(delivery))


def _registration(content: Any) -> tuple[str, list[str]]:
    """Read the body of a registration.

    Raises:
        ApiError: 422 `invalid_webhook`, with the field.
    """
    if not isinstance(content, dict):
        raise ApiError(422, "invalid_webhook", "The body must be an object with `url` and `events`.")
    unknown = sorted(set(content) - _FIELDS)
    if unknown:
        raise ApiError(422, "invalid_webhook", "The body has a field besides `url`, `events` and `idempotency_key`.")
    url, events = content.get("url"), content.get("events")
    if not isinstance(url, str) or not url:
        raise _invalid("url", "`url` must be a string, such as https://hooks.example.com/nodus.")
    known = ", ".join(EVENT_TYPES)
    if not isinstance(events, list) or not events or not all(isinstance(each, str) for each in events):
        raise _invalid("events", f"`events` must be a list of at least one of {known}.")
    strange = [each for each in events if each not in EVENT_TYPES]
    if strange:
        named = ", ".join(repr(each[:64]) for each in strange[:5])
        raise _invalid("events", f"There is no event {named}; there are {known}.")
    if len(set(events)) < len(events):
        raise _invalid("events", "`events` must name each event once.")
    return url, events


def _invalid(field: str, message: str) -> ApiError:
    return ApiError(422, "invalid_webhook", message, extra={"field": field})


_ANSWERS: Mapping[type[Exception], tuple[int, str, str]] = {
    UnknownWebhook: (404, "webhook_not_found", "There is no such webhook."),
    UnknownDelivery: (404, "delivery_not_found", "This webhook has no such delivery."),
    TooManyWebhooks: (
        422,
        "too_many_webhooks",
        f"A customer may have {MAX_ENDPOINTS} webhooks: delete one that is not needed.",
    ),
    WebhookDisabled: (
        409,
        "webhook_disabled",
        "Nothing is delivered to this webhook any more, because it answered 410 or failed for days: enable it first.",
    ),
    IdempotencyKeyReused: (
        422,
        "idempotency_key_reused",
        "This idempotency key came with another webhook before: use a new key for a new webhook.",
    ),
}


def _endpoint_view(endpoint: Endpoint) -> dict[str, object]:
    """Give an endpoint as callers see it: never its secret."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.event_types,
        "created_at": timestamp(endpoint.created_at),
        "disabled_at": _time(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": _time(endpoint.failing_since),
        "held_until": _time(endpoint.held_until),
    }


def _delivery_view(delivery: DeliveryFacts) -> dict[str, object]:
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "status": delivery.status,
        "attempts": [
            {
                "at": timestamp(attempt.at),
                "status_code": attempt.status_code,
                "latency_ms": attempt.latency_ms,
                "error": attempt.error,
            }
            for attempt in delivery.attempts
        ],
        "next_retry_at": _time(delivery.next_retry_at),
    }


def _time(at: int | None) -> str | None:
    return None if at is None else timestamp(at)


def _json(content: dict[str, object], *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(content), status_code=status, headers=headers, media_type="application/json")
