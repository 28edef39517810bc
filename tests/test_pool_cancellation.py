"""Cancelled at any moment, a request costs a connection at most: never a place, never a socket that stays open."""

from __future__ import annotations

import asyncio
import gc
import random
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from nodus import AsyncClient
from tests.support.busy_server import BusyServer
from tests.support.certificates import make_certificates
from tests.support.soundness import open_files

API_KEY = "nk_test_7Z4dMfQ3"
TASKS = 100
PATIENCE_SECONDS = 600.0


def client_of(server: BusyServer, *, max_connections: int = 20) -> AsyncClient:
    return AsyncClient(
        API_KEY, base_url=server.url, timeout=PATIENCE_SECONDS, max_retries=0, max_connections=max_connections
    )


def places(client: AsyncClient) -> tuple[int, int]:
    """How many places are free, and how many connections are held."""
    stack = client._session._pool._stack
    return stack._limiter.free, stack.connections - len(stack._idle)


async def get_many(client: AsyncClient, calls: int) -> int:
    """Make calls from many tasks at once; return how many succeeded."""
    succeeded = 0

    async def work() -> None:
        nonlocal succeeded
        for _ in range(calls // TASKS):
            assert (await client.get("job-1")).id == "job-1"
            succeeded += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(TASKS):
            tasks.start_soon(work)
    return succeeded


async def cancel_many(client: AsyncClient, wanted: int, *, within_seconds: float) -> None:
    """Make calls from many tasks at once, to be cancelled at random moments, until so many have been."""
    rng = random.Random(20260101)
    cancelled = 0

    async def work() -> None:
        nonlocal cancelled
        while cancelled < wanted:
            with anyio.move_on_after(rng.uniform(0, within_seconds)) as scope:
                await client.get("job-1")
            cancelled += scope.cancelled_caught

    async with anyio.create_task_group() as tasks:
        for _ in range(TASKS):
            tasks.start_soon(work)


@pytest.mark.parametrize("cancellations", [500, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_cancellations_cost_neither_a_place_nor_a_socket(cancellations: int) -> None:
    """Afterwards every place is free, the next thousand calls succeed, and closing leaves nothing open."""
    gc.collect()  # what other tests left is not counted
    before = open_files()
    with BusyServer(pause_seconds=0.01) as server:
        client = client_of(server)
        await cancel_many(client, cancellations, within_seconds=0.03)
        free_then = places(client)
        server.pause_seconds = 0.0
        succeeded = await get_many(client, 1000)
        free_now = places(client)
        await client.aclose()
        all_closed = await anyio.to_thread.run_sync(server.wait_until_open, 0)
    gc.collect()

    assert free_then == free_now == (20, 0)
    assert succeeded == 1000
    assert all_closed
    assert without_anonymous(open_files()) == without_anonymous(before)


async def test_a_cancelled_tls_handshake_leaves_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpcore does not close such a connection, so the pool does."""
    certificates = make_certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with BusyServer(tls=certificates.server) as server:
        async with client_of(server) as client:
            await cancel_many(client, 500, within_seconds=0.02)
            free_then = places(client)
            succeeded = await get_many(client, 200)
        all_closed = await anyio.to_thread.run_sync(server.wait_until_open, 0)

    assert free_then == (20, 0)
    assert succeeded == 200
    assert all_closed


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_tasks_that_are_cancelled_twice_free_their_places(anyio_backend: str) -> None:
    """On asyncio, `Task.cancel()` interrupts even shielded clean-up."""
    rng = random.Random(7)
    with BusyServer(pause_seconds=0.005) as server:
        async with client_of(server, max_connections=5) as client:
            for _ in range(50):
                tasks = [asyncio.ensure_future(client.get("job-1")) for _ in range(20)]
                for _ in range(rng.randrange(40)):
                    await asyncio.sleep(0)
                for _ in range(rng.randrange(1, 4)):
                    for task in tasks:
                        task.cancel()
                    await asyncio.sleep(0)
                await asyncio.gather(*tasks, return_exceptions=True)
            free = places(client)
            server.pause_seconds = 0.0
            succeeded = await get_many(client, 200)
        all_closed = await anyio.to_thread.run_sync(server.wait_until_open, 0)

    assert free == (5, 0)
    assert succeeded == 200
    assert all_closed


@pytest.mark.parametrize("calls", [1000, pytest.param(5000, marks=pytest.mark.soak)])
async def test_thousands_of_calls_at_once_share_a_hundred_connections(calls: int) -> None:
    """With the default limit: no error, and no connection beyond it, however slow the machine is."""
    with BusyServer(pause_seconds=0.01) as server:
        async with AsyncClient(API_KEY, base_url=server.url, timeout=PATIENCE_SECONDS) as client:
            succeeded = 0

            async def get() -> None:
                nonlocal succeeded
                await client.get("job-1")
                succeeded += 1

            async with anyio.create_task_group() as tasks:
                for _ in range(calls):
                    tasks.start_soon(get)

    assert succeeded == calls
    assert server.opened <= 100


def without_anonymous(files: list[str]) -> list[str]:
    """Leave out what event loops and their threads keep open for themselves."""
    return [name for name in files if name.startswith("socket:")]
