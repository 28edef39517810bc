"""What goes over the wire with each request: headers, signature, target, body."""

from __future__ import annotations

import re
from typing import Any

import pytest

import nodus
from nodus._httpx import httpx
from nodus._version import __version__
from tests._async.clients import API_KEY, SIGNING_SECRET, scripted
from tests.support.clock import NEW_YEAR, AsyncFakeClock
from tests.support.script import AsyncScript, body_of, job, job_reply, refusal, reply

LISTING: dict[str, object] = {"jobs": [], "next_cursor": None}


async def every_call(client: nodus.AsyncClient) -> None:
    """Make each call that carries credentials, once."""
    handle = await client.run(image="i")
    await client.get("a-job")
    await handle.refresh()
    await handle.cancel()
    await client.list()
    assert [one async for one in client.iter_jobs()] == []


def anything(request: httpx.Request) -> httpx.Response:
    """A good answer to whatever is asked."""
    listing = request.method == "GET" and request.url.path == "/v1/jobs"
    return reply(200, LISTING) if listing else job_reply("completed")


async def test_every_request_names_its_sender_and_what_it_accepts() -> None:
    """Key, media type and version go with each, once."""
    script = AsyncScript(then=anything)
    async with scripted(script) as client:
        await every_call(client)

    for request in script.requests:
        assert request.headers.get_list("Authorization") == [f"Bearer {API_KEY}"]
        assert request.headers.get_list("Accept") == ["application/json"]
        assert request.headers.get_list("Host") == ["api.nodus.run"]
        assert len(request.headers.get_list("User-Agent")) == 1
        assert re.match(rf"nodus-python/{re.escape(__version__)}( |\Z)", request.headers["User-Agent"])
        assert "X-Nodus-Retry-Count" not in request.headers


async def test_every_post_carries_an_idempotency_key_of_its_own() -> None:
    """No two calls share one, and a request that changes nothing has none."""
    script = AsyncScript(then=anything)
    async with scripted(script) as client:
        await every_call(client)
        await every_call(client)

    posts = [request for request in script.requests if request.method == "POST"]
    others = [request for request in script.requests if request.method != "POST"]
    keys = [request.headers["Idempotency-Key"] for request in posts]

    assert len(set(keys)) == len(posts) == 4
    assert all(re.fullmatch(r"[\x21-\x7e]{20,128}", key) for key in keys)
    assert not any("Idempotency-Key" in request.headers for request in others)


@pytest.mark.parametrize("key", [None, "step-7", "a b", "x" * 128, '"\\~!'])
async def test_a_submission_has_its_key_in_the_header_and_in_the_body(key: str | None) -> None:
    """So that a signature covers it; a caller's own goes unchanged."""
    script = AsyncScript(reply(202, job()))
    async with scripted(script) as client:
        await client.run(image="i", idempotency_key=key)

    request = script.requests[0]

    assert request.headers["Idempotency-Key"] == body_of(request)["idempotency_key"]
    assert key in (None, request.headers["Idempotency-Key"])


@pytest.mark.parametrize(
    "key", ["", "x" * 129, "a\r\nX-Evil: 1", "a\nb", "tab\t", "\x00", "\x7f", "clé", "☃", " a", "a ", 7, b"a", ["a"]]
)
async def test_a_key_that_no_header_can_carry_is_refused_before_sending(key: Any) -> None:
    """1 to 128 printable ASCII characters, no space at either end, else it would not arrive as it was sent."""
    script = AsyncScript()
    async with scripted(script) as client:
        with pytest.raises(nodus.ValidationError) as caught:
            await client.run(image="i", idempotency_key=key)

    assert caught.value.status_code is None
    assert script.requests == []


async def test_the_body_is_the_same_bytes_on_every_attempt() -> None:
    """Serialised once: key, header and body do not change from one retry to the next."""
    script = AsyncScript(httpx.ReadError("reset"), refusal(503), refusal(429, retry_after="1"), reply(202, job()))
    async with scripted(script, max_retries=3) as client:
        await client.run(image="i", env={"b": "1", "a": "2"})

    assert len({request.content for request in script.requests}) == 1
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert all(request.headers["Content-Type"] == "application/json" for request in script.requests)
    assert all(request.headers["Content-Length"] == str(len(request.content)) for request in script.requests)


async def test_retries_are_counted_from_the_first_on() -> None:
    """The first attempt has no count; the server can tell the others apart."""
    script = AsyncScript(refusal(500), refusal(500), reply(200, LISTING), reply(200, LISTING))
    async with scripted(script) as client:
        await client.list()
        await client.list()

    counts = [request.headers.get("X-Nodus-Retry-Count") for request in script.requests]

    assert counts == [None, "1", "2", None]


