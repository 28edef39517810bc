"""A thousand event streams at once."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator

import pytest
from control.sse import has_all_in_memory, more_keys
from patience import eventually

import nodus
from nodus_control.streams.stream_slots import OF_KEY
from nodus_control.testing import LocalControlPlane

pytestmark = pytest.mark.soak
STREAMS = 1000
SILENT = 20
JOBS = 50
EVENTS_OF_A_JOB = 4


@pytest.fixture
def many_sockets() -> Iterator[None]:
    """Room for both ends of every stream in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * STREAMS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_sockets")
def test_a_thousand_streams_are_told_everything() -> None:
    """Some of them read nothing, and hold nobody up; once begun, the database is read for all of them together."""
    with LocalControlPlane() as control_plane:
        told, reads = asyncio.run(follow(control_plane))
        left = control_plane.plane.feed.streams

    assert told == [JOBS * EVENTS_OF_A_JOB] * (STREAMS - SILENT)
    assert reads < STREAMS + JOBS * EVENTS_OF_A_JOB
    assert left == 0


async def follow(control_plane: LocalControlPlane) -> tuple[list[int], int]:
    """Open all streams, let the jobs run to their end, and count what each is told, and what was read for that."""
    port = int(control_plane.base_url.rpartition(":")[2])
    requests = [
        f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        for key in more_keys(control_plane, STREAMS // OF_KEY)
    ]
    feed = control_plane.plane.feed
    of_customer = feed._events.of_customer
    reads = 0

    def counted(customer_id: str, *, after: int, limit: int) -> list[object]:
        nonlocal reads
        reads += 1
        return of_customer(customer_id, after=after, limit=limit)  # type: ignore[return-value]

    async def stream(number: int, *, is_read: bool) -> tuple[int, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests[number // OF_KEY])
        await reader.readuntil(b"\r\n\r\n")
        opened.release()
        count, rest = 0, b""
        while is_read and count < JOBS * EVENTS_OF_A_JOB:
            lines, end, rest = (rest + await reader.read(65536)).rpartition(b"\n")
            count += (lines + end).count(b"event: status\n")
        return count, writer

    opened = asyncio.Semaphore(0)
    streams = [asyncio.create_task(stream(number, is_read=number >= SILENT)) for number in range(STREAMS)]
    for _ in range(STREAMS):
        await opened.acquire()
    # Each of them begins by reading what happened before.
    await asyncio.to_thread(eventually, lambda: has_all_in_memory(control_plane))
    feed._events.of_customer = counted  # type: ignore[method-assign,assignment]
    async with nodus.AsyncClient(api_key=control_plane.api_key, base_url=control_plane.base_url) as client:
        for _ in range(JOBS):
            await client.run(image="x", env={"NODUS_SIM_DURATION_SECONDS": "60"})
        await asyncio.to_thread(control_plane.advance, 2000)
        results = await asyncio.gather(*streams)
        for _, writer in results:
            writer.close()
        while feed.streams:
            await client.healthz()
    return [count for count, _ in results[SILENT:]], reads
