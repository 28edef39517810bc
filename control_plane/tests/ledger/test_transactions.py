"""What a transaction is worth on either database, also where others are in its way or the server goes away."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from servers.engines import POSTGRESQL
from servers.postgresql import PostgresServer
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from nodus_ledger.database import dialects
from nodus_ledger.database.database import Database, UnusableDatabase
from nodus_ledger.database.schema import settings
from nodus_ledger.errors import DatabaseUnavailable
from nodus_ledger.trust.log import Entry, append_all

on_postgresql = pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)


class Refusal(Exception):
    """What a piece of work raises."""


@pytest.fixture
def database(kept_database_url: str) -> Iterator[Database]:
    """A database that others can open too."""
    opened = Database(kept_database_url)
    yield opened
    opened.close()


def put(database: Database, *names: str) -> None:
    """Write names, each with an empty value."""
    with database.write() as connection:
        connection.execute(insert(settings), [{"name": name, "value": ""} for name in names])


def names(database: Database) -> list[str]:
    """Read what was written."""
    with database.read() as connection:
        return list(connection.execute(select(settings.c.name).order_by(settings.c.name)).scalars())


def together(*works: Callable[[], object]) -> None:
    """Run functions in threads, and wait for all."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_without_what_talks_to_postgresql_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the extra."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(UnusableDatabase, match=r'pip install "psycopg\[binary\]"'):
        Database("postgresql://127.0.0.1/nodus")


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres", "postgresql+psycopg2"])
def test_every_way_to_say_postgresql_is_understood(postgres_url: str, scheme: str) -> None:
    """Whatever driver it names, the one that is used is psycopg."""
    database = Database(postgres_url.replace("postgresql+psycopg", scheme))
    put(database, "here")
    found = names(database)
    database.close()

    assert found == ["here"]
    assert database.is_server


@pytest.mark.both_engines
def test_what_raises_was_never_written(database: Database) -> None:
    """All or nothing; and the connection is as good as before."""

    def refuse(connection: Connection) -> None:
        connection.execute(insert(settings).values(name="lost", value=""))
        raise Refusal

    with pytest.raises(Refusal), database.write() as connection:
        refuse(connection)
    put(database, "kept")

    assert names(database) == ["kept"]


@pytest.mark.both_engines
def test_a_statement_that_fails_takes_its_transaction_with_it(database: Database) -> None:
    """The next one begins anew."""
    put(database, "first")
    with pytest.raises(DBAPIError):
        put(database, "second", "first")
    put(database, "third")

    assert names(database) == ["first", "third"]


@pytest.mark.both_engines
def test_a_snapshot_sees_one_moment(database: Database) -> None:
    """Whatever is committed meanwhile; a plain read sees it at once."""
    put(database, "before")
    query = select(settings.c.name).order_by(settings.c.name)
    with database.snapshot() as connection:
        first = list(connection.execute(query).scalars())
        put(database, "meanwhile")
        second = list(connection.execute(query).scalars())
        elsewhere = names(database)

    assert first == second == ["before"]
    assert elsewhere == ["before", "meanwhile"]


@on_postgresql
def test_a_snapshot_writes_nothing(database: Database) -> None:
    """The database itself refuses."""
    with pytest.raises(DatabaseUnavailable, match="read-only"), database.snapshot() as connection:
        connection.execute(insert(settings).values(name="x", value=""))

    assert names(database) == []


@on_postgresql
def test_work_that_was_in_a_deadlock_runs_again(database: Database) -> None:
    """Two take two rows in opposite orders; the one that the database ends is not heard of."""
    put(database, "a", "b")
    have_one = threading.Barrier(2)
    tries: list[str] = []

    def work(first: str, second: str) -> Callable[[Connection], None]:
        def change(connection: Connection) -> None:
            tries.append(first)
            connection.execute(update(settings).where(settings.c.name == first).values(value="changed"))
            if len(tries) <= 2:
                have_one.wait()
            connection.execute(update(settings).where(settings.c.name == second).values(value="changed"))

        return change

    together(lambda: database.run(work("a", "b")), lambda: database.run(work("b", "a")))

    assert len(tries) >= 3
    with database.read() as connection:
        assert set(connection.execute(select(settings.c.value)).scalars()) == {"changed"}


@pytest.mark.both_engines
def test_work_in_one_lane_shares_transactions_and_nothing_else(database: Database) -> None:
    """Sixty at once, every third raises: the others' work is committed, each has its own answer."""
    answers: dict[int, str] = {}
    ready = threading.Barrier(60)

    def run(number: int) -> None:
        def work(connection: Connection) -> str:
            connection.execute(insert(settings).values(name=f"n{number:02}", value=""))
            if number % 3 == 0:
                raise Refusal(number)
            return f"n{number:02}"

        ready.wait()
        try:
            answers[number] = database.run(work, group_key="one")
        except Refusal:
            answers[number] = "refused"

    together(*(lambda number=number: run(number) for number in range(60)))

    assert names(database) == [f"n{number:02}" for number in range(60) if number % 3]
    assert answers == {number: f"n{number:02}" if number % 3 else "refused" for number in range(60)}