async def test_every_request_is_signed_where_there_is_a_secret() -> None:
    """The other side can verify each, over its method, path and body."""
    script = AsyncScript(then=anything)
    async with scripted(script, signing_secret=SIGNING_SECRET) as client:
        await every_call(client)

    for request in script.requests:
        assert nodus.verify_webhook(
            signing_secret=SIGNING_SECRET,
            method=request.method,
            path=request.url.raw_path.decode().partition("?")[0],
            body=request.content,
            signature_header=request.headers["Nodus-Signature"],
            now=NEW_YEAR,
        )


async def test_nothing_is_signed_without_a_secret() -> None:
    """No header is better than one that means nothing."""
    script = AsyncScript(then=anything)
    async with scripted(script) as client:
        await every_call(client)

    assert not any("Nodus-Signature" in request.headers for request in script.requests)


async def test_each_attempt_is_signed_afresh_at_its_own_time() -> None:
    """A retry after a long pause must not be refused as stale."""
    clock = AsyncFakeClock()
    script = AsyncScript(refusal(429, retry_after="100"), reply(202, job()))
    async with scripted(script, clock, signing_secret=SIGNING_SECRET) as client:
        await client.run(image="i")

    times = [re.findall(r"ts=(\d+)", request.headers["Nodus-Signature"])[0] for request in script.requests]

    assert times == [str(int(NEW_YEAR)), str(int(NEW_YEAR) + 100)]
    assert script.requests[0].headers["Nodus-Signature"] != script.requests[1].headers["Nodus-Signature"]


@pytest.mark.parametrize(
    ("base_url", "host", "path"),
    [
        ("https://gw.acme.com/nodus", "gw.acme.com", b"/nodus/v1/jobs/a%2Fb"),
        ("https://gw.acme.com/nodus/", "gw.acme.com", b"/nodus/v1/jobs/a%2Fb"),
        ("https://gw.acme.com/a%2Fb//", "gw.acme.com", b"/a%2Fb/v1/jobs/a%2Fb"),
        ("https://gw.acme.com:8443", "gw.acme.com:8443", b"/v1/jobs/a%2Fb"),
        ("http://[::1]:8787/", "[::1]:8787", b"/v1/jobs/a%2Fb"),
        (" https://GW.acme.com ", "gw.acme.com", b"/v1/jobs/a%2Fb"),
    ],
)
async def test_a_mount_prefix_goes_before_the_path_and_not_into_the_signature(
    base_url: str, host: str, path: bytes
) -> None:
    """A gateway strips it, so the control plane verifies the path without it."""
    script = AsyncScript(job_reply())
    async with scripted(script, base_url=base_url, signing_secret=SIGNING_SECRET) as client:
        await client.get("a/b")

    request = script.requests[0]

    assert request.url.raw_path == path
    assert request.headers["Host"] == host
    assert nodus.verify_webhook(
        signing_secret=SIGNING_SECRET,
        method="GET",
        path="/v1/jobs/a%2Fb",
        body=b"",
        signature_header=request.headers["Nodus-Signature"],
        now=NEW_YEAR,
    )


async def test_headers_of_the_users_own_go_with_every_request() -> None:
    """They add to what a parent has, and the last word on a name counts."""
    script = AsyncScript(then=anything)
    async with scripted(script) as client:
        parent = client.with_options(headers={"X-Team": "planner", "X-Run": "1"})
        child = parent.with_options(headers={"x-run": "2", "User-Agent": "acme/1"})
        await child.list()
        await parent.list()
        await client.list()

    first, second, third = (request.headers for request in script.requests)

    assert (first.get_list("X-Team"), first.get_list("X-Run")) == (["planner"], ["2"])
    assert first.get_list("User-Agent") == ["acme/1"]
    assert (second.get_list("X-Team"), second.get_list("X-Run")) == (["planner"], ["1"])
    assert "X-Team" not in third


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer other"},
        {"idempotency-key": "k"},
        {"Nodus-Signature": "v1="},
        {"X-Nodus-Retry-Count": "7"},
        {"Host": "evil.example"},
        {"Content-Length": "1"},
        {"X-Evil": "a\r\nX-More: b"},
        {"X Evil": "a"},
        {"": "a"},
        {"X-Evil": "é"},
        {"X-Evil": " a "},
        {"X-Evil": 7},
    ],
)
async def test_headers_that_would_change_what_a_request_is_are_refused(headers: Any) -> None:
    """The SDK's own stay its own, and no value can start another header."""
    async with scripted(AsyncScript()) as client:
        with pytest.raises(nodus.ConfigurationError):
            client.with_options(headers=headers)
