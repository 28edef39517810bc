"""The part of the OpenAPI document that is about webhooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodus_core.endpoint_health import GIVEN_UP_AFTER_ATTEMPTS, GIVEN_UP_AFTER_DAYS
from nodus_core.webhook_events import EVENT_TYPES
from nodus_ledger.keys import PrincipalKind
from nodus_ledger.webhooks import FAILING, GONE, MAX_ENDPOINTS

from ..webhooks.urls import MAX_URL_LENGTH
from .schemas import CURSOR_EXAMPLE, Schema

_TIME: Schema = {"type": "string", "format": "date-time"}
_NO_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_EVENTS: Schema = {"type": "array", "items": {"enum": list(EVENT_TYPES)}, "minItems": 1, "uniqueItems": True}
_URL: Schema = {"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL_LENGTH}
_WEBHOOK_ID: Schema = {"name": "webhook_id", "in": "path", "required": True, "schema": {"type": "string"}}
_DELIVERY_ID: Schema = {"name": "delivery_id", "in": "path", "required": True, "schema": {"type": "string"}}
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same URL and events gives the first webhook again, with 200 and without its "
    "secret: that was in the first answer alone. Whoever lost it rotates.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[\\x20-\\x7e]+$"},
}
_LIMIT: Schema = {
    "name": "limit",
    "in": "query",
    "description": "Deliveries a page; above 200 it is capped.",
    "schema": {"type": "integer", "minimum": 1, "default": 50},
}
_CURSOR: Schema = {
    "name": "cursor",
    "in": "query",
    "description": "The `next_cursor` of the page before.",
    "schema": {"type": "string"},
}

_WEBHOOK_EXAMPLE: Schema = {
    "id": "wh_b71c40de2f9a4c6d8e1b7a3f5c9d0e21",
    "url": "https://hooks.example.com/nodus",
    "events": ["job.completed", "job.failed", "budget.threshold_reached"],
    "created_at": "2026-11-24T08:00:00.000Z",
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
    "held_until": None,
}
_SECRET_EXAMPLE = "whsec_4a9e" + "0" * 58 + "a1"
_DELIVERY_EXAMPLE: Schema = {
    "id": "dlv_0b6f8f3a9d2e4c71a5b8e6d4c3f20917",
    "event_id": "evt_5d1c7a90b3e84f26a1d95c8e7f604b32",
    "event_type": "job.completed",
    "status": "pending",
    "attempts": [{"at": "2026-11-24T09:01:10.500Z", "status_code": 503, "latency_ms": 41, "error": None}],
    "next_retry_at": "2026-11-24T09:01:42.310Z",
}


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


_WEBHOOK_FIELDS: Schema = {
    "id": {"type": "string"},
    "url": {
        **_URL,
        "description": "Without the values in its query, which may be tokens; whole only in the answer to who "
        "registered it.",
    },
    "events": _EVENTS,
    "created_at": _TIME,
    "disabled_at": {**_NO_TIME, "description": "Since when nothing is delivered to it any more."},
    "disabled_reason": {
        "enum": [GONE, FAILING, None],
        "description": f"`{GONE}`: it answered 410. `{FAILING}`: it accepted nothing for {GIVEN_UP_AFTER_DAYS} days, "
        f"in at least {GIVEN_UP_AFTER_ATTEMPTS} attempts.",
    },
    "failing_since": {**_NO_TIME, "description": "Since when every attempt has failed."},
    "held_until": {**_NO_TIME, "description": "It gave no answer, so nothing is attempted before."},
}
_SECRET: Schema = {"type": "string", "description": "What deliveries are signed with; in this answer alone."}

SCHEMAS: Schema = {
    "WebhookSpec": _object(
        {
            "url": {
                **_URL,
                "description": "`https`, at a public address, on port 443 or one from 1024 on, unless the operator "
                "allows more; no user info and no fragment.",
            },
            "events": _EVENTS,
            "idempotency_key": {"type": ["string", "null"], "minLength": 1, "maxLength": 128},
        },
        ["url", "events"],
    )
    | {"additionalProperties": False},
    "Webhook": _object(_WEBHOOK_FIELDS),
    "NewWebhook": _object({**_WEBHOOK_FIELDS, "secret": _SECRET}),
    "WebhookList": _object({"webhooks": {"type": "array", "items": {"$ref": "#/components/schemas/Webhook"}}}),
    "WebhookSecret": _object({"secret": _SECRET}),
    "Delivery": _object(
        {
            "id": {"type": "string"},
            "event_id": {"type": "string", "description": "The same on every attempt."},
            "event_type": {"enum": list(EVENT_TYPES)},
            "status": {"enum": ["pending", "delivered", "failed"]},
            "attempts": {
                "type": "array",
                "items": _object(
                    {
                        "at": _TIME,
                        "status_code": {"type": ["integer", "null"], "description": "Null where no answer came."},
                        "latency_ms": {"type": "integer", "minimum": 0},
                        "error": {"type": ["string", "null"], "description": "Why no answer came."},
                    }
                ),
            },
            "next_retry_at": {
                **_NO_TIME,
                "description": "When the next attempt is made: not before `held_until` of its endpoint. Null where "
                "there will be none.",
            },
        }
    ),
    "DeliveryPage": _object(
        {
            "deliveries": {"type": "array", "items": {"$ref": "#/components/schemas/Delivery"}},
            "next_cursor": {"type": ["string", "null"]},
        }
    ),
    "WebhookEvent": _object(
        {
            "id": {"type": "string", "description": "Remember it, to handle an event once: it may come again."},
            "type": {"enum": list(EVENT_TYPES)},
            "created_at": _TIME,
            "data": _object(
                {
                    "job_id": {"type": ["string", "null"]},
                    "principal_kind": {"enum": [kind.value for kind in PrincipalKind]},
                    "simulated": {"type": "boolean", "description": "Nothing runs, and nothing is charged."},
                }
            )
            | {"additionalProperties": True},
        }
    ),
}


def paths(signature: Schema, answer: Callable[[str, str, Any], Schema], errors: Callable[..., Schema]) -> Schema:
    """Return the operations; the arguments are how the rest of the document writes its parts."""
    created = {**_WEBHOOK_EXAMPLE, "secret": _SECRET_EXAMPLE}
    replayed = answer("The webhook that this idempotency key made before.", "Webhook", _WEBHOOK_EXAMPLE)
    replayed["headers"]["Idempotent-Replayed"] = {"$ref": "#/components/headers/IdempotentReplayed"}
    request_id = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    return {
        "/v1/webhooks": {
            "parameters": [signature],
            "get": {
                "operationId": "listWebhooks",
                "summary": "The customer's webhooks, the oldest first.",
                "responses": {"200": answer("All of them.", "WebhookList", {"webhooks": [_WEBHOOK_EXAMPLE]})}
                | errors(401),
            },
            "post": {
                "operationId": "createWebhook",
                "summary": f"Register an endpoint; a customer may have {MAX_ENDPOINTS}.",
                "parameters": [_IDEMPOTENCY_KEY],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/WebhookSpec"},
                            "example": {key: _WEBHOOK_EXAMPLE[key] for key in ("url", "events")},
                        }
                    },
                },
                "responses": {"201": answer("Registered.", "NewWebhook", created), "200": replayed}
                | errors(400, 401, 403, 409, 413, 422),
            },
        },
        "/v1/webhooks/{webhook_id}": {
            "parameters": [_WEBHOOK_ID, signature],
            "get": {
                "operationId": "getWebhook",
                "summary": "One webhook.",
                "responses": {"200": answer("The webhook.", "Webhook", _WEBHOOK_EXAMPLE)} | errors(401, 404),
            },
            "delete": {
                "operationId": "deleteWebhook",
                "summary": "Remove a webhook: nothing more is delivered to it.",
                "responses": {"204": {"description": "Removed.", "headers": request_id}} | errors(400, 401, 403, 404),
            },
        },
        "/v1/webhooks/{webhook_id}/rotate": {
            "parameters": [_WEBHOOK_ID, signature],
            "post": {
                "operationId": "rotateWebhook",
                "summary": "Give a webhook a new secret; the old one signs beside it for 24 hours.",
                "responses": {"200": answer("The new one.", "WebhookSecret", {"secret": _SECRET_EXAMPLE})}
                | errors(400, 401, 403, 404, 409),
            },
        },
        "/v1/webhooks/{webhook_id}/enable": {
            "parameters": [_WEBHOOK_ID, signature],
            "post": {
                "operationId": "enableWebhook",
                "summary": "Let events be delivered again to a webhook that was disabled; what failed stays failed.",
                "responses": {"200": answer("The webhook, live.", "Webhook", _WEBHOOK_EXAMPLE)}
                | errors(400, 401, 403, 404, 409),
            },
        },
        "/v1/webhooks/{webhook_id}/deliveries": {
            "parameters": [_WEBHOOK_ID, signature],
            "get": {
                "operationId": "listDeliveries",
                "summary": "What was, or is to be, delivered to a webhook, newest first.",
                "parameters": [_LIMIT, _CURSOR],
                "responses": {
                    "200": answer(
                        "A page.", "DeliveryPage", {"deliveries": [_DELIVERY_EXAMPLE], "next_cursor": CURSOR_EXAMPLE}
                    )
                }
                | errors(401, 404, 422),
            },
        },
        "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay": {
            "parameters": [_WEBHOOK_ID, _DELIVERY_ID, signature],
            "post": {
                "operationId": "replayDelivery",
                "summary": "Deliver an event once more, under the same event id, with the whole schedule before it.",
                "responses": {
                    "200": answer("Due at once.", "Delivery", {**_DELIVERY_EXAMPLE, "attempts": []}),
                }
                | errors(400, 401, 403, 404, 409),
            },
        },
    }
