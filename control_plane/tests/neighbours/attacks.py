"""What a tenant does that does its worst, over raw sockets, in a process of its own: `python attacks.py KIND URL KEYS`.

It prints `ready` once the attack is at its height, and goes on until its standard input ends.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Awaitable, Callable

JOB = json.dumps({"image": "x:1", "gpu": "a10g", "max_runtime_seconds": 60}).encode()
CONNECTIONS = 100

_numbers = itertools.count()


class Tenant:
    """The attacker: its keys, and where the server is."""

    def __init__(self, url: str, keys: list[str]) -> None:
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port = int(port)
        self.keys = keys

    def head(self, method: str, path: str, *, length: int = 0, key: int = 0, more: str = "") -> bytes:
        """Write the head of a request."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.keys[key]}\r\n"
            f"Content-Length: {length}\r\n{more}\r\n"
        ).encode()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        return await asyncio.open_connection(self.host, self.port)

    async def repeat(self, make: Callable[[], bytes], begun: asyncio.Event) -> None:
        """Send requests on a connection as fast as they are answered, for ever; connect again whenever it is cut."""
        while True:
            try:
                reader, writer = await self.open()
                while True:
                    writer.write(make())
                    begun.set()
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
                    await reader.readexactly(int(length))
            except (OSError, asyncio.IncompleteReadError, ValueError):
                await asyncio.sleep(0.05)


async def flood_of_reads(tenant: Tenant) -> None:
    """Ask as often as possible, on a hundred connections."""
    await flood(tenant, lambda: tenant.head("GET", "/v1/key"))


async def flood_of_jobs(tenant: Tenant) -> None:
    """Submit as much as possible."""
    await flood(tenant, lambda: tenant.head("POST", "/v1/jobs", length=len(JOB)) + JOB)


async def flood_of_garbage(tenant: Tenant) -> None:
    """Guess keys."""
    await flood(
        tenant,
        lambda: f"GET /v1/key HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nk_live_{next(_numbers)}\r\n\r\n".encode(),
    )


async def streams(tenant: Tenant) -> None:
    """Hold a thousand streams of many keys, unread, while jobs are submitted."""
    held = []
    for number in range(1000):
        _, writer = await tenant.open()
        writer.write(tenant.head("GET", "/v1/events", key=number % len(tenant.keys)))
        held.append(writer)
    await flood(tenant, lambda: tenant.head("POST", "/v1/jobs", length=len(JOB)) + JOB, connections=4)


async def slow_bodies(tenant: Tenant) -> None:
    """Begin requests, and send them a byte at a time."""
    while True:
        held = []
        for number in range(300):
            try:
                _, writer = await tenant.open()
            except OSError:
                continue
            begun = b"GET /v1/key HTTP/1.1\r\nX-" if number % 2 else tenant.head("POST", "/v1/jobs", length=1000)
            writer.write(begun)
            held.append(writer)
        say_ready()
        for _ in range(20):
            for writer in held:
                if not writer.is_closing():
                    writer.write(b"x")
            await asyncio.sleep(0.5)


async def silent_names(tenant: Tenant) -> None:
    """Register webhooks at names whose name servers never answer."""

    def make() -> bytes:
        body = json.dumps({"url": f"https://n{next(_numbers)}.slow.test/", "events": ["job.completed"]}).encode()
        return tenant.head("POST", "/v1/webhooks", length=len(body)) + body

    await flood(tenant, make)


async def hanging_webhooks(tenant: Tenant) -> None:
    """Register webhooks at an endpoint that never answers, and let jobs end that are told to each of them."""
    several = asyncio.Event()
    held: list[asyncio.StreamWriter] = []

    def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        if len(held) == 4:
            several.set()

    silent = await asyncio.start_server(hold, "127.0.0.1")
    port = silent.sockets[0].getsockname()[1]
    body = json.dumps({"url": f"http://127.0.0.1:{port}/", "events": ["job.completed", "job.failed"]}).encode()
    for _ in range(16):
        reader, writer = await tenant.open()
        writer.write(tenant.head("POST", "/v1/webhooks", length=len(body)) + body)
        answer = await reader.readline()
        assert b" 201 " in answer, answer + await reader.read(2000)
        writer.close()
    job = json.dumps({"image": "x:1", "gpu": "a10g", "env": {"NODUS_SIM_DURATION_SECONDS": "1"}}).encode()
    sending = asyncio.ensure_future(
        flood(tenant, lambda: tenant.head("POST", "/v1/jobs", length=len(job)) + job, connections=4, is_ready=False)
    )
    await several.wait()
    say_ready()
    await sending


async def flood(
    tenant: Tenant, make: Callable[[], bytes], *, connections: int = CONNECTIONS, is_ready: bool = True
) -> None:
    """Send requests on many connections at once; unless something else is still to come, that is the attack."""
    begun = [asyncio.Event() for _ in range(connections)]
    sending = [asyncio.create_task(tenant.repeat(make, each)) for each in begun]
    if is_ready:
        for each in begun:
            await each.wait()
        say_ready()
    await asyncio.gather(*sending)


_is_said = False


def say_ready() -> None:
    """Say once that the attack is at its height."""
    global _is_said
    if not _is_said:
        _is_said = True
        sys.stdout.write("ready\n")
        sys.stdout.flush()


ATTACKS: dict[str, Callable[[Tenant], Awaitable[None]]] = {
    each.__name__: each
    for each in (flood_of_reads, flood_of_jobs, flood_of_garbage, streams, slow_bodies, silent_names, hanging_webhooks)
}


async def main() -> None:
    """Attack until standard input ends."""
    kind, url, keys = sys.argv[1:]
    attacking = asyncio.ensure_future(ATTACKS[kind](Tenant(url, keys.split(","))))
    await asyncio.wait(
        [attacking, asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))], return_when=asyncio.FIRST_COMPLETED
    )
    if attacking.done():
        sys.stderr.write(f"{attacking.exception()!r}\n")
        os._exit(1)  # The thread that reads standard input would be waited for.
    attacking.cancel()


if __name__ == "__main__":
    asyncio.run(main())
