"""A prepared query finds what SQLAlchemy finds with the same query, as the same values, and fails as it does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from sqlalchemy import bindparam, insert, select, text

from nodus_ledger.database import Database
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.prepared import Prepared
from nodus_ledger.records import JOB_FIELDS
from nodus_ledger.schema import jobs

QUERY = select(*JOB_FIELDS).where(jobs.c.id == bindparam("job"), jobs.c.customer_id == bindparam("customer"))


def row(number: int, **values: Any) -> dict[str, Any]:
    """A job as the table wants one: whatever has no value of its own is the least of its type."""
    least = {str: "", int: 0, bytes: b"", bool: False}
    needed = {
        column.name: least[column.type.python_type]
        for column in jobs.columns
        if not column.nullable and column.default is None and column.server_default is None
    }
    return needed | {"seq": number, "id": f"job-{number}", "customer_id": "acme"} | values


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with jobs that differ in what is null, true and binary."""
    opened = Database(database_url)
    with opened.write() as connection:
        for number, (simulated, steering) in enumerate([(None, None), (True, b"\x00\xff"), (False, b"")], 1):
            connection.execute(insert(jobs).values(row(number, simulated=simulated, steering=steering, sealed=b"\x01")))
    yield opened
    opened.close()


@pytest.mark.both_engines
def test_it_finds_what_the_query_finds(database: Database) -> None:
    """The same row, with values of the same types."""
    prepared = Prepared(QUERY)
    for number in (1, 2, 3):
        asked = {"job": f"job-{number}", "customer": "acme"}
        found = database.first(prepared, asked)
        with database.read() as connection:
            expected = connection.execute(QUERY, asked).one()

        assert found is not None
        assert [(type(value), value) for value in found] == [(type(value), value) for value in expected]


@pytest.mark.both_engines
def test_it_finds_nothing_where_there_is_nothing(database: Database) -> None:
    """Neither another id, nor another customer's job."""
    prepared = Prepared(QUERY)

    assert database.first(prepared, {"job": "job-9", "customer": "acme"}) is None
    assert database.first(prepared, {"job": "job-1", "customer": "other"}) is None


def test_it_sees_what_was_committed_last(tmp_path: Path) -> None:
    """It keeps no snapshot: what another connection commits is there at the next time."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    prepared, asked = Prepared(QUERY), {"job": "job-1", "customer": "acme"}
    before = database.first(prepared, asked)
    with database.write() as connection:
        connection.execute(insert(jobs).values(row(1)))
    after = database.first(prepared, asked)
    database.close()

    assert before is None
    assert after is not None


def test_a_locked_database_is_unavailable(tmp_path: Path) -> None:
    """As it is for every other statement."""
    path = tmp_path / "nodus.db"
    database = Database(f"sqlite:///{path}?timeout=0")
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(DatabaseUnavailable, match="locked"):
            database.first(Prepared(QUERY), {"job": "job-1", "customer": "acme"})
    finally:
        holder.close()
        database.close()


def test_another_mistake_stays_what_it_is(tmp_path: Path) -> None:
    """A table that is not there is nothing that passes."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    with database.write() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME TO elsewhere"))
    try:
        with pytest.raises(sqlalchemy.exc.OperationalError, match="no such table: jobs"):
            database.first(Prepared(QUERY), {"job": "job-1", "customer": "acme"})
    finally:
        database.close()
