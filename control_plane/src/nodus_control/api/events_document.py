"""The event streams in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nodus_core.lifecycle import JobStatus

from .schemas import Schema

_NUMBER = r"^[0-9]{1,18}$"
_EXAMPLE = (
    "id: 2\nevent: status\n"
    'data: {"seq":2,"job_id":"019b0a5e-6f00-7c3e-8a51-0f3f6b7a9d21","status":"placed","at":"2026-11-25T12:00:04.000Z",'
    '"attempt":1,"supplier":"lambda","region":"us-west-1","reason":null,'
    '"simulated":false}\n\n'
)

EVENT_SCHEMAS: Schema = {
    "JobEvent": {
        "type": "object",
        "description": "The `data` of an event: one transition of a job.",
        "properties": {
            "seq": {"type": "integer", "minimum": 1, "description": "Which transition of the job it is."},
            "job_id": {"type": "string", "format": "uuid"},
            "status": {"enum": [status.value for status in JobStatus]},
            "at": {"type": "string", "format": "date-time"},
            "attempt": {"type": "integer", "minimum": 0, "description": "Placements so far."},
            "supplier": {"type": ["string", "null"]},
            "region": {"type": ["string", "null"]},
            "reason": {"type": ["string", "null"]},
            "simulated": {"type": "boolean", "description": "Nothing runs, and nothing is charged."},
        },
        "required": ["seq", "job_id", "status", "at", "attempt", "supplier", "region", "reason", "simulated"],
    }
}


def event_paths(errors: Callable[..., Schema], job_id: Schema, signature: Schema) -> Schema:
    """Return the paths of both streams."""
    return {
        "/v1/events": {
            "parameters": [signature],
            "get": _stream(
                "followEvents",
                "All transitions of the customer's jobs, past and to come, on one connection.",
                "the customer's sequence (the `seq` of the transition's row in the Trust Ledger), or `latest` for "
                "those to come alone",
                f"{_NUMBER}|^latest$",
                errors(401, 422),
            ),
        },
        "/v1/jobs/{job_id}/events": {
            "parameters": [job_id, signature],
            "get": _stream(
                "followJob",
                "The job's transitions, from `queued` on; ends after the last.",
                "the job's transitions",
                _NUMBER,
                errors(401, 404, 422),
            ),
        },
    }


def _stream(operation: str, summary: str, sequence: str, pattern: str, failures: Schema) -> Schema:
    parameters: list[dict[str, Any]] = [
        {
            "name": "after",
            "in": "query",
            "description": f"Begin behind this number in {sequence}.",
            "schema": {"type": "string", "pattern": pattern},
        },
        {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The `id` of the last event that came, to resume; it counts before `after`.",
            "schema": {"type": "string"},
        },
    ]
    answer = {
        "description": "Server-sent events named `status`, whose `data` is a JobEvent, and a comment every 15 s of "
        "silence.",
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
    return {
        "operationId": operation,
        "summary": summary,
        "parameters": parameters,
        "responses": {"200": answer} | failures,
    }