@on_postgresql
def test_whoever_comes_second_with_the_same_row_runs_again(database: Database) -> None:
    """Both looked, and nothing was there; the second insert fails, and its work then finds the first."""
    looked = threading.Barrier(2)
    tries: list[int] = []
    answers: list[str] = []

    def work(connection: Connection) -> str:
        tries.append(1)
        found = connection.execute(select(settings.c.value).where(settings.c.name == "one")).first()
        if len(tries) <= 2:
            looked.wait()
        if found is not None:
            return "found"
        connection.execute(insert(settings).values(name="one", value=""))
        return "made"

    together(*[lambda: answers.append(database.run(work))] * 2)

    assert sorted(answers) == ["found", "made"]


@pytest.mark.both_engines
def test_a_name_is_held_until_the_transaction_ends(database: Database) -> None:
    """Ten count what is there and add one: nobody counts what another is about to change."""

    def add() -> None:
        with database.write() as connection:
            database.lock_name(connection, "counting")
            present = len(connection.execute(select(settings.c.name)).all())
            connection.execute(insert(settings).values(name=f"number {present}", value=""))

    together(*[add] * 10)

    assert names(database) == [f"number {number}" for number in range(10)]


@pytest.mark.both_engines
def test_logs_that_many_write_to_stay_whole(database: Database) -> None:
    """Each transaction appends to several logs, named in any order; none waits for another in a circle."""
    customers = ["acme", "globex", "initech"]

    def write(number: int) -> None:
        order = customers[number % 3 :] + customers[: number % 3]
        with database.write() as connection:
            append_all(connection, [Entry(customer_id, "test.happened", number, {}) for customer_id in order])

    together(*(lambda number=number: write(number) for number in range(30)))

    with database.read() as connection:
        for customer_id in customers:
            found = connection.execute(
                text("SELECT seq FROM ledger WHERE customer_id = :customer ORDER BY seq"), {"customer": customer_id}
            ).scalars()
            assert list(found) == list(range(1, 31))


@on_postgresql
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET kind = 'other' WHERE seq = 1",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "TRUNCATE ledger, ledger_heads, ledger_states, ledger_nodes, ledger_checkpoints",
        "INSERT INTO ledger SELECT * FROM ledger ON CONFLICT (customer_id, seq) DO UPDATE SET kind = 'other'",
        "MERGE INTO ledger USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
        "UPDATE ledger_heads SET customer_id = 'other'",
        "DELETE FROM ledger_heads",
        "TRUNCATE ledger_heads",
        "UPDATE ledger_states SET size = size - 1",
        "UPDATE ledger_states SET size = size",
        "UPDATE ledger_states SET customer_id = 'other', size = size + 1",
        "DELETE FROM ledger_states",
        "TRUNCATE ledger_states",
        "UPDATE ledger_nodes SET hash = ''",
        "DELETE FROM ledger_nodes",
        "UPDATE ledger_checkpoints SET note = 'other'",
        "DELETE FROM ledger_checkpoints",
    ],
)
def test_postgresql_refuses_to_change_what_was_written(database: Database, statement: str) -> None:
    """Rows, heads, nodes and checkpoints are append-only for everybody who goes through the database."""
    with database.write() as connection:
        append_all(connection, [Entry("acme", "test.happened", number, {}) for number in range(300)])
        connection.execute(text("INSERT INTO ledger_checkpoints VALUES ('acme', 1, '', '')"))

    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(text(statement))


@on_postgresql
def test_a_restarted_server_needs_no_restart_here(database: Database, postgres_server: PostgresServer) -> None:
    """Connections that it took along are replaced before anybody is given one, however many there were."""
    held = threading.Barrier(5)

    def hold() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT 1"))
            held.wait()

    together(*[hold] * 5)
    postgres_server.restart()
    put(database, "after the first")
    postgres_server.restart()
    with database.snapshot() as connection:
        connection.execute(text("SELECT 1"))

    assert names(database) == ["after the first"]


