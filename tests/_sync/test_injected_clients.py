# Generated from tests/_async/test_injected_clients.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""An `http_client=` of the user's own: whatever the libraries in it raise, an error of ours comes out."""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Iterator
from typing import ClassVar

import anyio
import h11
import pytest
import trio

import nodus
from nodus._httpx import httpcore, httpx
from tests._sync.clients import scripted
from tests.support.script import Script, job_reply, refusal
from tests.support.soundness import API_KEY, assert_sound, chain_of

RAISED = [
    httpx.CookieConflict("two cookies"),
    httpx.ResponseNotRead(),
    httpx.TooManyRedirects("in circles"),
    httpcore.ConnectError("refused"),
    httpcore.ReadTimeout("too slow"),
    httpcore.RemoteProtocolError("garbage"),
    httpcore.ConnectionNotAvailable(),
    h11.RemoteProtocolError("garbage"),
    ssl.SSLError("a bad record"),
    json.JSONDecodeError("no JSON", "", 0),
    zlib.error("a bad block"),
    anyio.BrokenResourceError(),
    anyio.IncompleteRead(),
    anyio.WouldBlock(),
    trio.TooSlowError(),
    trio.ClosedResourceError(),
]


def client_with(http_client: object, *, max_retries: int = 0) -> nodus.Client:
    return nodus.Client(
        API_KEY,
        base_url="http://127.0.0.1:1",
        http_client=http_client,  # type: ignore[arg-type]  # some are not what they should be
        max_retries=max_retries,
    )


def error_of(http_client: object) -> nodus.NodusError:
    """What a submission raises; checked for all that is promised of every error."""
    with client_with(http_client) as client:
        with pytest.raises(nodus.NodusError) as caught:
            client.run(image="i")
    assert_sound(caught.value)
    return caught.value


@pytest.mark.parametrize("exc", RAISED, ids=lambda exc: f"{type(exc).__module__}.{type(exc).__name__}")
def test_what_the_libraries_in_it_raise_is_translated(exc: Exception) -> None:
    """With its cause chained, as the network errors of the built-in pool are."""
    error = error_of(Script(exc))

    assert isinstance(error, nodus.APIConnectionError)
    assert error.__cause__ is exc


@pytest.mark.parametrize(
    ("exc", "timed_out", "outcome_unknown"),
    [
        (httpcore.ConnectError("refused"), False, False),
        (httpcore.ConnectTimeout("too slow"), True, False),
        (httpcore.ReadTimeout("too slow"), True, True),
        (httpcore.ReadError("reset"), False, True),
        (trio.TooSlowError(), True, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_known_is_read_from_any_library(exc: Exception, timed_out: bool, outcome_unknown: bool) -> None:
    """A time-out is one, and a failed connection sent nothing, whichever library says so."""
    error = error_of(Script(exc))

    assert isinstance(error, nodus.APITimeoutError) is timed_out
    assert error.outcome_unknown is outcome_unknown


def test_a_bug_in_it_is_let_through() -> None:
    """To dress up a TypeError as a network error would hide where it comes from."""
    with client_with(Script(TypeError("send() got an unexpected argument"))) as client:
        with pytest.raises(TypeError):
            client.get("a-job")


def test_a_hook_that_raises_for_the_status_gives_the_error_of_that_status() -> None:
    """The answer arrived; it is told apart as any other, and its request is not kept."""

    def raise_for_status(response: httpx.Response) -> None:
        response.raise_for_status()

    answer = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "7"}, json={"error": "slow"}))
    with httpx.Client(transport=answer, event_hooks={"response": [raise_for_status]}) as http_client:
        error = error_of(http_client)

    assert isinstance(error, nodus.RateLimitError)
    assert (error.retry_after, error.attempts) == (7.0, 1)
    assert [one for one in chain_of(error) if getattr(one, "request", None) is not None] == []


def test_a_closed_one_is_a_configuration_error() -> None:
    """Whoever owns it has closed it; no retry would help."""
    http_client = httpx.Client()
    http_client.close()
    with client_with(http_client, max_retries=2) as client:
        with pytest.raises(nodus.ConfigurationError) as caught:
            client.get("a-job")

    assert caught.value.code == "client_closed"
    assert isinstance(caught.value.__cause__, RuntimeError)


class Endless(httpx.SyncByteStream):
    """A body that nobody has read."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b" "


def test_an_answer_that_was_not_read_is_an_error_of_ours() -> None:
    """`send` is to give it whole."""
    error = error_of(Script(lambda _: httpx.Response(200, stream=Endless())))

    assert isinstance(error.__cause__, httpx.ResponseNotRead)


def test_a_passing_failure_of_it_is_retried() -> None:
    """As one of the built-in pool is."""
    script = Script(httpcore.ReadError("reset"), then=job_reply("running"))
    with client_with(script, max_retries=1) as client:
        assert (client.get("a-job")).status == nodus.JobStatus.RUNNING


class Plain:
    """An answer of somebody's own, with names of headers as they are written."""

    status_code = 200
    headers: ClassVar[dict[str, str]] = {"Idempotent-Replayed": "true"}
    content = b'{"id": "a-job", "status": "queued"}'


def test_headers_are_found_whatever_their_case() -> None:
    """Those of httpx have none; a dict has."""
    with client_with(Script(then=lambda _: Plain())) as client:
        job = client.run(image="i")

    assert job.replayed


class Unable:
    """It has another verb."""

    def request(self) -> None: ...


@pytest.mark.parametrize("http_client", [Unable(), "https://api.nodus.run", httpx.Client])
def test_what_cannot_send_is_refused_at_once(http_client: object) -> None:
    """Before the first request, which may be a submission."""
    with pytest.raises(nodus.ConfigurationError, match=r"httpx\.Client") as caught:
        client_with(http_client)

    assert caught.value.code == "invalid_configuration"


class ClosedAfterwards(Script):
    """Its owner closes it after the first answer."""

    @property
    def is_closed(self) -> bool:
        return bool(self.requests)


def test_a_client_that_is_closed_between_attempts_leaves_known_what_is() -> None:
    """The first attempt may have made a job, and its key tells."""
    script = ClosedAfterwards(refusal(500), RuntimeError("closed"))
    with scripted(script, max_retries=1) as client:
        with pytest.raises(nodus.ConfigurationError) as caught:
            client.run(image="i", idempotency_key="k")

    error = caught.value
    assert (error.code, error.idempotency_key, error.outcome_unknown, error.attempts) == ("client_closed", "k", True, 1)
