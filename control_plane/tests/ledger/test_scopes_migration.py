"""What the sixth revision makes of a database that was used before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from servers.engines import open_bare
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError
from trust_ledger.history import make_history

from nodus_core.shown_urls import without_query_values
from nodus_ledger import migrations
from nodus_ledger.database.database import Database
from nodus_ledger.database.fingerprints import fingerprints_for
from nodus_ledger.database.schema import jobs
from nodus_ledger.database.sealing import Sealer
from nodus_ledger.database.webhook_schema import endpoints, metadata
from nodus_ledger.trust.origin import FIRST_ORIGIN, kept_origin, origin_for
from nodus_ledger.webhooks.endpoints import Webhooks

BEFORE = "0005"
TOKEN = "T_q7x"
URL = f"https://hooks.example.com/p?token={TOKEN}"
SEALER = Sealer(bytes(range(32)))

pytestmark = pytest.mark.both_engines


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of today with jobs and ledger rows."""
    path = tmp_path_factory.mktemp("history") / "nodus.db"
    make_history(path)
    return path


@pytest.fixture
def migrated(empty_database_url: str, history: Path) -> Iterator[Database]:
    """A database that had the tables of before, filled as they were then, and was opened since."""
    engine = open_bare(empty_database_url)
    with engine.connect() as connection:
        for revision in migrations.REVISIONS[: migrations.REVISIONS.index(BEFORE) + 1]:
            migrations.bring_up(connection, sqlalchemy.MetaData(), to=revision)
        fill(connection, history)
    engine.dispose()
    database = Database(empty_database_url)
    yield database
    database.close()


def fill(connection: Connection, history: Path) -> None:
    """Copy what the older tables can hold, and add endpoints as they were stored then."""
    older = sqlalchemy.MetaData()
    older.reflect(connection)
    original = sqlalchemy.create_engine(f"sqlite:///{history}")
    with original.connect() as reading:
        for name in ("jobs", "attempts", "ledger", "events"):
            columns = [metadata.tables[name].columns[each.name] for each in older.tables[name].columns]
            found = [dict(row) for row in reading.execute(select(*columns)).mappings()]
            connection.execute(insert(older.tables[name]), found)
    original.dispose()
    for number, (disabled_at, deleted_at) in enumerate(((None, None), (5, None), (None, 7))):
        connection.execute(
            insert(older.tables["webhook_endpoints"]).values(
                id=f"wh_{number}",
                customer_id="acme",
                url=URL,
                events="job.placed",
                created_at=0,
                disabled_at=disabled_at,
                deleted_at=deleted_at,
                fingerprint=b"",
            )
        )


def test_every_job_is_kept_and_has_an_empty_scope(migrated: Database, history: Path) -> None:
    """With everything else as it was; the same idempotency key may stand in another scope, once."""
    original = Database(f"sqlite:///{history}")
    # And but for what is known today alone of a job that waited for budget once.
    columns = [
        column for column in jobs.columns if column.name not in ("idempotency_scope", "reserved_at", "estimated")
    ]
    query = select(*columns).order_by(jobs.c.seq)
    with original.read() as before, migrated.read() as after:
        expected, kept = before.execute(query).all(), after.execute(query).all()
        scopes = set(after.execute(select(jobs.c.idempotency_scope)).scalars())
    original.close()

    assert kept == expected
    assert scopes == {""}

    with migrated.read() as connection:
        row = dict(connection.execute(select(jobs).where(jobs.c.idempotency_key.is_not(None))).mappings().first() or {})
    del row["seq"]
    another = {**row, "id": "another", "seq": 1_000_001, "idempotency_scope": "agent"}
    with migrated.write() as connection:
        connection.execute(insert(jobs).values(another))
    with pytest.raises(IntegrityError), migrated.write() as connection:
        connection.execute(insert(jobs).values({**another, "id": "third", "seq": 1_000_002}))


def test_names_keys_and_urls_from_before_go_on(migrated: Database) -> None:
    """Logs keep their name, fingerprints their key; URLs are sealed at the next start, and lead where they did."""
    with migrated.read() as connection:
        kept = kept_origin(connection)
    webhooks = Webhooks(migrated, SEALER, fingerprints_for(migrated, SEALER))
    webhooks.seal_urls()
    webhooks.seal_urls()
    with migrated.read() as connection:
        rows = connection.execute(select(endpoints).order_by(endpoints.c.seq)).mappings().all()

    assert {row["url"] for row in rows} == {without_query_values(URL)}
    assert [row["sealed_url"] is None for row in rows] == [False, False, True]
    assert webhooks.destination("wh_0", 0).url == URL
    assert TOKEN not in repr(rows)
    assert [row["disabled_reason"] for row in rows] == [None, "gone", None]
    assert {(row["failed"], row["unanswered"]) for row in rows} == {(0, 0)}
    assert kept == FIRST_ORIGIN == origin_for(migrated, None, database_id="d1")
    assert fingerprints_for(migrated, SEALER)._key == SEALER.derived_fingerprint_key()
