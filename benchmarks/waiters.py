"""Section 5: thousands of tasks on one client, each waiting for an answer that takes 50 ms."""

from __future__ import annotations

import dataclasses
import http.client
import json
import statistics
from urllib.parse import urlsplit

from .contenders import ASYNCIO, TRIO, is_installed
from .report import Bar, Table
from .rounds import python
from .server import running

CONTENDERS = ("httpx", "httpx limits 100", "nodus", "httpx2", "aiohttp")
MAX_CONNECTIONS = 100


@dataclasses.dataclass(frozen=True)
class Reading:
    """How one contender fared in one round."""

    cpu_us: float
    connections: int
    failures: dict[str, int]


def measure(*, quick: bool = False) -> Table:
    """Measure with 1,000 and with 5,000 tasks, each sending one request through a client that has sent one before."""
    table = Table("5", "Many waiters", "CPU µs a request", ("CPU µs", "÷ httpx", "connections", "failures"))
    with running() as base:
        for tasks in (1000,) if quick else (1000, 5000):
            _measure_with(base, tasks, 1 if quick else 3, table)
    return table


def _measure_with(base: str, tasks: int, rounds: int, table: Table) -> None:
    keys = [("asyncio", name) for name in CONTENDERS if name in ASYNCIO and is_installed(name)]
    keys += [("trio", name) for name in TRIO]
    readings: dict[tuple[str, str], list[Reading]] = {key: [] for key in keys}
    for _ in range(rounds):
        for key in keys:
            readings[key].append(read(base, *key, tasks))
    cpu = {key: statistics.median(reading.cpu_us for reading in readings[key]) for key in keys}
    for kind, name in keys:
        connections = max(reading.connections for reading in readings[kind, name])
        failures = max(sum(reading.failures.values()) for reading in readings[kind, name])
        ratio = cpu[kind, name] / cpu[kind, "httpx"]
        table.add(f"{kind} {name}, {tasks:,} tasks", cpu[kind, name], ratio, connections, failures, of=name)
        if name == "nodus":
            table.bars += [
                Bar(f"{kind} ÷ httpx at {tasks:,}", ratio, 0.6 if tasks == 1000 else 0.45),
                Bar(f"{kind} connections at {tasks:,}", connections, MAX_CONNECTIONS),
                Bar(f"{kind} failures at {tasks:,}", failures, 0),
            ]


def read(base: str, kind: str, name: str, tasks: int) -> Reading:
    """Run one contender in a process of its own."""
    stats(base)
    answer = json.loads(python("-m", "benchmarks.contenders", kind, name, f"{base}/slow", str(tasks), str(tasks)))
    return Reading(answer["cpu_us"], stats(base)["connections"], answer["failures"])


def stats(base: str) -> dict[str, int]:
    """Ask the server for its counts, and set them to zero."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc)
    connection.request("GET", "/stats")
    counted: dict[str, int] = json.loads(connection.getresponse().read())
    connection.close()
    return counted
