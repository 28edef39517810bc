# Generated from tests/_async/test_failures.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""From an answer, or the lack of one, to an error: its class, and what it says."""

from __future__ import annotations

import copy
import pickle
import ssl
import traceback
from typing import Any

import pytest

import nodus
from nodus._httpx import httpx
from tests._sync.clients import API_KEY, SIGNING_SECRET, scripted
from tests.support.script import Script, job, job_reply, raw_reply, refusal, reply

ENV_VALUE = "wandb-4f2a"

BY_STATUS = {
    300: nodus.APIError,
    301: nodus.APIError,
    302: nodus.APIError,
    304: nodus.APIError,
    307: nodus.APIError,
    308: nodus.APIError,
    400: nodus.ValidationError,
    401: nodus.AuthenticationError,
    402: nodus.BudgetExceededError,
    403: nodus.AuthenticationError,
    404: nodus.NotFoundError,
    405: nodus.APIError,
    408: nodus.APIError,
    409: nodus.APIError,
    410: nodus.APIError,
    413: nodus.APIError,
    418: nodus.APIError,
    422: nodus.ValidationError,
    425: nodus.APIError,
    429: nodus.RateLimitError,
    451: nodus.APIError,
    500: nodus.APIError,
    501: nodus.APIError,
    502: nodus.APIError,
    503: nodus.SupplierUnavailableError,
    504: nodus.APIError,
    599: nodus.APIError,
}


def error_of(answer: Any, **options: Any) -> nodus.NodusError:
    """The error that `get` raises when it meets this answer."""
    with scripted(Script(answer), **{"max_retries": 0, **options}) as client:
        with pytest.raises(nodus.NodusError) as caught:
            client.get("a-job")
    return caught.value


@pytest.mark.parametrize("status", BY_STATUS)
def test_the_class_of_an_error_comes_from_the_status(status: int) -> None:
    """As in the manual's table, with everything that the answer says."""
    error = error_of(refusal(status, "a_code", x_request_id="r-1"))

    assert type(error) is BY_STATUS[status]
    assert (error.code, error.message, error.status_code) == ("a_code", "It did not work.", status)
    assert (error.request_id, error.attempts) == ("r-1", 1)
    assert error.payload == {"error": "a_code", "message": "It did not work."}


@pytest.mark.parametrize("status", BY_STATUS)
def test_an_answer_without_a_code_is_an_http_error(status: int) -> None:
    """Whatever the class; and the message says what was asked and what came."""
    error = error_of(raw_reply(status, b""))

    assert type(error) is BY_STATUS[status]
    assert (error.code, error.payload, error.request_id) == ("http_error", None, None)
    assert error.message == f"GET /v1/jobs/a-job was answered with HTTP {status}."


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("signature_invalid", nodus.SignatureError),
        ("signature_stale", nodus.SignatureError),
        ("signing_secret_unavailable", nodus.SignatureError),
        ("invalid_api_key", nodus.AuthenticationError),
        ("signature_other", nodus.AuthenticationError),
    ],
)
def test_three_codes_of_a_401_are_about_the_signature(code: str, kind: type[nodus.NodusError]) -> None:
    """And the same code with another status is not."""
    unauthorized, forbidden = error_of(refusal(401, code)), error_of(refusal(403, code))

    assert type(unauthorized) is kind
    assert unauthorized.code == code
    assert type(forbidden) is nodus.AuthenticationError


ENVELOPES = [
    ({"error": "c", "message": "m", "request_id": "r", "extra": 1}, ("c", "m", "r")),
    ({"error": {"code": "c", "message": "m"}}, ("c", "m", None)),
    ({"error": {"code": "c", "message": "m", "request_id": "r"}}, ("c", "m", "r")),
    ({"error": {"code": "c", "message": "m"}, "request_id": "r"}, ("c", "m", "r")),
    ({"code": "c", "message": "m"}, ("c", "m", None)),
    ({"detail": "m"}, ("http_error", "m", None)),
    ({"detail": {"code": "c", "message": "m"}}, ("c", "m", None)),
    ({"detail": {"error": "c", "message": "m"}}, ("c", "m", None)),
    ({"detail": [{"loc": ["body", "gpu"], "msg": "is bad"}]}, ("http_error", "body.gpu: is bad", None)),
    (
        {"detail": [{"loc": ["body", "env", 0], "msg": "one"}, {"msg": "two"}, 7]},
        ("http_error", "body.env.0: one; body: two", None),
    ),
    ({"error": "c"}, ("c", None, None)),
    ({"message": "m"}, ("http_error", "m", None)),
    ({"error": 7, "message": ["m"], "code": None, "request_id": 7}, ("http_error", None, None)),
    ({"error": None, "detail": None}, ("http_error", None, None)),
    ({"error": "", "message": ""}, ("http_error", None, None)),
    ({"error": {}, "detail": []}, ("http_error", None, None)),
    ({"detail": [{}]}, ("http_error", None, None)),
    ({}, ("http_error", None, None)),
    ([], ("http_error", None, None)),
    ([{"error": "c"}], ("http_error", None, None)),
    ("text", ("http_error", None, None)),
    (7, ("http_error", None, None)),
    (None, ("http_error", None, None)),
    (True, ("http_error", None, None)),
]


