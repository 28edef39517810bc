"""What callers, operators and logs get when a database locks, refuses, fills up or goes away."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hosted.processes import Hosted
from patience import PATIENCE_SECONDS, eventually
from psycopg import sql
from servers.engines import POSTGRESQL
from servers.postgresql import PostgresServer

from nodus_control.control_plane import ControlPlane
from nodus_ledger.database.database import Database
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.verification.verify import verify

SPEC = {"image": "x", "gpu": "h100_80gb", "max_runtime_seconds": 60}
BUSY = 20
"""More than there are threads to answer with."""

on_postgresql = pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)


def client_of(control_plane: ControlPlane, base_url: str, customer_id: str = "acme") -> httpx.Client:
    """Make a client with a new key."""
    minted = control_plane.keys.mint(
        customer_id=customer_id,
        label="",
        principal_kind=PrincipalKind.HUMAN,
        now=control_plane.clock.now(),
        is_test=True,
    )
    headers = {"Authorization": f"Bearer {minted.api_key}"}
    limits = httpx.Limits(max_connections=None)
    return httpx.Client(base_url=base_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS, limits=limits)


@contextlib.contextmanager
def holding(url: str, statement: str) -> Iterator[None]:
    """Hold what a statement locks, from another session, as a shell that was left open does."""
    database = Database(url)
    with database._engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        connection.exec_driver_sql(statement)
        yield
        connection.exec_driver_sql("ROLLBACK")
    database.close()


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold SQLite's one lock for writing."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


class Waiting:
    """Submissions that are under way, each in a thread of its own."""

    def __init__(self, client: httpx.Client, count: int) -> None:
        self.answers: list[httpx.Response] = []
        self._threads = [threading.Thread(target=self._submit, args=(client,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _submit(self, client: httpx.Client) -> None:
        self.answers.append(client.post("/v1/jobs", json=SPEC))

    def join(self) -> set[tuple[int, str]]:
        """Wait for them all; return the distinct statuses and codes."""
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        return {(answer.status_code, answer.json().get("error", "")) for answer in self.answers}


def test_reads_do_not_wait_behind_writes_that_wait_on_sqlite(
    hosted: Hosted, here: ControlPlane, kept_database_url: str
) -> None:
    """A shell holds the lock; every write waits for it, is told so in the end, and reads go on all the while."""
    with client_of(here, hosted.serve()) as client:
        with locked(kept_database_url):
            waiting = Waiting(client, BUSY)
            while not waiting.answers:
                assert client.get("/v1/key").status_code == 200
                assert client.get("/v1/jobs").status_code == 200
            outcomes = waiting.join()
        after = client.post("/v1/jobs", json=SPEC)

    # Some waited for the lock, and some for those who did.
    assert (503, "database_unavailable") in outcomes
    assert outcomes <= {(503, "database_unavailable"), (503, "busy")}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in waiting.answers)
    assert after.status_code == 202
    assert hosted.output().count("answering requests: the database") <= 3, hosted.output()


@on_postgresql
def test_reads_do_not_wait_behind_writes_that_wait_on_postgresql(
    hosted: Hosted, here: ControlPlane, kept_database_url: str
) -> None:
    """A session holds one customer's row: that one's writes are refused in the end, others read at once."""
    base_url = hosted.serve()
    with client_of(here, base_url) as client, client_of(here, base_url, "globex") as other:
        client.post("/v1/jobs", json=SPEC)
        jobs = [client.post("/v1/jobs", json=SPEC).json()["id"] for _ in range(8)]
        with holding(kept_database_url, "SELECT * FROM ledger_heads WHERE customer_id = 'acme' FOR UPDATE"):
            waiting = Waiting(client, BUSY)
            # These are not gathered into one transaction, as submissions are.
            cancelling = [threading.Thread(target=client.post, args=(f"/v1/jobs/{job}/cancel",)) for job in jobs]
            for thread in cancelling:
                thread.start()
            while not waiting.answers:
                assert other.get("/v1/key").status_code == 200
            outcomes = waiting.join()
            for thread in cancelling:
                thread.join(PATIENCE_SECONDS)
        after = client.post("/v1/jobs", json=SPEC)

    # Some waited for the lock, and some for those who did.
    assert (503, "database_unavailable") in outcomes
    assert outcomes <= {(503, "database_unavailable"), (503, "busy")}
    assert after.status_code == 202
    assert verify(here.database).is_sound


@on_postgresql
def test_a_server_that_only_reads_is_left_for_the_one_that_writes(
    hosted: Hosted, here: ControlPlane, kept_database_url: str, postgres_server: PostgresServer
) -> None:
    """As after a failover: 503, a line in the log and not forty, and new connections for everybody afterwards."""
    name = kept_database_url.rpartition("/")[2]
    alter = sql.SQL("ALTER DATABASE {} {}")
    base_url = hosted.serve()
    hosted.work()
    with client_of(here, base_url) as client, postgres_server.connect(name) as operator:
        assert client.post("/v1/jobs", json=SPEC).status_code == 202
        operator.execute(alter.format(sql.Identifier(name), sql.SQL("SET default_transaction_read_only = on")))
        mine = operator.execute("SELECT pg_backend_pid()").fetchone()
        assert mine is not None
        operator.execute(
            # Each is over before the next one is ended: none that may write is left.
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'nodus-control-plane'",
            [round(PATIENCE_SECONDS * 1000)],
        )
        refused = [client.post("/v1/jobs", json=SPEC) for _ in range(10)]
        read = client.get("/v1/jobs")
        operator.execute("SET default_transaction_read_only = off")
        operator.execute(alter.format(sql.Identifier(name), sql.SQL("RESET default_transaction_read_only")))
        # Without a restart, and without an end of the connections that were opened meanwhile.
        eventually(lambda: client.post("/v1/jobs", json=SPEC).status_code == 202, hosted.output)

    assert {(answer.status_code, answer.json()["error"]) for answer in refused} == {(503, "database_unavailable")}
    assert {answer.headers["retry-after"] for answer in refused} == {"2"}
    assert read.status_code == 200
    assert "Traceback" not in hosted.output()
    assert len(hosted.output().splitlines()) < 20, hosted.output()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits files of a process that runs")
def test_a_disk_that_takes_no_more_is_unavailable_in_a_line(
    hosted: Hosted, here: ControlPlane, kept_database_url: str
) -> None:
    """Reads go on meanwhile; when there is room again, everything does."""
    base_url = hosted.serve()
    log = Path(kept_database_url.removeprefix("sqlite:///") + "-wal")
    with client_of(here, base_url) as client:
        assert client.post("/v1/jobs", json=SPEC).status_code == 202
        limit_files(hosted.processes[0].pid, log.stat().st_size)
        refused = [client.post("/v1/jobs", json={**SPEC, "env": {"A": "x" * 40_000}}) for _ in range(10)]
        read = client.get("/v1/jobs")
        limit_files(hosted.processes[0].pid, resource.RLIM_INFINITY)
        after = client.post("/v1/jobs", json=SPEC)

    assert {(answer.status_code, answer.json().get("error")) for answer in refused} == {(503, "database_unavailable")}
    assert (read.status_code, after.status_code) == (200, 202)
    assert "Traceback" not in hosted.output()
    assert len(hosted.output().splitlines()) < 10, hosted.output()
    assert verify(here.database).is_sound


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file that is larger."""
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
