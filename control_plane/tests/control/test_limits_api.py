"""What callers may ask for, over HTTP: rates, streams, threads, and when keys end."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
from control.sse import more_keys, opened
from patience import PATIENCE_SECONDS, eventually

import nodus
from nodus_control.access.rate_limiter import RateLimiter
from nodus_control.api import requests
from nodus_control.playground.seeded import CUSTOMER_ID
from nodus_control.serving.server import Server
from nodus_control.testing import LocalControlPlane
from nodus_core.rate_limits import OwnLimit, RateLimit
from nodus_ledger.keys.keys import PrincipalKind

pytestmark = pytest.mark.anyio


@pytest.fixture
def limited() -> Iterator[LocalControlPlane]:
    """A control plane to which each key may send five requests, and one a second more, in a second that never ends."""
    with LocalControlPlane(rate_limit="1/s:5", serve=False) as started:
        started.plane.limits = RateLimiter(started.plane.limits.options, clock=lambda: 0.0)
        yield started


def caller(control_plane: LocalControlPlane, api_key: str | None = None) -> httpx.AsyncClient:
    """Make a client without a socket; by default with the person's key."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=control_plane.asgi_app),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {api_key or control_plane.api_key}"},
    )


def mint(control_plane: LocalControlPlane, customer_id: str = "other", **options: Any) -> str:
    """Make a key."""
    now = control_plane.plane.clock.now()
    return control_plane.plane.keys.mint(
        customer_id=customer_id, label="", principal_kind=PrincipalKind.SERVICE, now=now, **options
    ).api_key


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and code of a refusal."""
    return answer.status_code, answer.json()["error"]


async def test_a_key_has_its_rate_and_others_theirs(limited: LocalControlPlane) -> None:
    """Whatever it asks for; a refusal says when to come again, and does nothing."""
    async with caller(limited) as client, caller(limited, mint(limited, CUSTOMER_ID)) as neighbour:
        fine = [(await client.get("/v1/key")).status_code for _ in range(4)]
        fine.append((await client.get("/v1/jobs")).status_code)
        refused = await client.post("/v1/jobs", json={"image": "x", "gpu": "l40s"})
        beside = await neighbour.get("/v1/jobs")

    assert fine == [200] * 5
    assert code_of(refused) == (429, "rate_limited")
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit"] == '"key";r=0;t=1'
    assert refused.headers["ratelimit-policy"] == '"key";q=1;w=1'
    assert (beside.status_code, beside.json()["jobs"]) == (200, [])


async def test_a_key_may_have_a_limit_of_its_own(limited: LocalControlPlane) -> None:
    """It may be higher or lower than the control plane's, or none."""
    own = OwnLimit(RateLimit(1, 1))
    async with caller(limited, mint(limited, rate_limit=own)) as one:
        of_one = [(await one.get("/v1/key")).status_code for _ in range(2)]
    async with caller(limited, mint(limited, rate_limit=OwnLimit(None))) as unlimited:
        of_unlimited = {(await unlimited.get("/v1/key")).status_code for _ in range(20)}

    assert of_one == [200, 429]
    assert of_unlimited == {200}


async def test_what_fails_at_the_key_is_never_taken_from_a_key(limited: LocalControlPlane) -> None:
    """Signatures of others do not use up the tokens of the agent, whose key they know."""
    async with caller(limited, limited.agent_api_key) as thief:
        codes = {code_of(await thief.get("/v1/key")) for _ in range(30)}
    signature = nodus.sign_request(signing_secret=limited.agent_signing_secret, method="GET", path="/v1/key", body=b"")
    async with caller(limited, limited.agent_api_key) as agent:
        signed = await agent.get("/v1/key", headers=signature)

    assert codes == {(401, "signature_invalid")}
    assert signed.status_code == 200


async def test_guessing_is_limited_by_address(limited: LocalControlPlane) -> None:
    """And a valid key from the same address goes on being answered."""
    async with caller(limited, "nk_live_wrong") as guesser, caller(limited) as client:
        answers = [await guesser.get("/v1/key") for _ in range(110)]
        valid = await client.get("/v1/key")

    assert {code_of(each) for each in answers[:100]} == {(401, "invalid_api_key")}
    assert code_of(answers[-1]) == (429, "rate_limited")
    assert answers[-1].headers["ratelimit-policy"] == '"address";q=20;w=1'
    assert valid.status_code == 200


