"""Section 2: the CPU time that one request takes its client, floor and peers beside it."""

from __future__ import annotations

import functools
import json

from .contenders import ASYNCIO, SYNC, TRIO, is_installed
from .report import Bar, Table
from .rounds import interleaved, python
from .server import running

Key = tuple[str, str, int]

SIXTY_FOUR_WAY = 64
WAIVED = ("httpx limits 100",)


def measure(*, quick: bool = False) -> Table:
    """Measure every contender that is installed."""
    requests, rounds = (500, 3) if quick else (2000, 7)
    keys: list[Key] = [("sync", name, 1) for name in SYNC if is_installed(name)]
    for concurrency in (1, SIXTY_FOUR_WAY):
        keys += [("asyncio", name, concurrency) for name in ASYNCIO if is_installed(name) and name not in WAIVED]
        keys += [("trio", name, concurrency) for name in TRIO]
    with running() as base:
        cpu = interleaved({key: functools.partial(cpu_us, base, *key, requests) for key in keys}, rounds)
    table = Table("2", "One request", "CPU µs a request", columns=("CPU µs", "÷ httpx"))
    for kind, name, concurrency in keys:
        label = f"{kind} {name}" + ("" if concurrency == 1 else f", {concurrency}-way")
        took = cpu[kind, name, concurrency]
        table.add(label, took, took / cpu[kind, "httpx", concurrency], of=name)
    table.bars += [
        Bar("sync ÷ httpx", cpu["sync", "nodus", 1] / cpu["sync", "httpx", 1], 0.58),
        Bar("asyncio ÷ httpx", cpu["asyncio", "nodus", 1] / cpu["asyncio", "httpx", 1], 0.60),
        Bar("trio ÷ httpx", cpu["trio", "nodus", 1] / cpu["trio", "httpx", 1], 0.72),
        Bar("asyncio 64-way ÷ httpx", cpu["asyncio", "nodus", 64] / cpu["asyncio", "httpx", 64], 0.25),
        Bar("trio 64-way ÷ httpx", cpu["trio", "nodus", 64] / cpu["trio", "httpx", 64], 0.30),
    ]
    return table


def cpu_us(base: str, kind: str, name: str, concurrency: int, requests: int) -> float:
    """Run one contender in a process of its own; return the CPU µs that one request took it."""
    answer = json.loads(python("-m", "benchmarks.contenders", kind, name, base, str(concurrency), str(requests)))
    if answer["failures"]:
        raise RuntimeError(f"{name} failed: {answer['failures']}")
    return float(answer["cpu_us"])
