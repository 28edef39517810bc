"""Every public call against everything that can go wrong, alone and in schedules that hypothesis chooses."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodus import AsyncClient, AsyncJob, NodusError
from nodus._async.ledger import AsyncLedger
from nodus._async.webhooks import AsyncWebhooks
from tests._async.fault_calls import ALL_CALLS, CALLS, PATIENCE_SECONDS, SIDE_CALLS, assert_recovered, client_of
from tests.support.fake_control_plane import JOB_IDS
from tests.support.faults import FAULTS, QUICK, SLOW, FaultServer
from tests.support.soundness import SECRETS, assert_sound
from tests.support.together import async_together

LAST_ID = JOB_IDS[-1]
"""A job about which the calls against faults do not ask."""

FAULTLESS = {"aclose", "job", "with_options"}
"""Public methods that make no request of their own."""

QUARTERS = 4
"""In how many parts the faults are met, so that none takes long on a busy machine."""

SCHEDULES = st.lists(st.sampled_from(sorted(FAULTS)), max_size=7)

DISRUPTIVE = [
    "reset before reading",
    "closed after reading",
    "reset in the body",
    "length too short",
    "chunks without an end",
    "garbage",
    "headers without an end",
    "status 503",
    "closed while idle",
    "closed as announced",
    "an answer too many",
    "stalled before reading",
    "stalled in the body",
    "a body without an end",
]
"""Faults that end a connection in different ways, or leave it fit to be used again."""

CHOSEN = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    # The event loop is chosen by a fixture; it is the same one for all examples of a test.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def face(call: str, faults: list[str]) -> None:
    """Make a call while the server commits these faults, one a request; it must end well, or with a sound error."""
    make, expected = ALL_CALLS[call]
    with FaultServer(faults) as server:
        async with client_of(server) as client:
            try:
                result = await make(client)
            except NodusError as exc:
                assert_sound(exc)
            else:
                assert result == expected
            await assert_recovered(client, server)


def public_methods(kind: type) -> set[str]:
    return {name for name, member in vars(kind).items() if inspect.isfunction(member) and not name.startswith("_")}


def test_every_public_call_is_here() -> None:
    """A call that is added to the client, the handle or a resource has to face the faults too."""
    there = public_methods(AsyncClient) | public_methods(AsyncJob)
    there |= {f"webhooks.{name}" for name in public_methods(AsyncWebhooks)}
    there |= {f"ledger.{name}" for name in public_methods(AsyncLedger)}

    assert there - FAULTLESS == set(ALL_CALLS) - {"wait with a deadline", "with_options", "logs, followed"}


@pytest.mark.parametrize("call", ALL_CALLS)
async def test_a_call_without_a_fault_gives_its_result(call: str) -> None:
    """What the other tests take for right is what a good server's answers make."""
    make, expected = ALL_CALLS[call]
    with FaultServer() as server:
        async with client_of(server, timeout=PATIENCE_SECONDS) as client:
            assert await make(client) == expected


@pytest.mark.campaign(5)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("place", range(QUARTERS))
async def test_a_call_outlives_each_fault(call: str, place: int) -> None:
    """Whatever is met: the call ends, and leaves the client whole."""
    for fault in itertools.islice(QUICK, place, None, QUARTERS):
        await face(call, [fault])


@pytest.mark.campaign(5)
@pytest.mark.parametrize(("call", "place"), list(zip(SIDE_CALLS, itertools.cycle(range(3)), strict=False)))
async def test_another_call_outlives_a_share_of_the_faults(call: str, place: int) -> None:
    """The same for the calls that are not about jobs, which share the faults among them."""
    for fault in itertools.islice(QUICK, place, None, 3):
        await face(call, [fault])


@pytest.mark.campaign(3)
@pytest.mark.parametrize("call", ["run", "get", "wait", "as_completed"])
@pytest.mark.parametrize("place", range(QUARTERS))
async def test_a_call_outlives_a_fault_that_stays(call: str, place: int) -> None:
    """The same where a fault is met more often than a call is retried."""
    for fault in itertools.islice(QUICK, place, None, QUARTERS):
        await face(call, [fault] * 8)


@pytest.mark.campaign(3)
@pytest.mark.parametrize(("fault", "place"), list(zip(SLOW, itertools.cycle(range(3)), strict=False)))
async def test_a_call_ends_whatever_keeps_it_waiting(fault: str, place: int) -> None:
    """A server that stalls, drips or floods holds no call longer than its timeout."""
    for call in itertools.islice(CALLS, place, None, 3):
        await face(call, [fault])


@pytest.mark.anyio
@CHOSEN
@given(call=st.sampled_from(sorted(ALL_CALLS)), faults=SCHEDULES)
async def test_a_call_outlives_any_schedule_of_faults(call: str, faults: list[str]) -> None:
    """Whatever comes, in whatever order."""
    await face(call, faults)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("fault", DISRUPTIVE)
async def test_calls_at_once_never_exceed_the_limit(fault: str) -> None:
    """However connections end, their places come back, and no more than the limit are opened."""
    names = [name for name in CALLS if not name.startswith(("wait", "as_completed"))]
    with FaultServer([fault] * 6) as server:
        async with client_of(server, max_connections=3, max_retries=1) as client:

            async def attempt(name: str) -> None:
                with contextlib.suppress(NodusError):
                    await CALLS[name][0](client)

            await async_together([lambda name=name: attempt(name) for name in names])
            await assert_recovered(client, server)

            patient = client.with_options(timeout=PATIENCE_SECONDS)
            await async_together([lambda: patient.get(LAST_ID)] * 12)
            held = client._session._pool._stack.connections

    # Not by what the server has accepted: it may come late to connections that were given up before.
    used = {request.connection for request in server.received if request.target.endswith(LAST_ID)}
    assert 1 <= len(used) <= 3
    assert held <= 3


async def test_the_log_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Not even in full detail, and with a server that repeats what it was sent."""
    caplog.set_level(logging.DEBUG, logger="nodus")
    for fault in ("a fault that repeats the request", "an error that repeats the request", "garbage"):
        await face("run", [fault] * 3)
        await face("wait", [fault] * 3)

    assert "submitting a job" in caplog.text
    assert [secret for secret in SECRETS if secret in caplog.text] == []