@pytest.mark.parametrize(("payload", "expected"), ENVELOPES)
def test_every_form_of_error_body_is_understood(payload: object, expected: tuple[str, str | None, str | None]) -> None:
    """The server's own, other versions', the framework's; what is none of them does no harm and is kept."""
    error = error_of(reply(418, payload))
    code, message, request_id = expected

    assert error.code == code
    assert error.message == message or (message is None and error.message.endswith("was answered with HTTP 418."))
    assert error.request_id == request_id
    assert error.payload == payload


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"<html><h1>502 Bad Gateway</h1></html>",
        b"{",
        b"\xff\xfe\xfa",
        b"\x80",
        b"[" * 100_000,
        b'{"error": "c"',
        b"9" * 5000,
    ],
)
def test_a_body_that_is_no_json_never_leaks_a_decode_error(content: bytes) -> None:
    """A gateway's page is an answer too."""
    error = error_of(raw_reply(502, content))

    assert (type(error), error.code, error.payload) == (nodus.APIError, "http_error", None)


def test_the_request_id_of_the_header_comes_first() -> None:
    """It is on every answer; the body's is there for those that lost it."""
    error = error_of(reply(500, {"error": "c", "request_id": "body"}, x_request_id="header"))

    assert error.request_id == "header"


@pytest.mark.parametrize(
    "answer",
    [
        raw_reply(200, b"<html>captive portal</html>"),
        raw_reply(200, b""),
        raw_reply(204, b""),
        raw_reply(200, b"\xff"),
        reply(200, {"id": "1"}),
        reply(200, {"status": "queued"}),
        reply(200, {"id": None, "status": "queued"}),
        reply(200, {"id": "1", "status": 7}),
        reply(200, {"id": "1", "status": "queued", "cost_usd": "a lot"}),
        reply(200, [job()]),
        reply(200, "text"),
    ],
    ids=range(11),
)
def test_a_good_status_with_a_body_that_cannot_be_used_is_an_error(answer: httpx.Response) -> None:
    """It says so, with its own code, and is not tried again."""
    script = Script(answer)
    with scripted(script) as client:
        with pytest.raises(nodus.APIError) as caught:
            client.get("a-job")

    assert caught.value.code == "invalid_response"
    assert caught.value.status_code == answer.status_code
    assert caught.value.attempts == 1
    assert caught.value.__cause__ is not None
    assert len(script.requests) == 1


@pytest.mark.parametrize("payload", [{}, {"jobs": None}, {"jobs": {}}, {"jobs": [7]}, [7], "text", None])
def test_a_listing_that_is_none_is_an_error(payload: object) -> None:
    """Neither an object with jobs nor an array of them."""
    with scripted(Script(reply(200, payload))) as client:
        with pytest.raises(nodus.APIError) as caught:
            client.list()

    assert caught.value.code == "invalid_response"


@pytest.mark.parametrize("content", [b"[]", b"ok", b"", b"null"])
def test_health_that_is_no_object_is_an_error(content: bytes) -> None:
    """A page that some proxy put in its place is not health."""
    with scripted(Script(raw_reply(200, content))) as client:
        with pytest.raises(nodus.APIError) as caught:
            client.healthz()

    assert caught.value.code == "invalid_response"


