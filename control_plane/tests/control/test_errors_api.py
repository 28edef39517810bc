"""Whatever is sent: one envelope, a request id, and nothing of what was sent."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_SECONDS

from nodus_control.testing import LocalControlPlane

pytestmark = pytest.mark.anyio
SECRET = "s3cr3t-value-of-somebody"

header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=200)
paths = st.sampled_from(
    [
        "/v1/jobs",
        "/v1/jobs/x",
        "/v1/jobs/x/cancel",
        "/v1/jobs/x/logs",
        "/v1/key",
        "/healthz",
        "/v1/nope",
        "/_dev/faults",
        "/_dev/state",
    ]
)


def assert_enveloped(answer: httpx.Response) -> None:
    """Check the envelope."""
    content = answer.json()
    assert content["error"]
    assert content["message"]
    assert content["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1/nope", 404, "not_found"),
        ("GET", "/v1/jobs/", 404, "not_found"),
        ("PUT", "/v1/jobs", 405, "method_not_allowed"),
        ("DELETE", "/v1/key", 405, "method_not_allowed"),
        ("PATCH", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_unknown_routes_have_the_envelope(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    """404 and 405 are errors like any other."""
    answer = await client.request(method, path)

    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert_enveloped(answer)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, POST"),
        ("POST", "/v1/key", "GET"),
        ("PUT", "/v1/webhooks/wh_1", "DELETE, GET"),
        ("GET", "/v1/jobs/j/cancel", "POST"),
    ],
)
async def test_a_method_that_a_path_lacks_is_answered_with_those_that_it_has(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    """All of them, as RFC 9110 (section 15.5.6) asks."""
    answer = await client.request(method, path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nope",
        b"\xff\xfe",
        b'{"image": NaN}',
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"gpu": ' + SECRET.encode(),
    ],
)
async def test_a_body_that_is_no_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    """400 `invalid_json`, however it is broken."""
    answer = await client.post("/v1/jobs", content=body)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_json")
    assert_enveloped(answer)
    assert SECRET not in answer.text


async def test_a_spec_outside_its_limits_is_422(client: httpx.AsyncClient) -> None:
    """With the field at fault, and no value of it."""
    answer = await client.post("/v1/jobs", json={"image": "x", "gpu": "h100_80gb", "env": {"TOKEN": [SECRET]}})

    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (422, "invalid_spec", "env")
    assert SECRET not in answer.text


async def test_a_body_has_a_limit(client: httpx.AsyncClient) -> None:
    """413 above one mebibyte."""
    answer = await client.post("/v1/jobs", content=b" " * (1024 * 1024 + 1))

    assert (answer.status_code, answer.json()["error"]) == (413, "body_too_large")


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer nk_live_wrong", "Basic eDp5"])
async def test_no_key_no_answer(client: httpx.AsyncClient, authorization: str | None) -> None:
    """401 before anything else is looked at, and the key is not repeated."""
    del client.headers["authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await client.post("/v1/jobs?x=1", content=b"{", headers=headers)

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_api_key")
    assert_enveloped(answer)
    assert "nk_live_wrong" not in answer.text


async def test_the_health_check_needs_no_key(client: httpx.AsyncClient) -> None:
    """It says that requests are answered, and by what."""
    del client.headers["authorization"]
    answer = await client.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": "0.1.0"})
    assert answer.headers["x-request-id"]


async def test_every_answer_has_an_id_of_its_own(client: httpx.AsyncClient) -> None:
    """A client's header does not choose it."""
    answers = [await client.get("/healthz", headers={"X-Request-Id": "mine"}) for _ in range(3)]

    assert len({answer.headers["x-request-id"] for answer in answers} | {"mine"}) == 4


async def test_an_unexpected_failure_is_a_500_without_details(
    client: httpx.AsyncClient,
    control_plane: LocalControlPlane,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has what happened, the answer only the id to find it by."""

    def break_down(*_: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(control_plane.plane.jobs, "get", break_down)
    answer = await client.get("/v1/jobs/x")

    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert_enveloped(answer)
    assert "disk" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text


@pytest.mark.both_engines
@settings(max_examples=150)
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    path=paths,
    headers=st.dictionaries(
        st.sampled_from(["Idempotency-Key", "Nodus-Signature", "Range", "Content-Type", "Accept", "Authorization"]),
        header_values,
    ),
    query=st.dictionaries(st.sampled_from(["limit", "cursor", "status", "follow", "x"]), st.text(max_size=20)),
    body=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["image", "gpu", "env", "command", "do", "match", "times"]), inner)
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)
async def test_nothing_that_is_sent_breaks_the_server(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    headers: dict[str, str],
    query: dict[str, Any],
    body: bytes,
) -> None:
    """Never a 500, always the envelope."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    if "Authorization" not in headers:
        raw.append((b"Authorization", client.headers["authorization"].encode()))
    request = httpx.Request(method, f"http://127.0.0.1{path}", headers=raw, params=query, content=body)
    answer = await client.send(request)

    assert answer.status_code < 500
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        assert_enveloped(answer)


@pytest.mark.parametrize(
    "request_line",
    ["GARBAGE", "BREW /v1/jobs HTTP/1.1", "GET /v1/jobs HTTP/1.1\r\nIdempotency-Key: a\x7fb"],
    ids=["no request", "no method", "a control character"],
)
async def test_what_is_no_http_has_the_envelope_too(request_line: str) -> None:
    """The server's parser refuses it before any application is asked."""
    with LocalControlPlane() as control_plane:
        address = httpx.URL(control_plane.base_url)
        with socket.create_connection((address.host, address.port or 80), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(f"{request_line}\r\nHost: {address.host}\r\n\r\n".encode("latin-1"))
            answer = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])

    assert head.startswith("HTTP/1.1 400 ")
    assert json.loads(body)["error"] == "invalid_http"
    assert json.loads(body)["request_id"] == headers["x-request-id"]
    assert int(headers["content-length"]) == len(body)
