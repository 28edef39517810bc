"""Section 5: thousands of tasks on one client, each waiting for an answer that takes 50 ms; 10,000 jobs awaited."""

from __future__ import annotations

import dataclasses
import http.client
import json
import statistics
from urllib.parse import urlsplit

from .contenders import ASYNCIO, TRIO, is_installed
from .report import Bar, Table
from .rounds import python
from .server import CROWD, running

CONTENDERS = ("httpx", "httpx limits 100", "nodus", "httpx2", "aiohttp")
MAX_CONNECTIONS = 100
ONCE = ("httpx limits 100",)
"""So slow that one round of it will do."""


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
        _measure_crowd(base, 3 if quick else 10, table)
        for tasks in (1000,) if quick else (1000, 5000):
            _measure_with(base, tasks, 1 if quick else 3, table)
    return table


def _measure_with(base: str, tasks: int, rounds: int, table: Table) -> None:
    keys = [("asyncio", name) for name in CONTENDERS if name in ASYNCIO and is_installed(name)]
    keys += [("trio", name) for name in TRIO]
    readings: dict[tuple[str, str], list[Reading]] = {key: [] for key in keys}
    for number in range(rounds):
        for key in keys:
            if number and key[1] in ONCE:
                continue
            readings[key].append(read(base, *key, tasks))
    cpu = {key: statistics.median(reading.cpu_us for reading in readings[key]) for key in keys}
    for kind, name in keys:
        connections = max(reading.connections for reading in readings[kind, name])
        failures = max(sum(reading.failures.values()) for reading in readings[kind, name])
        ratio = cpu[kind, name] / cpu[kind, "httpx"]
        table.add(f"{kind} {name}, {tasks:,} tasks", cpu[kind, name], ratio, connections, failures, of=name)
        if name == "nodus":
            table.bars += [
                Bar(f"{kind} ÷ httpx at {tasks:,}", ratio, 0.3 if tasks == 1000 else 0.25),
                Bar(f"{kind} connections at {tasks:,}", connections, MAX_CONNECTIONS),
                Bar(f"{kind} failures at {tasks:,}", failures, 0),
            ]


def _measure_crowd(base: str, rounds: int, table: Table) -> None:
    crowd = json.loads(python("-m", "benchmarks.crowd", f"{base}/crowd", str(rounds)))
    table.bars += [
        Bar(f"{CROWD:,} jobs awaited: % of a core", crowd["percent"], 5.0),
        Bar(f"{CROWD:,} jobs awaited: KiB a job", crowd["kib_a_job"], 12.0),
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
