"""Behind a PgBouncer that pools transactions, everything works, and nothing is left on connections of others."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator

import pytest
from servers.engines import POSTGRESQL
from servers.pgbouncer import PgBouncer
from sqlalchemy import Connection, insert, select, text

from nodus_ledger.database.database import Database, UnusableDatabase
from nodus_ledger.database.schema import settings
from nodus_ledger.trust.log import Entry, append_all
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)

LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture(params=["", "?pooler=transaction"])
def pooled_url(request: pytest.FixtureRequest, database_url: str, pgbouncer: PgBouncer) -> str:
    """A database's URL through the pooler, which is found by itself or named."""
    option: str = request.param
    return pgbouncer.url(database_url.rpartition("/")[2]) + option


def put(name: str, connection: Connection) -> None:
    """Write a name."""
    connection.execute(insert(settings).values(name=name, value=""))


@pytest.fixture
def database(pooled_url: str) -> Iterator[Database]:
    """A database that is reached through the pooler."""
    opened = Database(pooled_url)
    yield opened
    opened.close()


def test_many_transactions_of_many_threads_all_succeed(database: Database) -> None:
    """So often that every statement would be prepared, were it not for the pooler."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(12):
                name = f"{number}.{turn}"
                database.run(functools.partial(put, name))
                with database.read() as connection:
                    assert connection.execute(select(settings.c.name).where(settings.c.name == name)).scalar() == name
                with database.write() as connection:
                    append_all(connection, [Entry("acme", "test.happened", turn, {})])
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    with database.snapshot() as connection:
        assert len(connection.execute(select(settings.c.name)).all()) == 120
    assert verify(database).faults == []


@pytest.mark.usefixtures("usual_limits")
def test_limits_hold_in_each_transaction_and_on_no_other_connection(
    database: Database, pgbouncer: PgBouncer, pooled_url: str
) -> None:
    """A reader has them, a writer has them, and another client of the pooler does not inherit them."""

    def limits(connection: Connection) -> list[str]:
        return [str(connection.execute(text(f"SHOW {name}")).scalar()) for name in LIMITS]

    with database.read() as connection:
        reading = limits(connection)
    with database.write() as connection:
        writing = limits(connection)
    other = Database(pgbouncer.url(pooled_url.rpartition("/")[2].partition("?")[0]))
    with other._engine.connect() as connection:
        elsewhere = limits(connection)
    other.close()

    assert reading == writing == ["5s", "30s", "1min"]
    assert elsewhere == ["0", "0", "0"]


@pytest.mark.usefixtures("usual_limits")
def test_without_a_pooler_statements_are_prepared_and_limits_are_the_sessions(database_url: str) -> None:
    """What costs nothing is used where it can be."""
    database = Database(database_url)
    with database.read() as connection:
        driver = connection.connection.driver_connection
        found = [connection.execute(text(f"SHOW {name}")).scalar() for name in LIMITS]
    database.close()

    assert driver is not None
    assert driver.prepare_threshold is not None
    assert found == ["5s", "30s", "1min"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("prepare_threshold=0", "give `pooler=transaction`"),
        ("pooler=statement", "it may be transaction or session"),
        ("sslmod=require", "the option `sslmod`, which PostgreSQL's client does not know"),
        ("sslmode=perhaps", "cannot open the database .*sslmode"),
        ("connect_timeout=soon", "cannot open the database .*connect_timeout"),
    ],
)
def test_an_option_that_cannot_be_used_is_said(database_url: str, option: str, message: str) -> None:
    """By its name, and with what to write instead."""
    with pytest.raises(UnusableDatabase, match=message):
        Database(f"{database_url}?{option}")


def test_a_password_among_the_options_is_not_repeated(database_url: str) -> None:
    """Messages end up in logs."""
    with pytest.raises(UnusableDatabase) as caught:
        Database("postgresql://127.0.0.1:1/nodus?password=hunter2")

    assert "hunter2" not in str(caught.value)