async def test_without_a_limit_there_is_none(control_plane: LocalControlPlane) -> None:
    """The fixtures have no rate limit, unless a test asks for one."""
    async with caller(control_plane) as client:
        assert {(await client.get("/v1/key")).status_code for _ in range(250)} == {200}


async def test_a_key_that_has_expired_is_told_so(control_plane: LocalControlPlane) -> None:
    """From its last moment on."""
    expires_at = control_plane.plane.clock.now() + 60_000
    async with caller(control_plane, mint(control_plane, expires_at=expires_at)) as client:
        before = await client.get("/v1/key")
        control_plane.advance(60)
        after = await client.get("/v1/key")

    assert before.status_code == 200
    assert code_of(after) == (401, "key_expired")


async def test_two_authorizations_are_refused(control_plane: LocalControlPlane) -> None:
    """A proxy may have looked at the other one."""
    async with caller(control_plane) as client:
        twice = [("Authorization", f"Bearer {control_plane.api_key}"), ("Authorization", "Bearer nk_live_other")]
        client.headers.pop("authorization")
        answers = [await client.get(path, headers=twice) for path in ("/v1/key", "/v1/jobs", "/v1/events")]

    assert {code_of(each) for each in answers} == {(400, "repeated_authorization")}


@pytest.mark.parametrize("path", ["/v1%2fkey", "/v1/%6bey", "/%76%31/jobs", "/v1/job%73"])
async def test_a_path_has_one_spelling(control_plane: LocalControlPlane, path: str) -> None:
    """So that a proxy's rule for it holds."""
    async with caller(control_plane) as client:
        assert code_of(await client.get(path)) == (404, "not_found")


def test_a_key_has_twenty_streams_of_every_kind() -> None:
    """Others have theirs, and one that closes makes room."""
    with (
        LocalControlPlane() as control_plane,
        nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client,
        control_plane.plane.worker.paused(),
        contextlib.ExitStack() as streams,
    ):
        job_id = client.run(image="x").id
        with opened(control_plane, "/v1/events") as first:
            first.read(1)
            kept = []  # a stream that nobody holds is closed
            for number in range(19):
                path = ("/v1/events", f"/v1/jobs/{job_id}/events")[number % 2]
                kept.append(streams.enter_context(opened(control_plane, path)))
                kept[-1].read(1)
            with opened(control_plane, f"/v1/jobs/{job_id}/logs?follow=true") as refused:
                answer = nodus_error(refused.response)
            with opened(control_plane, "/v1/events", api_key=more_keys(control_plane, 1)[0]) as other:
                other_status = other.response.status_code
        eventually(lambda: status_of_another(control_plane) == 200)

    assert answer == (429, "too_many_streams", "5")
    assert other_status == 200


def status_of_another(control_plane: LocalControlPlane) -> int:
    """Open one more stream."""
    with opened(control_plane, "/v1/events") as stream:
        return stream.response.status_code


def nodus_error(response: httpx.Response) -> tuple[int, str, str | None]:
    """Return the status and code of a refusal that is still to be read, and when to come again."""
    response.read()
    return (*code_of(response), response.headers.get("retry-after"))


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """It can resume; what it is owed does not pile up here."""
    with LocalControlPlane() as control_plane, listening_with_small_buffers() as listening:
        feed = control_plane.plane.feed
        server = Server(control_plane.asgi_app, listening=listening, end_streams=feed.end_streams)
        server.start()
        try:
            with nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as client:
                jobs = [client.run(image="x") for _ in range(JOBS_BEYOND_THE_BUFFERS)]
            control_plane.advance(86_400)
            with reading_nothing(server.port, control_plane.api_key) as connection:
                received = b""
                while b"event: status" not in received:
                    part = connection.recv(16)
                    assert part
                    received += part
                # From here on it reads nothing; until then it is only slow.
                feed.slow_seconds = 0.1
                eventually(lambda: feed.streams == 0)
                received += read_to_end(connection)
        finally:
            server.stop()

    assert b"200 OK" in received
    assert 0 < received.count(b"event: status") < len(jobs)