def test_a_submission_with_an_unusable_answer_may_have_made_a_job() -> None:
    """So the error says that, and gives the key to find out with."""
    with scripted(Script(raw_reply(202, b"<html>"))) as client:
        with pytest.raises(nodus.APIError) as caught:
            client.run(image="i", idempotency_key="k")

    assert (caught.value.outcome_unknown, caught.value.idempotency_key) == (True, "k")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """A signature is for one path, and a key for one host."""
    script = Script(reply(status, None, location="https://evil.example/"))
    with scripted(script) as client:
        with pytest.raises(nodus.APIError) as caught:
            client.get("a-job")

    assert (caught.value.status_code, caught.value.code) == (status, "http_error")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("raised", "kind", "unknown"),
    [
        (httpx.ConnectError("refused"), nodus.APIConnectionError, False),
        (httpx.ConnectTimeout("slow"), nodus.APITimeoutError, False),
        (httpx.PoolTimeout("full"), nodus.APITimeoutError, False),
        (httpx.ProxyError("502"), nodus.APIConnectionError, False),
        (httpx.LocalProtocolError("odd"), nodus.APIConnectionError, False),
        (httpx.UnsupportedProtocol("ftp"), nodus.APIConnectionError, False),
        (httpx.ReadError("reset"), nodus.APIConnectionError, True),
        (httpx.WriteError("broken pipe"), nodus.APIConnectionError, True),
        (httpx.CloseError("odd"), nodus.APIConnectionError, True),
        (httpx.RemoteProtocolError("garbage"), nodus.APIConnectionError, True),
        (httpx.ReadTimeout("slow"), nodus.APITimeoutError, True),
        (httpx.WriteTimeout("slow"), nodus.APITimeoutError, True),
        (httpx.DecodingError("no gzip"), nodus.APIConnectionError, True),
        (httpx.TooManyRedirects("loop"), nodus.APIConnectionError, True),
        (httpx.StreamClosed(), nodus.APIConnectionError, True),
        (ConnectionResetError("reset"), nodus.APIConnectionError, True),
        (TimeoutError("slow"), nodus.APITimeoutError, True),
        (ssl.SSLError("alert"), nodus.APIConnectionError, True),
        (OSError(101, "network is unreachable"), nodus.APIConnectionError, True),
        (EOFError(), nodus.APIConnectionError, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_a_transport_raises_becomes_an_error_of_ours(
    raised: Exception, kind: type[nodus.NodusError], unknown: bool
) -> None:
    """With its cause chained; it says whether the server may have acted."""
    with scripted(Script(raised), max_retries=0) as client:
        with pytest.raises(nodus.APIConnectionError) as caught:
            client.run(image="i", idempotency_key="k")

    error = caught.value

    assert type(error) is kind
    assert error.code == kind.default_code
    assert error.__cause__ is raised
    assert (error.status_code, error.payload, error.retry_after) == (None, None, None)
    assert (error.attempts, error.idempotency_key, error.outcome_unknown) == (1, "k", unknown)
    assert error.message.startswith("POST /v1/jobs ")


def test_a_bug_in_an_injected_client_is_not_taken_for_the_network() -> None:
    """What no transport raises passes through as it is."""
    script = Script(KeyError("a bug"))
    with scripted(script) as client:
        with pytest.raises(KeyError, match="a bug"):
            client.get("a-job")

    assert len(script.requests) == 1


def echo(request: httpx.Request) -> httpx.Response:
    """What a careless gateway does: show the request that it could not handle."""
    shown = dict(request.headers)
    body = {"error": "bad_request", "message": f"cannot handle {shown}", "headers": shown}
    return reply(400, body, x_request_id=shown["authorization"])


def secretive_errors() -> list[nodus.NodusError]:
    """Failures of every origin, of a client with a key, a secret, and a job with an environment."""
    cause = httpx.ReadError("reset", request=httpx.Request("GET", "https://x", headers={"Authorization": API_KEY}))
    caught: list[nodus.NodusError] = []
    for answer in (echo, refusal(500), reply(200, {"echo": SIGNING_SECRET}), cause, httpx.ConnectError("refused")):
        script = Script(answer)  # type: ignore[arg-type]
        with scripted(script, max_retries=0, signing_secret=SIGNING_SECRET) as client:
            try:
                client.run(image="i", env={"TOKEN": ENV_VALUE})
            except nodus.NodusError as error:
                caught.append(error)
    return caught


def test_no_error_carries_a_secret() -> None:
    """Not in its text, its attributes, its pickle, its traceback, nor in the errors that it came from."""
    errors = secretive_errors()

    assert len(errors) == 5
    for error in errors:
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + repr(pickle.dumps(error))
        link: BaseException | None = error
        while link is not None:
            shown += f"{link!r} {vars(link)!r} {link.args!r}"
            link = link.__cause__ or link.__context__
        for secret in (API_KEY, SIGNING_SECRET, ENV_VALUE):
            assert secret not in shown


def test_errors_of_real_calls_pickle_and_copy() -> None:
    """Whatever they came from."""
    for error in secretive_errors():
        for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
            assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


def test_the_payload_of_a_402_tells_the_headroom() -> None:
    """An agent can shrink the job without asking anything else."""
    payload = {
        "error": "budget_exceeded",
        "message": "m",
        "monthly_spend_cap_usd": 2500.0,
        "month_to_date_usd": 2400.5,
        "estimated_cost_usd": 120.25,
    }
    with scripted(Script(reply(402, payload))) as client:
        with pytest.raises(nodus.BudgetExceededError) as caught:
            client.run(image="i")

    error = caught.value

    assert error.payload["monthly_spend_cap_usd"] - error.payload["month_to_date_usd"] == 99.5
    assert (error.code, error.outcome_unknown) == ("budget_exceeded", False)


def test_a_failed_refresh_leaves_the_handle_as_it_was() -> None:
    """What was known stays known."""
    script = Script(job_reply("running", supplier="lambda"), refusal(404, "job_not_found"))
    with scripted(script) as client:
        handle = client.get("a-job")
        with pytest.raises(nodus.NotFoundError) as caught:
            handle.refresh()

    assert (handle.status, handle.supplier) == ("running", "lambda")
    assert caught.value.code == "job_not_found"
