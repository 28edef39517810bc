"""Section 7: a control plane on an SQLite file, over real HTTP on loopback; beside it, the least that each step costs.

Times are wall-clock: what a caller waits for, the disk included. So other work on the machine counts too. That is why
each side has its turn for a fraction of a second at a time, bare uvicorn right before the control plane, and each turn
is compared with the one before it. Nothing else is measured while jobs that were submitted wait to be placed: that work
would be counted as whoever's turn it is.

On Linux the CPU time of the servers' processes is shown beside them; of the placing of jobs, the playground's includes
what is done while others are submitted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from . import postgresql
from .report import Bar, Table
from .rounds import in_turn, interleaved, median_ratio, python
from .server import JOB_ID

CONNECTIONS = 16
CORES_TO_JUDGE = 4
"""With fewer, PostgreSQL, the processes and the load share what one process on SQLite has nearly alone."""
SUBMISSIONS = 500
"""In one turn, to each side."""
LOOKUPS = 2000
HAS_CPU_CLOCKS = sys.platform == "linux"
LIVE_JOBS = 10_000
STARTING_SECONDS = 30.0


class Plane(NamedTuple):
    """A control plane in a process of its own."""

    address: str
    api_key: str
    pid: int
    database: Path


def measure(*, quick: bool = False) -> Table:
    """Measure submissions, lookups, verification and memory."""
    rounds = 8 if quick else 30
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        with playground(Path(folder)) as plane, bare_server() as bare:
            job_id = submit(plane, 1)
            cpu: dict[str, list[float]] = {}

            def watched(name: str, kind: str, server: Plane, count: int) -> float:
                before = cpu_seconds(server.pid)
                took = load(kind, server, job_id, count)
                cpu.setdefault(name, []).append((cpu_seconds(server.pid) - before) / count * 1e6)
                return took

            def submitted() -> float:
                took = watched("submit", "submit", plane, SUBMISSIONS)
                wait_until_placed(plane)
                return took

            readings = in_turn(
                {
                    "bare submit": lambda: watched("bare submit", "submit", bare, SUBMISSIONS),
                    "submit": submitted,
                    "bare get": lambda: watched("bare get", "get", bare, LOOKUPS),
                    "get": lambda: watched("get", "get", plane, LOOKUPS),
                },
                rounds,
            )
            took = {name: statistics.median(values) for name, values in readings.items()}
            took["commit"] = commits(Path(folder) / "floor.db", SUBMISSIONS)
            live = 1 + rounds * SUBMISSIONS
            if live < LIVE_JOBS:
                load("submit", plane, job_id, LIVE_JOBS - live)
            wait_until_placed(plane)
            memory = resident_megabytes(plane.pid)
            skipped = postgresql.why_not()
            if skipped is None:
                took |= on_postgresql(plane, job_id, 500 if quick else 2000, 2 if quick else 5)
        verified = interleaved(
            {"verify": lambda: verify(plane.database), "hash": lambda: hash_all(plane.database)}, 2 if quick else 5
        )
    ratios = {kind: median_ratio(readings[kind], readings[f"bare {kind}"]) for kind in ("submit", "get")}
    table = Table(
        "7", "The control plane, on an SQLite file", "wall-clock µs each", columns=("µs", "a second", "÷ floor")
    )
    add(table, "accepted submission", took["submit"], ratios["submit"], of="nodus")
    add(table, "the same bytes, answered by bare uvicorn", took["bare submit"], 1, of="uvicorn")
    if skipped is None:
        label = f"on PostgreSQL, {postgresql.API_PROCESSES} processes and a worker"
        add(table, label, took["on PostgreSQL"], took["on PostgreSQL"] / took["bare submit"], of="nodus")
    else:
        print(f"not measured: submissions on PostgreSQL, because {skipped}", file=sys.stderr)
    add(table, "one row committed to SQLite, alone", took["commit"], took["commit"] / took["bare submit"], of="sqlite3")
    add(table, "job looked up", took["get"], ratios["get"], of="nodus")
    add(table, "the same bytes, answered by bare uvicorn", took["bare get"], 1, of="uvicorn")
    if HAS_CPU_CLOCKS:
        for name, kind in (("submission", "submit"), ("look-up", "get")):
            ours, floor = cpu[kind], cpu[f"bare {kind}"]
            ratio = median_ratio(ours, floor)
            add(table, f"CPU of the server, a {name}", statistics.median(ours), ratio, of="nodus")
            add(table, f"CPU of bare uvicorn, a {name}", statistics.median(floor), 1, of="uvicorn")
    add(
        table,
        "ledger row verified, sums included",
        verified["verify"],
        verified["verify"] / verified["hash"],
        of="nodus",
    )
    add(table, "the same rows read and hashed", verified["hash"], 1, of="sqlite3")
    table.bars += [
        Bar("µs an accepted submission (300 a second)", took["submit"], 1e6 / 300),
        Bar("µs a lookup (1,000 a second)", took["get"], 1e6 / 1000),
        Bar("an accepted submission ÷ bare uvicorn", ratios["submit"], 14),
        Bar("a lookup ÷ bare uvicorn", ratios["get"], 8),
        Bar("µs a ledger row verified (50,000 a second)", verified["verify"], 1e6 / 50_000),
        Bar(f"MB resident with {max(live, LIVE_JOBS):,} live jobs", memory, 300),
    ]
    if skipped is None and (os.cpu_count() or 1) >= CORES_TO_JUDGE:
        table.bars.append(
            Bar("the rate on SQLite ÷ that on PostgreSQL", took["on PostgreSQL"] / took["on SQLite"], 1 / 0.8)
        )
    return table


def on_postgresql(plane: Plane, job_id: str, count: int, rounds: int) -> dict[str, float]:
    """Submit to a control plane on PostgreSQL, and beside it to the one on SQLite; return the µs that one took."""
    with postgresql.served() as served:
        other = Plane(served.address, served.api_key, 0, Path())
        return interleaved(
            {
                "on PostgreSQL": lambda: load("submit", other, job_id, count),
                "on SQLite": lambda: load("submit", plane, job_id, count),
            },
            rounds,
        )


def add(table: Table, label: str, took: float, ratio: float, *, of: str) -> None:
    table.add(label, took, 1e6 / took, ratio, of=of)


@contextlib.contextmanager
def playground(folder: Path) -> Iterator[Plane]:
    """Run a playground on a file in this folder, its clock at the speed of real time."""
    ready, database = folder / "ready.json", folder / "nodus.db"
    command = [sys.executable, "-m", "nodus_control.playground", "--port", "0", "--no-browser", "--speed", "1"]
    command += ["--db", f"sqlite:///{database}", "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + STARTING_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the playground did not start")
            time.sleep(0.05)
        said = json.loads(ready.read_text(encoding="utf-8"))
        try:
            yield Plane(said["base_url"], said["api_key"], said["pid"], database)
        finally:
            process.terminate()


@contextlib.contextmanager
def bare_server() -> Iterator[Plane]:
    """Run `bare_app`, which asks for no key and keeps nothing."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bare_app"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Plane(f"http://127.0.0.1:{int(process.stdout.readline())}", "", process.pid, Path())
        process.stdin.close()


