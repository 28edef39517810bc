"""The shapes of the API's bodies, as JSON Schema, and an example of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodus_core import spec
from nodus_core.catalogue import SupplierKind
from nodus_core.lifecycle import JobStatus
from nodus_ledger.keys import PrincipalKind

Schema = dict[str, Any]


def reference(name: str) -> Schema:
    """Point to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _optional(kind: str, **more: Any) -> Schema:
    return {"type": [kind, "null"], **more}


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


_TIME: Schema = {"type": "string", "format": "date-time"}
_NO_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_KINDS: Schema = {"enum": [kind.value for kind in SupplierKind]}
_PRINCIPALS: Schema = {"enum": [kind.value for kind in PrincipalKind]}

_JOB_SPEC: Schema = _object(
    {**{name: each.schema for name, each in spec.FIELDS.items()}, spec.IDEMPOTENCY_KEY: spec.IDEMPOTENCY_KEY_SCHEMA},
    ["image", "gpu"],
) | {"additionalProperties": False}

# What a submission was held to need not be said again of the answer.
_KEPT = ("type", "enum", "minimum", "maximum")
_ECHOED: Schema = {
    name: {key: value for key, value in spec.FIELDS[name].schema.items() if key in _KEPT} for name in spec.ECHOED
}

_JOB_VIEW: Schema = _object(
    {
        "id": {"type": "string", "format": "uuid", "description": "A UUIDv7."},
        "status": {"enum": [status.value for status in JobStatus]},
        "supplier": _optional("string"),
        "region": _optional("string"),
        "cost_usd": _optional("number", description="Final; null until the job is over."),
        "error_code": _optional("string"),
        "error_message": _optional("string"),
        **_ECHOED,
        "created_at": _TIME,
        "started_at": _NO_TIME,
        "finished_at": _NO_TIME,
        "duration_s": _optional("number", description="How long the last placement ran."),
        "estimated_cost_usd": {"type": "number", "description": "An upper bound, reserved at submission."},
        "retail_cost_usd": _optional("number", description="What the cheapest hyperscaler would have asked."),
        "saved_usd": _optional("number", description="Retail minus cost; may be negative."),
        "attempts": {"type": "integer", "minimum": 0, "description": "Placements so far."},
        "principal_kind": _PRINCIPALS,
        "simulated": {"type": "boolean", "description": "Nothing runs, and nothing is charged."},
        "ledger": {
            "anyOf": [
                _object({"seq": {"type": "integer"}, "leaf_hash": {"type": "string"}}, ["seq", "leaf_hash"]),
                {"type": "null"},
            ],
            "description": "Where the job's end stands in the Trust Ledger.",
        },
    },
    ["id", "status"],
)

_CANDIDATE: Schema = _object(
    {
        "supplier": {"type": "string"},
        "kind": _KINDS,
        "region": {"type": "string"},
        "usd_per_gpu_hour": {"type": "number"},
        "score": {"type": "number"},
        "rejected": _optional("string"),
    },
    ["supplier", "kind", "region", "usd_per_gpu_hour", "score", "rejected"],
)

_BUDGET: Schema = {
    "monthly_spend_cap_usd": _optional("number"),
    "month_to_date_usd": {"type": "number", "description": "Realised spend plus all open reservations."},
    "realised_usd": {"type": "number"},
    "in_flight_usd": {"type": "number"},
    "resets_at": _TIME,
}

_ERROR: Schema = _object(
    {
        "error": {"type": "string", "description": "A stable code."},
        "message": {"type": "string"},
        "request_id": {"type": "string"},
    },
    ["error", "message", "request_id"],
) | {"additionalProperties": True}

SCHEMAS: Schema = {
    "Readiness": _object(
        {
            "status": {"enum": ["ok", "unavailable"]},
            "checks": {
                "type": "object",
                "description": "`ok`, or what is wrong. `worker` alone makes nothing unavailable.",
                "properties": {
                    "database": {"type": "string"},
                    "redis": {"type": "string", "description": "Missing where none is used."},
                    "worker": {"type": "string"},
                },
                "required": ["database", "worker"],
            },
        },
        ["status", "checks"],
    ),
    "Health": _object({"status": {"const": "ok"}, "version": {"type": "string"}}, ["status", "version"]),
    "JobSpec": _JOB_SPEC,
    "JobView": _JOB_VIEW,
    "JobPage": _object(
        {"jobs": {"type": "array", "items": reference("JobView")}, "next_cursor": _optional("string")},
        ["jobs", "next_cursor"],
    ),
    "Candidate": _CANDIDATE,
    "Routing": _object(
        {
            "chosen": {"anyOf": [reference("Candidate"), {"type": "null"}]},
            "candidates": {"type": "array", "items": reference("Candidate")},
        },
        ["chosen", "candidates"],
    ),
    "Key": _object(
        {
            "id": {"type": "string"},
            "label": {"type": "string"},
            "principal_kind": _PRINCIPALS,
            "signing_required": {"type": "boolean"},
            **_BUDGET,
            "headroom_usd": _optional("number"),
        },
        ["id", "label", "principal_kind", "signing_required", *_BUDGET, "headroom_usd"],
    ),
    "Error": _ERROR,
    "BudgetError": {
        "allOf": [
            reference("Error"),
            _object({**_BUDGET, "estimated_cost_usd": {"type": "number"}}, [*_BUDGET, "estimated_cost_usd"]),
        ]
    },
}

