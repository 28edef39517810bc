"""Everyone who is measured at sending requests: one function each, run alone in a process of its own.

`python -m benchmarks.contenders <name> <base url> <concurrency> <requests>` warms up, sends that many requests and
prints the CPU time that one took and how it went, as JSON. Only the contender's own libraries are imported.
"""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from .server import JOB_ID, pin

PATH = f"/v1/jobs/{JOB_ID}"
KEY = "nk_test_benchmark"
SIGNING_SECRET = "sgn_benchmark"
PEER_TIMEOUT_SECONDS = 120.0

SyncRun = Callable[[str, "Meter"], None]
AsyncRun = Callable[[str, "Meter"], Awaitable[None]]

SYNC: dict[str, SyncRun] = {}
ASYNCIO: dict[str, AsyncRun] = {}
TRIO: dict[str, AsyncRun] = {}
NEEDS: dict[str, str] = {}


class Meter:
    """Sends requests through a contender's `fetch`, and takes the CPU time of those after the warm-up."""

    def __init__(self, concurrency: int, requests: int) -> None:
        self.concurrency = concurrency
        self.requests = requests
        self.cpu_seconds = 0.0
        self.failures: dict[str, int] = {}

    def run(self, fetch: Callable[[], object]) -> None:
        for _ in range(min(200, self.requests)):
            fetch()
        started = time.process_time()
        for _ in range(self.requests):
            fetch()
        self.cpu_seconds = time.process_time() - started

    async def run_asyncio(self, fetch: Callable[[], Awaitable[object]]) -> None:
        await self._run(fetch, _gather)

    async def run_trio(self, fetch: Callable[[], Awaitable[object]]) -> None:
        await self._run(fetch, _nursery)

    async def _run(
        self,
        fetch: Callable[[], Awaitable[object]],
        together: Callable[[list[Callable[[], Awaitable[None]]]], Awaitable[None]],
    ) -> None:
        async def worker(count: int) -> None:
            for _ in range(count):
                try:
                    await fetch()
                except Exception as exc:
                    name = type(exc).__name__
                    self.failures[name] = self.failures.get(name, 0) + 1

        if self.concurrency == 1:
            await worker(min(200, self.requests))
            started = time.process_time()
            await worker(self.requests)
        else:
            await fetch()
            if self.requests > self.concurrency:
                await together([lambda: worker(3)] * self.concurrency)
            started = time.process_time()
            await together([lambda: worker(self.requests // self.concurrency)] * self.concurrency)
        self.cpu_seconds = time.process_time() - started


async def _gather(workers: list[Callable[[], Awaitable[None]]]) -> None:
    await asyncio.gather(*(worker() for worker in workers))


async def _nursery(workers: list[Callable[[], Awaitable[None]]]) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(worker)


def raw_socket(base: str, meter: Meter) -> None:
    url = urlsplit(base)
    assert url.hostname is not None
    assert url.port is not None
    request = f"GET {url.path}{PATH} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
    with socket.create_connection((url.hostname, url.port)) as connection:

        def fetch() -> object:
            connection.sendall(request)
            return json.loads(connection.recv(65536).partition(b"\r\n\r\n")[2])

        meter.run(fetch)


def http_client(base: str, meter: Meter) -> None:
    url = urlsplit(base)
    connection = http.client.HTTPConnection(url.netloc)

    def fetch() -> object:
        connection.request("GET", url.path + PATH, headers={"Authorization": f"Bearer {KEY}"})
        return json.loads(connection.getresponse().read())

    meter.run(fetch)
    connection.close()


def httpx_sync(base: str, meter: Meter) -> None:
    import httpx

    with httpx.Client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        meter.run(lambda: client.get(base + PATH).json())


def nodus_sync(base: str, meter: Meter) -> None:
    import nodus

    with nodus.Client(KEY, base_url=base, signing_secret=SIGNING_SECRET) as client:
        meter.run(lambda: client.get(JOB_ID))


def openai_sync(base: str, meter: Meter) -> None:
    import openai

    with openai.OpenAI(api_key="k", base_url=f"{base}/v1") as client:
        meter.run(lambda: client.models.retrieve("m"))


def anthropic_sync(base: str, meter: Meter) -> None:
    import anthropic

    with anthropic.Anthropic(api_key="k", base_url=base) as client:
        meter.run(lambda: client.models.retrieve("m"))


def stripe_sync(base: str, meter: Meter) -> None:
    import stripe

    client = stripe.StripeClient("sk_test_k", base_addresses={"api": base})
    meter.run(lambda: client.v1.customers.retrieve("cus_1"))


async def httpx_asyncio(base: str, meter: Meter) -> None:
    await _httpx(base, meter.run_asyncio)


async def httpx_trio(base: str, meter: Meter) -> None:
    await _httpx(base, meter.run_trio)


async def httpx_asyncio_100(base: str, meter: Meter) -> None:
    await _httpx(base, meter.run_asyncio, keepalive=100)


async def _httpx(base: str, run: Callable[..., Awaitable[None]], keepalive: int = 20) -> None:
    import httpx

    limits = httpx.Limits(max_connections=100, max_keepalive_connections=keepalive)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=PEER_TIMEOUT_SECONDS) as client:

        async def fetch() -> object:
            return (await client.get(base + PATH)).json()

        await run(fetch)


async def httpx2_asyncio(base: str, meter: Meter) -> None:
    import httpx2

    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(headers=headers, timeout=PEER_TIMEOUT_SECONDS) as client:

        async def fetch() -> object:
            return (await client.get(base + PATH)).json()

        await meter.run_asyncio(fetch)


async def aiohttp_asyncio(base: str, meter: Meter) -> None:
    import aiohttp

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as client:

        async def fetch() -> object:
            async with client.get(base + PATH) as response:
                return await response.json()

        await meter.run_asyncio(fetch)


async def openai_asyncio(base: str, meter: Meter) -> None:
    import openai

    async with openai.AsyncOpenAI(api_key="k", base_url=f"{base}/v1") as client:
        await meter.run_asyncio(lambda: client.models.retrieve("m"))


async def anthropic_asyncio(base: str, meter: Meter) -> None:
    import anthropic

    async with anthropic.AsyncAnthropic(api_key="k", base_url=base) as client:
        await meter.run_asyncio(lambda: client.models.retrieve("m"))


async def nodus_asyncio(base: str, meter: Meter) -> None:
    await _nodus(base, meter.run_asyncio)


async def nodus_trio(base: str, meter: Meter) -> None:
    await _nodus(base, meter.run_trio)


async def _nodus(base: str, run: Callable[..., Awaitable[None]]) -> None:
    import nodus

    client = nodus.AsyncClient(KEY, base_url=base, signing_secret=SIGNING_SECRET, timeout=PEER_TIMEOUT_SECONDS)
    async with client:
        await run(lambda: client.get(JOB_ID))


SYNC.update(
    {
        "raw socket": raw_socket,
        "http.client": http_client,
        "httpx": httpx_sync,
        "nodus": nodus_sync,
        "openai": openai_sync,
        "anthropic": anthropic_sync,
        "stripe": stripe_sync,
    }
)
ASYNCIO.update(
    {
        "httpx": httpx_asyncio,
        "httpx limits 100": httpx_asyncio_100,
        "nodus": nodus_asyncio,
        "httpx2": httpx2_asyncio,
        "aiohttp": aiohttp_asyncio,
        "openai": openai_asyncio,
        "anthropic": anthropic_asyncio,
    }
)
TRIO.update({"httpx": httpx_trio, "nodus": nodus_trio})
NEEDS.update({name: name for name in ("openai", "anthropic", "stripe", "httpx2", "aiohttp")})


def is_installed(name: str) -> bool:
    """Whether the peer is installed; the floors, httpx and nodus always are."""
    return name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None


def main(kind: str, name: str, base: str, concurrency: str, requests: str) -> None:
    pin(server=False)
    meter = Meter(int(concurrency), int(requests))
    if kind == "sync":
        SYNC[name](base, meter)
    elif kind == "asyncio":
        asyncio.run(ASYNCIO[name](base, meter))  # type: ignore[arg-type]
    else:
        import trio

        trio.run(TRIO[name], base, meter)
    print(json.dumps({"cpu_us": meter.cpu_seconds / meter.requests * 1e6, "failures": meter.failures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