def load(kind: str, plane: Plane, job_id: str, count: int) -> float:
    """Send so many requests; return the µs that one took."""
    arguments = (kind, plane.address, plane.api_key, job_id, str(CONNECTIONS), str(count))
    return float(python("-m", "benchmarks.load", *arguments)) / count * 1e6


def submit(plane: Plane, count: int) -> str:
    """Submit jobs; return the id of the newest."""
    arguments = ("submit", plane.address, plane.api_key, JOB_ID, "1", str(count))
    python("-m", "benchmarks.load", *arguments)
    with contextlib.closing(sqlite3.connect(plane.database)) as connection:
        found: str = connection.execute("SELECT id FROM jobs ORDER BY seq DESC").fetchone()[0]
    return found


def wait_until_placed(plane: Plane) -> None:
    """Wait until the worker has found a place for every job."""
    deadline = time.monotonic() + STARTING_SECONDS
    with contextlib.closing(sqlite3.connect(plane.database)) as connection:
        while connection.execute("SELECT COUNT(*) FROM jobs WHERE status = 'queued'").fetchone()[0]:
            if time.monotonic() > deadline:
                raise RuntimeError("jobs stay in the queue")
            time.sleep(0.1)


def commits(path: Path, count: int) -> float:
    """Commit rows one by one, each safe on the disk; return the µs that one took."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS rows (value TEXT)")
        began = time.perf_counter()
        for _ in range(count):
            connection.execute("INSERT INTO rows VALUES ('one')")
        return (time.perf_counter() - began) / count * 1e6


def verify(path: Path) -> float:
    """Verify the ledger; return the µs that one row took."""
    from nodus_ledger.database.database import Database
    from nodus_ledger.verification.verify import verify

    database = Database(f"sqlite:///{path}")
    try:
        began = time.perf_counter()
        report = verify(database)
        took = time.perf_counter() - began
    finally:
        database.close()
    if not report.is_sound:
        raise RuntimeError(f"the ledger is not sound: {report.faults[0]}")
    return took / report.rows * 1e6


def hash_all(path: Path) -> float:
    """Read every row and hash its leaf, and no more; return the µs that one row took."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        began = time.perf_counter()
        rows = 0
        for row in connection.execute("SELECT * FROM ledger ORDER BY customer_id, seq"):
            hashlib.sha256(b"\0" + row[8].encode()).digest()
            rows += 1
        return (time.perf_counter() - began) / rows * 1e6


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, in all its threads; 0 where the system does not tell."""
    # The clock of another process, as Linux numbers it: https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html
    return time.clock_gettime((~pid << 3) | 2) if HAS_CPU_CLOCKS else 0.0


def resident_megabytes(pid: int) -> float:
    """Return how much memory a process has, as the system counts it."""
    kilobytes = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(pid)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return int(kilobytes) / 1000