@on_postgresql
def test_a_server_that_is_away_is_an_error_until_it_is_back(
    database: Database, postgres_server: PostgresServer
) -> None:
    """Then everything goes on; what a transaction had begun when it went is undone."""

    def lose(connection: Connection) -> None:
        connection.execute(insert(settings).values(name="lost", value=""))
        postgres_server.stop()
        connection.execute(insert(settings).values(name="lost too", value=""))

    with pytest.raises(DatabaseUnavailable), database.write() as connection:
        lose(connection)
    try:
        with pytest.raises(DatabaseUnavailable, match="right now: "):
            names(database)
        with pytest.raises(DatabaseUnavailable):
            put(database, "never")
    finally:
        postgres_server.start_again()
    put(database, "kept")

    assert names(database) == ["kept"]


@on_postgresql
def test_who_stops_in_the_middle_of_a_transaction_does_not_hold_its_locks_for_ever(database: Database) -> None:
    """The server ends it after a minute; no transaction here waits for anything but the database."""
    with database.read() as connection:
        limit = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()

    assert limit == "1min"


@pytest.mark.both_engines
def test_no_text_breaks_a_look(database: Database) -> None:
    """Callers put anything into a path; what cannot be stored is simply not there."""
    put(database, "here")
    with database.read() as connection:
        found = [
            connection.execute(select(settings.c.value).where(settings.c.name == name)).scalar()
            for name in ("\0", "here\0", "here", "☃", "a" * 100_000)
        ]

    assert found == [None, None, "", None, None]


def test_a_full_disk_undoes_all_that_shared_the_transaction_and_says_so() -> None:
    """SQLite takes the whole transaction back; nobody is told of success, nor of a savepoint that is gone."""
    database = Database()
    answers: dict[str, str] = {}
    with database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    first_is_in, may_go_on = threading.Event(), threading.Event()

    def hold(connection: Connection) -> str:
        first_is_in.set()
        may_go_on.wait()
        return "held"

    def run(name: str, work: Callable[[Connection], str]) -> None:
        try:
            answers[name] = database.run(work, group_key="one")
        except DatabaseUnavailable as exc:
            answers[name] = exc.reason

    def write(size: int) -> Callable[[Connection], str]:
        def work(connection: Connection) -> str:
            connection.execute(insert(settings).values(name=f"of {size}", value="x" * size))
            return "written"

        return work

    leader = threading.Thread(target=run, args=("hold", hold))
    leader.start()
    first_is_in.wait()
    others = [threading.Thread(target=run, args=(str(size), write(size))) for size in (10, 1_000_000)]
    for thread in others:
        thread.start()
    while len(database._group(None)._waiting) < 2:
        pass
    may_go_on.set()
    for thread in (leader, *others):
        thread.join()
    kept = names(database)
    database.close()

    assert answers["hold"] == "held"
    assert answers["1000000"] == "database or disk is full"
    assert (answers["10"], kept) in [("written", ["of 10"]), ("database or disk is full", [])]


@pytest.mark.both_engines
def test_a_lock_that_another_holds_is_waited_for_no_longer_than_the_limit(
    kept_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits behind the one that waits is told with it, and nothing was done."""
    for module in ("dialects", "database"):
        monkeypatch.setattr(f"nodus_ledger.database.{module}.LOCK_SECONDS", 1)
        monkeypatch.setattr(f"nodus_ledger.database.{module}.USUAL", dialects.Limits(1000, 30_000))
    database, holder = Database(kept_database_url), Database(kept_database_url)
    put(database, "here")
    outcomes: list[str] = []

    def change() -> None:
        try:
            database.run(
                lambda connection: connection.execute(update(settings).values(value="changed")), group_key="one"
            )
        except DatabaseUnavailable as exc:
            outcomes.append("nothing was done" if exc.nothing_was_done else "who knows")

    def change_alone() -> None:
        with pytest.raises(DatabaseUnavailable), database.write() as connection:
            connection.execute(update(settings).values(value="changed"))
        outcomes.append("nothing was done")

    with holder.write() as held:
        held.execute(update(settings).values(value="held"))
        together(*[change] * 12, *[change_alone] * 12)
        with database.read() as connection:
            seen = connection.execute(select(settings.c.value)).scalar()
    put(database, "there")
    database.close()
    holder.close()

    assert outcomes == ["nothing was done"] * 24
    assert seen == ""


@on_postgresql
def test_an_answer_to_commit_that_is_lost_is_not_called_undone(
    database: Database, postgres_server: PostgresServer
) -> None:
    """The connection breaks between the statement and its answer: nobody knows, and nobody says that they do."""

    def lose() -> None:
        with database.write() as connection:
            connection.execute(insert(settings).values(name="who knows", value=""))
            driver = connection.connection.driver_connection
            assert driver is not None
            with socket.socket(fileno=os.dup(driver.fileno())) as connected:
                connected.shutdown(socket.SHUT_RDWR)

    with pytest.raises(DatabaseUnavailable) as caught:
        lose()

    assert not caught.value.nothing_was_done
    put(database, "kept")
