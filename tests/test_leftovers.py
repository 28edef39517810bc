"""Nothing is left behind: no socket, no thread, no coroutine, no warning, whatever went wrong and whoever gave up."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest

import nodus
import tests._async.fault_calls as async_calls
import tests._sync.fault_calls as sync_calls
from nodus import _sockets
from tests.support.faults import SLOW, FaultServer
from tests.support.soundness import open_files

FAULTS = [
    "no fault",
    "reset before reading",
    "reset after acting",
    "half-closed in the body",
    "closed in the body",
    "length too short",
    "chunks without an end",
    "garbage",
    "headers without an end",
    "another protocol",
    "status 503",
    "gzip broken inside",
    "closed while idle",
    "an answer too many",
    "stalled before reading",
    "stalled in the body",
    "dripping headers",
    "a body without an end",
]

GIVEN_UP = suppress(nodus.NodusError)


@contextmanager
def nothing_left() -> Iterator[None]:
    """Count what the process has open, and collect every complaint, around a piece of work."""
    gc.collect()
    gc.freeze()  # What was there before need not be gone through again: it is most of what a run of all tests has.
    files, threads = open_files(), set(threading.enumerate())
    complaints: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda complaint: complaints.append(f"{complaint.exc_value!r} in {complaint.object!r}")
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
    complaints += [str(warning.message) for warning in warned]
    left = [thread.name for thread in set(threading.enumerate()) - threads]

    assert complaints == []
    assert len(open_files()) == len(files), set(open_files()) - set(files)
    assert [name for name in left if not name.startswith(("Trio", "AnyIO", "asyncio"))] == []


def in_an_event_loop(backend: str, work: Callable[[], Any]) -> None:
    anyio.run(work, backend=backend)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_synchronous_client_leaves_nothing(fault: str) -> None:
    """Neither a passing fault nor a lasting one leaves anything open."""

    with nothing_left():
        for call in ("run", "iter_jobs", "wait"):
            with FaultServer([fault] * 2) as server, sync_calls.client_of(server) as client, GIVEN_UP:
                sync_calls.CALLS[call][0](client)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_asynchronous_client_leaves_nothing(fault: str, backend: str) -> None:
    """The event loop has nothing left to close when it ends."""

    async def work() -> None:
        for call in ("run", "iter_jobs", "wait"):
            with FaultServer([fault] * 2) as server:
                async with async_calls.client_of(server) as client:
                    with GIVEN_UP:
                        await async_calls.CALLS[call][0](client)

    with nothing_left():
        in_an_event_loop(backend, work)


@pytest.mark.campaign(3)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("fault", sorted(SLOW)[::2])
def test_a_cancelled_call_leaves_nothing(fault: str, backend: str) -> None:
    """The cancellation is not swallowed, and the place in the pool is given back."""

    async def work() -> None:
        with FaultServer([fault] * 2) as server:
            async with async_calls.client_of(server, timeout=3600.0, max_connections=1) as client:
                reached_the_end = False
                for call in ("run", "wait"):
                    with anyio.move_on_after(0.02) as scope:
                        await async_calls.CALLS[call][0](client)
                        reached_the_end = True
                    assert scope.cancelled_caught
                assert not reached_the_end
                await async_calls.assert_recovered(client, server)

    with nothing_left():
        in_an_event_loop(backend, work)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("hook", ["on_response", "on_retry"])
def test_an_interrupt_passes_through_a_synchronous_call(hook: str, interruption: type[BaseException]) -> None:
    """It is neither caught nor wrapped, and costs no place in the pool."""

    def strike(event: object) -> None:
        raise interruption

    with nothing_left():
        for call in ("run", "get", "cancel"):
            with FaultServer(["status 503"]) as server, sync_calls.client_of(server, **{hook: strike}) as client:
                with pytest.raises(interruption) as caught:
                    sync_calls.CALLS[call][0](client)
                assert caught.value.__cause__ is None
                assert " 0 busy," in repr(client._session._pool)
        del caught


def test_an_interrupt_in_the_middle_of_a_read_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is dropped, and its place in the pool is given back."""
    interrupted: list[bool] = []

    def interrupt_once(connection: socket.socket, max_bytes: int, timeout: float | None) -> bytes:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        return _sockets.receive(connection, max_bytes, timeout)

    monkeypatch.setattr("nodus._sync.network.receive", interrupt_once)
    with nothing_left(), FaultServer() as server, sync_calls.client_of(server, max_connections=1) as client:
        with pytest.raises(KeyboardInterrupt):
            client.get(sync_calls.JOB_ID)
        sync_calls.assert_recovered(client, server)
