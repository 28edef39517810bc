"""Pieces of a transaction that succeed or fail by themselves."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from nodus_ledger.database.database import Database
from nodus_ledger.database.savepoints import alone


def put(connection: Connection, value: int) -> int:
    """Write a row."""
    connection.execute(text("INSERT INTO pieces VALUES (:value)"), {"value": value})
    return value


def put_and_fail(connection: Connection) -> None:
    """Write a row, and think better of it."""
    put(connection, 99)
    raise LookupError


@pytest.mark.both_engines
def test_what_fails_undoes_itself_alone(database_url: str) -> None:
    """What came before it in the transaction stays, and what comes after it can be done; one may be inside another."""
    database = Database(database_url)

    def work(connection: Connection) -> int:
        connection.execute(text("CREATE TABLE pieces (value INTEGER)"))
        alone(connection, lambda within: put(within, 1))
        with pytest.raises(LookupError):
            alone(connection, put_and_fail)
        with pytest.raises(LookupError):
            alone(connection, lambda within: (put(within, 98), alone(within, put_and_fail)))
        return alone(connection, lambda within: alone(within, lambda inner: put(inner, 2)))

    try:
        result = database.run(work)
        with database.read() as connection:
            values = [row.value for row in connection.execute(text("SELECT value FROM pieces ORDER BY value"))]
    finally:
        database.close()

    assert result == 2
    assert values == [1, 2]
