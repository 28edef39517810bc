"""A prepared query finds what SQLAlchemy finds with the same query, as the same values, and fails as it does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.exc
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from nodus_ledger.database.database import Database
from nodus_ledger.database.prepared import Prepared
from nodus_ledger.database.rows import JOB_FIELDS
from nodus_ledger.database.schema import jobs
from nodus_ledger.errors import DatabaseUnavailable

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


@contextmanager
def undone(database: Database) -> Iterator[Connection]:
    """A write transaction that is rolled back."""
    with suppress(InterruptedError), database.write() as connection:
        yield connection
        raise InterruptedError


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
def test_in_a_transaction_it_does_what_sqlalchemy_does(database: Database) -> None:
    """It sees and changes what the transaction does, and what that rolls back never was."""
    put, named = Prepared(insert(jobs)), Prepared(select(jobs.c.id, jobs.c.simulated).order_by(jobs.c.seq).limit(2))
    close = Prepared(update(jobs).where(jobs.c.id == bindparam("of_id")).values(error_message=bindparam("said")))
    new = {name: value for name, value in row(0, id="job-4", simulated=True).items() if name != "seq"}
    every = select(jobs.c.id, jobs.c.error_message).order_by(jobs.c.seq)
    with undone(database) as connection:
        # PostgreSQL does not know of the numbers that the rows above were given.
        connection.execute(delete(jobs).where(jobs.c.seq <= 3))
        seq = put.insert(connection, new)
        changed = [close.change(connection, {"of_id": each, "said": None}) for each in ("job-4", "job-9")]
        put.change_each(connection, [{**new, "id": f"job-{number}"} for number in (5, 6)])
        close.change_each(connection, [{"of_id": f"job-{number}", "said": "ended"} for number in (5, 6)])
        found = [tuple(each) for each in named.all(connection, {})]
        inside = connection.execute(select(jobs.c.seq, jobs.c.id).order_by(jobs.c.seq)).all()
        messages = [message for _, message in connection.execute(every)]
    with database.read() as connection:
        outside = [job_id for job_id, _ in connection.execute(every)]

    assert changed == [1, 0]
    assert found == [("job-4", True), ("job-5", True)]
    assert [type(simulated) for _, simulated in found] == [bool, bool]
    assert inside[0] == (seq, "job-4")
    assert messages == [None, "ended", "ended"]
    assert outside == ["job-1", "job-2", "job-3"]


@pytest.mark.both_engines
def test_a_row_that_is_there_already_is_refused_as_by_sqlalchemy(database: Database) -> None:
    """With the exception that whoever tries again looks for."""
    with pytest.raises(sqlalchemy.exc.IntegrityError), database.write() as connection:
        Prepared(insert(jobs)).change(connection, row(4, id="job-1"))


@pytest.mark.parametrize("asked", [{"job": "job-1"}, {"job": "job-1", "customer": "acme", "more": 1}])
def test_other_parameters_than_its_own_are_refused(database: Database, asked: dict[str, Any]) -> None:
    """The first time, and when it is written out already: nothing is left out in silence."""
    prepared = Prepared(QUERY)
    with pytest.raises((KeyError, ValueError)):
        database.first(prepared, asked)
    assert database.first(prepared, {"job": "job-1", "customer": "acme"}) is not None
    with pytest.raises((KeyError, ValueError)):
        database.first(prepared, asked)


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
