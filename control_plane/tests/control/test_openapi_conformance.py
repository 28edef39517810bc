"""Answers of a running server are those that the document describes, whatever is asked, rightly or wrongly.

Requests are made from the document itself, the same ones at every run; half of them break it on purpose.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from patience import PATIENCE_SECONDS

from nodus_control import testing
from nodus_control.api.openapi import document
from nodus_control.testing import LocalControlPlane
from nodus_control.webhooks.service import WebhookOptions, options_for_this_machine

schemathesis = pytest.importorskip("schemathesis", reason="it needs Python 3.11")

import jsonschema_rs  # noqa: E402  # it comes with schemathesis
from schemathesis import GenerationMode  # noqa: E402  # not before it is known to be there
from schemathesis.checks import not_a_server_error  # noqa: E402  # likewise
from schemathesis.specs.openapi import checks  # noqa: E402  # likewise

# The server's threads draw random numbers too, which hypothesis takes for ours.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

EXAMPLES = 8
"""Of each operation, right ones and wrong ones each."""

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
]
OPERATIONS = [(method, path) for path, item in document()["paths"].items() for method in item if method != "parameters"]
EVENT_STREAM = "text/event-stream"


@dataclass
class Target:
    """A running control plane, with something for paths to name: each name, and what stands for it."""

    control_plane: LocalControlPlane
    named: dict[str, list[Any]]

    @classmethod
    def filled(cls, control_plane: LocalControlPlane) -> Target:
        """Submit a job that completes, cancel another, and register a webhook that is told of them."""
        headers = {"Authorization": f"Bearer {control_plane.api_key}"}
        with httpx.Client(base_url=control_plane.base_url, headers=headers, timeout=PATIENCE_SECONDS) as client:
            webhook = {"url": f"{control_plane.base_url}/_dev/inbox/one", "events": ["job.placed", "job.completed"]}
            webhook_id = client.post("/v1/webhooks", json=webhook).raise_for_status().json()["id"]
            spec = {"image": "x", "gpu": "l40s", "env": {"NODUS_SIM_DURATION_SECONDS": "60"}}
            completed = client.post("/v1/jobs", json=spec).raise_for_status().json()["id"]
            control_plane.advance(3600)
            cancelled = client.post("/v1/jobs", json=spec).raise_for_status().json()["id"]
            client.post(f"/v1/jobs/{cancelled}/cancel").raise_for_status()
            control_plane.advance(60)
            deliveries = client.get(f"/v1/webhooks/{webhook_id}/deliveries").json()["deliveries"]
        named = {
            "job_id": [completed, cancelled],
            "webhook_id": [webhook_id],
            "delivery_id": [each["id"] for each in deliveries],
            "seq": [1, 2],
            "gpu": list(control_plane.plane.catalogue.gpus),
        }
        return cls(control_plane, named)


@contextlib.contextmanager
def streams_end(control_plane: LocalControlPlane) -> Iterator[None]:
    """End its streams again and again, as those of a server that restarts: that of all events has no end of its own."""
    stopping = threading.Event()

    def end_streams() -> None:
        while not stopping.wait(0.02):
            control_plane.plane.feed.end_streams()

    ending = threading.Thread(target=end_streams)
    ending.start()
    try:
        yield
    finally:
        stopping.set()
        ending.join()


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """A control plane of its own for each test, which looks up no names: some are made up."""

    def without_names(*arguments: Any) -> WebhookOptions:
        return replace(options_for_this_machine(*arguments), resolve=lambda _host, _port: [])

    monkeypatch.setattr(testing, "options_for_this_machine", without_names)
    with LocalControlPlane() as control_plane:
        yield Target.filled(control_plane)


def ask(target: Target, operation: Any, mode: Any, more_checks: list[Any]) -> int:
    """Make requests of an operation, and check their answers; return how many succeeded."""
    headers = {"Authorization": f"Bearer {target.control_plane.api_key}"}
    asked = succeeded = 0

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(st.data())
    def answers(data: st.DataObject) -> None:
        nonlocal asked, succeeded
        asked += 1
        # No headers are made up where requests are to be wrong: those that mean nothing for the key are not looked at.
        made_up: dict[str, Any] = {"headers": {}} if mode is GenerationMode.NEGATIVE else {}
        case = data.draw(operation.as_strategy(generation_mode=mode, **made_up))
        # What is made up names nothing; half of them name what is there.
        if asked % 2:
            for name in case.path_parameters:
                case.path_parameters[name] = data.draw(st.sampled_from(target.named[name]))
            if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and "gpu" in case.body:
                case.body["gpu"] = data.draw(st.sampled_from(target.named["gpu"]))
                for name in ("command", "env", "labels"):  # no schema says which characters they may have
                    case.body.pop(name, None)
        response = case.call(target.control_plane.base_url, headers=headers, timeout=PATIENCE_SECONDS)
        is_stream = response.headers.get("content-type", [""])[0].startswith(EVENT_STREAM)
        # The document describes the text of a stream; of its events, the schema JobEvent.
        schema = check_events if is_stream else checks.response_schema_conformance
        case.validate_response(response, checks=[*CHECKS, schema, *more_checks], headers=headers)
        succeeded += response.status_code < 300

    with streams_end(target.control_plane) if operation.path == "/v1/events" else contextlib.nullcontext():
        answers()
    return succeeded


def check_events(_context: Any, response: Any, _case: Any) -> None:
    """Check the data of every event of a stream."""
    valid = jsonschema_rs.validator_for(document()["components"]["schemas"]["JobEvent"])
    for line in response.text.splitlines():
        if line.startswith("data:"):
            valid.validate(json.loads(line.removeprefix("data:")))


def test_right_requests_are_answered_as_the_document_says(target: Target) -> None:
    """Status, media type, headers and body; and every operation is seen to succeed."""
    schema = schemathesis.openapi.from_dict(document())
    succeeded = {
        (method, path): ask(target, schema[path][method.upper()], GenerationMode.POSITIVE, [])
        for method, path in sorted(OPERATIONS, key=lambda each: each[0] == "delete")
    }

    assert [each for each, count in succeeded.items() if not count] == []


def test_wrong_requests_are_answered_as_the_document_says(target: Target) -> None:
    """Likewise, of those that take anything; and no body is accepted that the document forbids."""
    schema = schemathesis.openapi.from_dict(document())
    for method, path in OPERATIONS:
        operation = schema[path][method.upper()]
        more = [checks.negative_data_rejection] if operation.definition.raw.get("requestBody") else []
        if more or operation.query or operation.path_parameters:
            ask(target, operation, GenerationMode.NEGATIVE, more)
