"""The API as OpenAPI 3.1: what callers can rely on, with an example of each answer."""

from __future__ import annotations

from typing import Any

from nodus_core.lifecycle import JobStatus
from nodus_core.spec import FIELDS, FILTERS

from ..version import VERSION
from . import schemas, webhook_document
from .events_document import EVENT_SCHEMAS, event_paths
from .ledger_document import LEDGER_SCHEMAS, ledger_paths
from .schemas import Schema, reference

_JSON = "application/json"
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key with the same spec gives the first job again, whatever happened to the answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[\\x20-\\x7e]+$"},
}
_SIGNATURE: Schema = {
    "name": "Nodus-Signature",
    "in": "header",
    "description": "`v1=<HMAC-SHA256>,ts=<Unix seconds>` over `ts.METHOD.path.sha256(body)`; required by keys that "
    "were minted so.",
    "schema": {"type": "string", "maxLength": 1024},
}
_JOB_ID: Schema = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def document() -> Schema:
    """Return the document of `/openapi.json`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nodus",
            "version": VERSION,
            "summary": "Submit GPU jobs, follow them to their end, see what they cost.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"apiKey": []}],
        "paths": _paths() | webhook_document.paths(_SIGNATURE, _answer, _errors),
        "components": {
            "schemas": schemas.SCHEMAS | EVENT_SCHEMAS | LEDGER_SCHEMAS | webhook_document.SCHEMAS,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "nk_live_… or nk_test_…"}
            },
            "headers": {
                "RequestId": {"description": "Names this answer in the logs.", "schema": {"type": "string"}},
                "IdempotentReplayed": {
                    "description": "`true` where an idempotency key matched an earlier submission.",
                    "schema": {"const": "true"},
                },
                "RateLimit": {
                    "description": "What is left of the limit, and for how many seconds "
                    "(draft-ietf-httpapi-ratelimit-headers-10); missing where streams are too many.",
                    "schema": {"type": "string", "examples": ['"key";r=0;t=1']},
                },
                "RateLimitPolicy": {
                    "description": "The limit: `q` requests in `w` seconds.",
                    "schema": {"type": "string", "examples": ['"key";q=50;w=1']},
                },
                "RetryAfter": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
            },
        },
    }


def _paths() -> Schema:
    return {
        "/healthz": {
            "get": {
                "operationId": "healthz",
                "summary": "Whether the control plane answers. Needs no credentials.",
                "security": [],
                "responses": {"200": _answer("It does.", "Health", {"status": "ok", "version": VERSION})},
            }
        },
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "summary": "Whether database and Redis answer, and whether a worker was seen. Needs no credentials.",
                "security": [],
                "responses": {
                    "200": _answer("They do.", "Readiness", schemas.READINESS_EXAMPLE),
                    "503": _answer(
                        "One does not.",
                        "Readiness",
                        {"status": "unavailable", "checks": {"database": "unavailable", "worker": "unknown"}},
                    ),
                },
            }
        },
        "/v1/jobs": {"get": _list_jobs(), "post": _submit_job()},
        "/v1/jobs/{job_id}": {
            "parameters": [_JOB_ID, _SIGNATURE],
            "get": {
                "operationId": "getJob",
                "summary": "One job.",
                "responses": {"200": _answer("The job.", "JobView", schemas.JOB_EXAMPLE)} | _errors(401, 404),
            },
        },
        "/v1/jobs/{job_id}/cancel": {
            "parameters": [_JOB_ID, _IDEMPOTENCY_KEY, _SIGNATURE],
            "post": {
                "operationId": "cancelJob",
                "summary": "Ask for the end of a job; on a terminal one, answers its state unchanged.",
                "responses": {"200": _answer("The job as it is now.", "JobView", schemas.JOB_EXAMPLE)}
                | _errors(400, 401, 403, 404),
            },
        },
        "/v1/jobs/{job_id}/routing": {
            "parameters": [_JOB_ID, _SIGNATURE],
            "get": {
                "operationId": "getRouting",
                "summary": "Why the job went where it went: the latest placement decision.",
                "responses": {"200": _answer("The decision.", "Routing", schemas.ROUTING_EXAMPLE)} | _errors(401, 404),
            },
        },
        "/v1/jobs/{job_id}/logs": {"parameters": [_JOB_ID, _SIGNATURE], "get": _get_logs()},
        "/v1/key": {
            "parameters": [_SIGNATURE],
            "get": {
                "operationId": "getKey",
                "summary": "The calling key and its budget; never the key itself.",
                "responses": {"200": _answer("The key.", "Key", schemas.KEY_EXAMPLE)} | _errors(401),
            },
        },
        **event_paths(_errors, _JOB_ID, _SIGNATURE),
        **ledger_paths(_answer, _errors, _SIGNATURE),
    }


def _submit_job() -> Schema:
    replayed = _answer("The job that this idempotency key made before.", "JobView", schemas.JOB_EXAMPLE)
    replayed["headers"]["Idempotent-Replayed"] = {"$ref": "#/components/headers/IdempotentReplayed"}
    return {
        "operationId": "submitJob",
        "summary": "Submit a job.",
        "parameters": [_IDEMPOTENCY_KEY, _SIGNATURE],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": reference("JobSpec"), "example": schemas.SPEC_EXAMPLE}},
        },
        "responses": {"202": _answer("Accepted.", "JobView", schemas.JOB_EXAMPLE), "200": replayed}
        | _errors(400, 401, 402, 409, 413, 422, 503),
    }


def _list_jobs() -> Schema:
    return {
        "operationId": "listJobs",
        "summary": "The customer's jobs, newest first.",
        "parameters": [
            {
                "name": "limit",
                "in": "query",
                "description": "Jobs a page; above 200 it is capped.",
                "schema": {"type": "integer", "minimum": 1, "default": 50},
            },
            {
                "name": "cursor",
                "in": "query",
                "description": "The `next_cursor` of the page before.",
                "schema": {"type": "string"},
            },
            {
                "name": "status",
                "in": "query",
                "description": "Only jobs of these statuses.",
                "style": "form",
                "explode": False,
                "schema": {"type": "array", "items": {"enum": [status.value for status in JobStatus]}},
            },
            *(
                {
                    "name": name,
                    "in": "query",
                    "description": f"Only jobs with this `{name}`.",
                    "schema": {**FIELDS[name].schema, "type": "string"},
                }
                for name in FILTERS
            ),
            _SIGNATURE,
        ],
        "responses": {
            "200": _answer(
                "A page.", "JobPage", {"jobs": [schemas.JOB_EXAMPLE], "next_cursor": schemas.CURSOR_EXAMPLE}
            ),
        }
        | _errors(401, 422),
    }


def _get_logs() -> Schema:
    text = {"text/plain": {"schema": {"type": "string"}, "example": "step 1/40  loss 2.3871\n"}}
    headers = {
        "X-Request-Id": {"$ref": "#/components/headers/RequestId"},
        "Nodus-Attempt": {
            "description": "Which placement's output it is; byte offsets count within it. Missing before the first.",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
    return {
        "operationId": "getLogs",
        "summary": "What the job's last placement printed.",
        "parameters": [
            {
                "name": "Range",
                "in": "header",
                "description": "Bytes to give, such as `bytes=4096-`.",
                "schema": {"type": "string"},
            },
            {
                "name": "follow",
                "in": "query",
                "description": "Go on as the job prints, until it is over.",
                "schema": {"type": "boolean", "default": False},
            },
        ],
        "responses": {
            "200": {"description": "All of it so far.", "headers": headers, "content": text},
            "206": {"description": "The bytes that were asked for.", "headers": headers, "content": text},
        }
        | _errors(401, 403, 404, 416),
    }


def _answer(description: str, schema: str, example: Any) -> Schema:
    return {
        "description": description,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}},
        "content": {_JSON: {"schema": reference(schema), "example": example}},
    }


def _errors(*statuses: int) -> Schema:
    answers: Schema = {}
    # Wherever a signature may be required, the server may be unable to verify one right now.
    unavailable = (503,) if 401 in statuses and 503 not in statuses else ()
    limited = (400, 408, 429, 431) if 401 in statuses else ()
    for status in dict.fromkeys((*statuses, 405, 500, *unavailable, *limited)):
        description, code, extra = schemas.ERRORS[status]
        envelope = {"error": code, "message": description, "request_id": "req_5f0c6b1f9a0e4d72b8c3a1d9", **extra}
        schema = "BudgetError" if status == 402 else "Error"
        answers[str(status)] = _answer(description, schema, envelope)
        if status in (409, 429, 503):
            answers[str(status)]["headers"]["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
        if status == 429:
            for name in ("RateLimit", "RateLimit-Policy"):
                answers["429"]["headers"][name] = {"$ref": f"#/components/headers/{name.replace('-', '')}"}
    return answers
