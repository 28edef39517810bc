"""A database that version 0.1 has written, in the middle of its work, is opened: nothing is lost, and life goes on.

`version_0_1.json` was written by the code of that version: its tables, row for row, sealed with the key of the tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from servers.engines import POSTGRESQL, SEALING_KEY, open_bare
from sqlalchemy import select, text
from webhooks.receiver import Receiver

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_ledger import migrations
from nodus_ledger.database.database import Database
from nodus_ledger.database.rows import JOB_FIELDS, JobRecord
from nodus_ledger.database.schema import reservations
from nodus_ledger.database.sealing import KEY_VARIABLE
from nodus_ledger.database.trust_schema import ledger, meter_events
from nodus_ledger.trust.origin import FIRST_ORIGIN, kept_origin
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.both_engines

THEN: dict[str, Any] = json.loads(Path(__file__).with_name("version_0_1.json").read_text())
ID_OF = {name: job["id"] for name, job in THEN["jobs"].items()}
BY_AGENT = ("spent", "running", "provisioning", "queued by an agent")
BY_SERVICE = ("billed", "live running", "live queued")
DAY = 86_400


def then(table: str) -> list[dict[str, Any]]:
    """Return the rows of a table as they were then."""
    found = THEN["tables"][table]
    return [
        dict(
            zip(found["columns"], [bytes.fromhex(it["hex"]) if isinstance(it, dict) else it for it in row], strict=True)
        )
        for row in found["rows"]
    ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """What the endpoint of then leads to."""
    with Receiver() as opened:
        yield opened


@pytest.fixture
def database_url(empty_database_url: str, engine: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database as version 0.1 left it."""
    monkeypatch.setenv(KEY_VARIABLE, SEALING_KEY)
    opened = open_bare(empty_database_url)
    with opened.connect() as connection:
        migrations.bring_up(connection, sqlalchemy.MetaData(), to=migrations.REVISIONS[0])
        tables = sqlalchemy.MetaData()
        tables.reflect(connection)
        for name in THEN["tables"]:
            connection.execute(tables.tables[name].insert(), then(name))
        connection.execute(text("UPDATE webhook_endpoints SET url = :url"), {"url": receiver.url})
        connection.execute(text(f"DROP TABLE {migrations.VERSION_TABLE}"))
        if engine == POSTGRESQL:
            connection.execute(
                text(
                    "SELECT setval(pg_get_serial_sequence(table_name, column_name), 1000) "
                    "FROM information_schema.columns WHERE column_default LIKE 'nextval%'"
                )
            )
    opened.dispose()
    return empty_database_url


def jobs_in(database: Database) -> dict[str, JobRecord]:
    """Read the jobs of then, by name."""
    with database.read() as connection:
        found = {row.id: row for row in (JobRecord(*each) for each in connection.execute(select(*JOB_FIELDS)))}
    return {name: found[job_id] for name, job_id in ID_OF.items()}


def test_jobs_logs_and_reservations_are_what_they_were(database_url: str) -> None:
    """Only opened: reservations and rates, rows and their hashes, the name of the log; nothing is billed any more."""
    database = Database(database_url)
    with database.read() as connection:
        found = jobs_in(database)
        rows = connection.execute(select(ledger.c.customer_id, ledger.c.seq, ledger.c.leaf, ledger.c.leaf_hash)).all()
        live = list(connection.execute(select(meter_events.c.identifier).where(meter_events.c.livemode)).scalars())
        held = {tuple(row) for row in connection.execute(select(reservations.c.key_id, reservations.c.in_flight))}
        origin = kept_origin(connection)
    report = verify(database)
    database.close()

    before = {row["id"]: row for row in then("jobs")}
    assert {job.id: (job.reserved, job.rate, job.status, job.fingerprint) for job in found.values()} == {
        job_id: (row["reserved"], row["rate"], row["status"], row["fingerprint"]) for job_id, row in before.items()
    }
    assert held == {(row["id"], row["in_flight"]) for row in then("api_keys")}
    assert any(amount for _, amount in held)
    assert all(job.is_simulated for job in found.values())
    assert any(row["livemode"] for row in then("meter_events"))
    assert live == []
    assert {tuple(row) for row in rows} == {
        (row["customer_id"], row["seq"], row["leaf"], row["leaf_hash"]) for row in then("ledger")
    }
    assert any("command_sha256" in row["leaf"] for row in then("ledger"))
    assert origin == FIRST_ORIGIN
    assert report.faults == []


def test_a_server_and_a_worker_go_on(database_url: str, receiver: Receiver) -> None:
    """Retries in flight find their jobs, each ends once, and each is told of once; no micro-dollar stays reserved."""
    with LocalControlPlane(database=database_url) as control_plane:
        plane = control_plane.plane
        replayed = {}
        for name, job in THEN["jobs"].items():
            whose = THEN["keys"]["agent" if name in BY_AGENT else "live" if name in BY_SERVICE else "human"]
            with nodus.Client(
                whose["api_key"], base_url=control_plane.base_url, signing_secret=whose["signing_secret"]
            ) as client:
                again = client.run(idempotency_key=name, **job["spec"])
            replayed[name] = again.id, again.replayed
        while any(not job.is_terminal for job in jobs_in(plane.database).values()):
            control_plane.advance(600)
        ended = jobs_in(plane.database)
        receiver.wait_for(len(ID_OF))
        control_plane.advance(DAY)
        now = plane.clock.now()
        figures = {key["id"]: plane.keys.budget(key["id"], now) for key in THEN["keys"].values()}
        report = verify(plane.database)
    told = [request.event(THEN["webhook_secret"]) for request in receiver.requests]

    assert replayed == {name: (job_id, True) for name, job_id in ID_OF.items()}
    assert {name: job.status for name, job in ended.items()} == {
        **dict.fromkeys(ID_OF, "completed"),
        "cancelled": "cancelled",
        "live queued": "failed",
    }
    assert (ended["live queued"].error_code, ended["live queued"].cost) == ("no_supplier", 0)
    assert sorted((event.job_id, event.type) for event in told) == sorted(
        (job.id, f"job.{job.status}") for job in ended.values()
    )
    assert {row["id"] for row in then("webhook_events")} < {event.id for event in told}
    assert [each.in_flight for each in figures.values()] == [0, 0, 0]
    assert {key_id: each.realised for key_id, each in figures.items()} == {
        key["id"]: sum(job.cost or 0 for job in ended.values() if job.key_id == key["id"])
        for key in THEN["keys"].values()
    }
    assert report.faults == []