SPEC_EXAMPLE: Schema = {
    "image": "ghcr.io/acme/train:v3",
    "command": ["python", "train.py", "--epochs", "10"],
    "gpu": "h100_80gb",
    "gpu_count": 8,
    "env": {"WANDB_PROJECT": "demo"},
    "max_runtime_seconds": 64_800,
    "require_tiers": ["tier3"],
    "prefer_region": "us-east-1",
    "name": "nightly",
    "idempotency_key": "nightly-2026-11-24",
}

JOB_EXAMPLE: Schema = {
    "id": "0198c0de-0000-7000-8000-000000000001",
    "status": "completed",
    "supplier": "lambda",
    "region": "us-east-1",
    "cost_usd": 31.92,
    "error_code": None,
    "error_message": None,
    "image": "ghcr.io/acme/train:v3",
    "gpu": "h100_80gb",
    "gpu_count": 8,
    "max_runtime_seconds": 64_800,
    "name": "nightly",
    "created_at": "2026-11-24T08:00:00.000Z",
    "started_at": "2026-11-24T08:01:10.500Z",
    "finished_at": "2026-11-24T09:01:10.500Z",
    "duration_s": 3600.0,
    "estimated_cost_usd": 886.32,
    "retail_cost_usd": 55.04,
    "saved_usd": 23.12,
    "attempts": 1,
    "principal_kind": "human",
    "simulated": False,
    "ledger": None,
}

_CANDIDATE_EXAMPLE: Schema = {
    "supplier": "lambda",
    "kind": "tier3",
    "region": "us-east-1",
    "usd_per_gpu_hour": 3.99,
    "score": 0.355639,
    "rejected": None,
}

ROUTING_EXAMPLE: Schema = {
    "chosen": _CANDIDATE_EXAMPLE,
    "candidates": [_CANDIDATE_EXAMPLE, {**_CANDIDATE_EXAMPLE, "supplier": "crusoe", "rejected": "outage"}],
}

_BUDGET_EXAMPLE: Schema = {
    "monthly_spend_cap_usd": 2500.0,
    "month_to_date_usd": 1931.92,
    "realised_usd": 31.92,
    "in_flight_usd": 1900.0,
    "resets_at": "2026-12-01T00:00:00.000Z",
}

KEY_EXAMPLE: Schema = {
    "id": "7c0f3a52-8f0e-4a6e-9c1f-0b6a4d2e9b21",
    "label": "planner-prod",
    "principal_kind": "agent",
    "signing_required": True,
    **_BUDGET_EXAMPLE,
    "headroom_usd": 568.08,
}

CURSOR_EXAMPLE = "AZr1sYx0kq3h2fD7mVtUuE9oWc5JpQbLzG8nRyXaTdHs4M6wKi"
READINESS_EXAMPLE: Schema = {"status": "ok", "checks": {"database": "ok", "redis": "ok", "worker": "ok"}}

ERRORS: Mapping[int, tuple[str, str, Schema]] = {
    400: ("The request is malformed.", "invalid_json", {}),
    401: ("The key or its signature is missing or wrong.", "invalid_api_key", {}),
    402: (
        "The job could pass the key's monthly cap.",
        "budget_exceeded",
        {**_BUDGET_EXAMPLE, "estimated_cost_usd": 886.32},
    ),
    403: ("An agent's key may not do this to another key's job.", "forbidden_principal", {}),
    404: ("There is no such job.", "job_not_found", {}),
    405: ("The path does not support this method.", "method_not_allowed", {}),
    409: ("The signature was used before.", "signature_replayed", {}),
    408: ("The body did not come whole in time.", "request_timeout", {}),
    413: ("The body is too large.", "body_too_large", {}),
    416: ("The job has not printed that much yet.", "range_not_satisfiable", {}),
    422: ("A field is outside its limits.", "invalid_spec", {"field": "gpu_count"}),
    429: ("The key, or this address without a valid one, has sent too much: wait.", "rate_limited", {}),
    431: ("The request's head is too large.", "headers_too_large", {}),
    500: ("Something went wrong on the server.", "internal_error", {}),
    503: (
        "Not right now: every supplier that offers this is out, or what the control plane needs does not answer.",
        "no_supplier",
        {},
    ),
}