JOBS_BEYOND_THE_BUFFERS = 200


@contextlib.contextmanager
def listening_with_small_buffers() -> Iterator[socket.socket]:
    """A bound socket whose connections hold little that has not been read."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        yield listening


@contextlib.contextmanager
def reading_nothing(port: int, api_key: str) -> Iterator[socket.socket]:
    """Ask for all events, and leave them where they are."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(("127.0.0.1", port))
        head = f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {api_key}\r\n\r\n"
        connection.sendall(head.encode())
        yield connection


def read_to_end(connection: socket.socket) -> bytes:
    """Return what had arrived before the connection ended, which it does without the end of the response."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    assert not received.endswith(b"0\r\n\r\n")
    return received


def test_one_customer_never_holds_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requests hang, more of them than there are threads; others are answered, and its own are told it is busy."""
    release = threading.Event()
    with LocalControlPlane() as control_plane, ThreadPoolExecutor(40) as threads:
        stuck_key, good_key = mint(control_plane, "stuck"), mint(control_plane, "good")
        budget = control_plane.plane.keys.budget
        stuck_id = control_plane.plane.keys.find(stuck_key)
        assert stuck_id is not None

        def hanging(key_id: str, now: int) -> Any:
            if key_id == stuck_id.id:
                assert release.wait(PATIENCE_SECONDS)
            return budget(key_id, now)

        def get(api_key: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {api_key}"}
            return httpx.get(
                f"{control_plane.base_url}/v1/key", headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
            )

        # A key that is not known yet would be looked up in turn with all others of its address.
        assert [get(key).status_code for key in (stuck_key, good_key)] == [200, 200]
        monkeypatch.setattr(requests, "LONGEST_WAIT_SECONDS", 0.2)
        monkeypatch.setattr(control_plane.plane.keys, "budget", hanging)

        hung = [threads.submit(get, stuck_key) for _ in range(40)]
        while sum(each.done() for each in hung) < 40 - requests.THREADS // 2:
            assert get(good_key).status_code == 200
        release.set()
        answers = [each.result() for each in hung]

    busy = [each for each in answers if each.status_code == 503]
    assert len(busy) == 40 - requests.THREADS // 2
    assert {(code_of(each), each.headers["retry-after"]) for each in busy} == {((503, "busy"), "2")}
    assert [each.status_code for each in answers].count(200) == requests.THREADS // 2


async def test_a_silent_name_server_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations are looked up apart, two of a customer at once; no thread is left that is not counted."""
    monkeypatch.setattr("nodus_control.webhooks.resolving.REGISTRATION_SECONDS", 0.05)
    release = threading.Event()

    def silent(_name: str, _port: int) -> list[str]:
        assert release.wait(PATIENCE_SECONDS)
        return []

    with LocalControlPlane(serve=False) as control_plane:
        lookups = control_plane.plane.webhooks.destinations._of_registrations
        monkeypatch.setattr(lookups, "_resolve", silent)
        statuses: list[int] = []

        async def register(number: int) -> None:
            body = {"url": f"https://n{number}.example.com/", "events": ["job.completed"]}
            async with caller(control_plane) as client:
                statuses.append((await client.post("/v1/webhooks", json=body)).status_code)

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(register, number)
        running = lookups.running
        release.set()

    assert running <= 2
    assert sorted(statuses) == [201] * 16 + [422] * 14


async def test_a_customer_with_all_its_webhooks_asks_no_name_server(control_plane: LocalControlPlane) -> None:
    """Webhooks are counted before the URL's host is looked up."""
    asked: list[str] = []
    answers: list[httpx.Response] = []
    lookups = control_plane.plane.webhooks.destinations._of_registrations

    def resolve(name: str, _port: int) -> list[str]:
        asked.append(name)
        return ["8.8.8.8"]

    lookups._resolve = resolve
    async with caller(control_plane) as client:
        for number in range(18):
            body = {"url": f"https://n{number}.example.com/", "events": ["job.completed"]}
            answers.append(await client.post("/v1/webhooks", json=body))

    assert code_of(answers[-1]) == (422, "too_many_webhooks")
    assert len(asked) == 16
