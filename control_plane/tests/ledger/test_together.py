"""What one thread does for several callers is one transaction, in which each succeeds or fails by itself."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import sqlalchemy.exc
from patience import PATIENCE_SECONDS
from sqlalchemy import Connection, insert, select, update

from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import settings
from nodus_ledger.errors import DatabaseUnavailable


class Refusal(Exception):
    """What a piece of work raises."""


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database on SQLite."""
    opened = Database(f"sqlite:///{tmp_path / 'nodus.db'}" if request.param == "file" else "sqlite://")
    yield opened
    opened.close()


def put(connection: Connection, name: str) -> str:
    """Write a name."""
    connection.execute(insert(settings).values(name=name, value=""))
    return name


def names(database: Database) -> set[str]:
    """Read what was written."""
    with database.read() as connection:
        return set(connection.execute(select(settings.c.name).where(settings.c.value == "")).scalars())


def names_in(path: Path | None) -> set[str]:
    """Read what another process would."""
    with closing(sqlite3.connect(path or "")) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM settings WHERE value = ''")}


def test_nothing_is_there_before_all_is(tmp_path: Path) -> None:
    """Whoever wrote it can read it, and nobody else can."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")

    with database.together():
        assert database.run(lambda connection: put(connection, "a")) == "a"
        with database.write() as connection:
            put(connection, "b")
        assert names(database) == {"a", "b"}
        assert names_in(database.path) == set()

    assert names_in(database.path) == {"a", "b"}
    database.close()


def test_what_one_piece_raises_undoes_it_alone(database: Database) -> None:
    """Whether it is a function or a block."""

    def refuse(connection: Connection) -> None:
        put(connection, "refused")
        raise Refusal

    with database.together():
        database.run(lambda connection: put(connection, "a"))
        with pytest.raises(Refusal):
            database.run(refuse)
        with pytest.raises(Refusal), database.write() as connection:
            refuse(connection)
        database.run(lambda connection: put(connection, "b"))

    assert names(database) == {"a", "b"}


def test_a_block_that_ends_in_an_exception_has_written_nothing(database: Database) -> None:
    """And the next one can write."""

    def write_and_raise() -> None:
        with database.together():
            database.run(lambda connection: put(connection, "a"))
            raise Refusal

    with pytest.raises(Refusal):
        write_and_raise()
    assert names(database) == set()

    with database.together():
        database.run(lambda connection: put(connection, "b"))
    assert names(database) == {"b"}


def test_a_commit_that_fails_is_told_when_the_block_ends(tmp_path: Path) -> None:
    """A constraint that is checked only then; nothing of the block is there, and nobody is told of it."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    told: list[str] = []
    with closing(sqlite3.connect(database.path or "")) as other:
        other.execute("CREATE TABLE one (id INTEGER PRIMARY KEY)")
        other.execute("CREATE TABLE two (one INTEGER REFERENCES one DEFERRABLE INITIALLY DEFERRED)")

    def write() -> None:
        with database.together():
            database.run(lambda connection: put(connection, "a"))
            database.after_commit(lambda: told.append("told"))
            database.run(lambda connection: connection.exec_driver_sql("INSERT INTO two VALUES (1)"))

    with pytest.raises(sqlalchemy.exc.IntegrityError, match="FOREIGN KEY"):
        write()

    assert names(database) == set()
    assert told == []
    with database.write() as connection:
        put(connection, "b")
    assert names(database) == {"b"}
    database.close()


def test_a_transaction_that_is_lost_is_lost_for_all(database: Database) -> None:
    """SQLite may end one by itself: those that were done before it must not take it for committed."""

    def lose(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise Refusal

    def write() -> None:
        with database.together():
            database.run(lambda connection: put(connection, "a"))
            with pytest.raises(DatabaseUnavailable):
                database.run(lose)
            with pytest.raises(DatabaseUnavailable):
                database.run(lambda connection: put(connection, "b"))

    with pytest.raises(DatabaseUnavailable):
        write()
    assert names(database) == set()


def test_others_are_told_once_and_only_afterwards(database: Database) -> None:
    """Outside of a block at once, because all is committed by then."""
    told: list[str] = []

    def tell() -> None:
        told.append("told")

    database.after_commit(tell)
    assert told == ["told"]

    with database.together():
        for name in "abc":
            database.run(lambda connection, name=name: put(connection, name))  # type: ignore[misc]
            database.after_commit(tell)
        assert told == ["told"]
    assert told == ["told", "told"]


def test_a_block_that_writes_nothing_waits_for_nobody(tmp_path: Path) -> None:
    """It does not begin a transaction: reads go on while another process has the lock."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    with closing(sqlite3.connect(database.path or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with database.together():
            assert names(database) == set()
        other.execute("ROLLBACK")
        with database.together():
            database.run(lambda connection: put(connection, "a"))
    assert names(database) == {"a"}
    database.close()


def test_other_threads_write_before_or_after(database: Database) -> None:
    """A block belongs to its thread; and a thread that only reads is not kept waiting in a file."""
    written = threading.Event()

    def write() -> None:
        database.run(lambda connection: put(connection, "other"))
        written.set()

    thread = threading.Thread(target=write)
    with database.together():
        database.run(lambda connection: put(connection, "mine"))
        thread.start()
        assert not written.is_set()
    thread.join(PATIENCE_SECONDS)

    assert names(database) == {"mine", "other"}


def test_lent_connections_read_what_is_committed_now(database: Database) -> None:
    """Each statement by itself, as without; and the connection goes back."""
    with database.lent():
        assert names(database) == set()
        thread = threading.Thread(target=lambda: database.run(lambda connection: put(connection, "a")))
        thread.start()
        thread.join(PATIENCE_SECONDS)
        assert names(database) == {"a"}
    assert names(database) == {"a"}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not show what files are open")
def test_what_could_be_undone_is_kept_in_no_file(tmp_path: Path) -> None:
    """A savepoint keeps every page that is changed behind it, as it was; here, more than SQLite's buffer holds."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")
    with database.write() as connection:
        connection.execute(insert(settings), [{"name": str(number), "value": "x" * 3000} for number in range(40)])
    before = open_files()

    with database.together():
        database.run(lambda connection: connection.execute(update(settings).values(value="y" * 3000)))
        opened = open_files() - before

    assert not opened
    database.close()


def open_files() -> set[str]:
    """Return the files that this process has open, those without a name too."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add(str(descriptor.readlink()))
    return found


def test_something_is_read_once_in_a_block_and_anew_in_the_next(tmp_path: Path) -> None:
    """What is not there counts as read too; elsewhere everybody reads for himself."""
    database = Database(f"sqlite:///{tmp_path / 'nodus.db'}")

    def read() -> str | None:
        with database.read() as connection:
            return connection.execute(select(settings.c.name).where(settings.c.name == "a")).scalar()

    def put_elsewhere() -> None:
        thread = threading.Thread(target=lambda: database.run(lambda connection: put(connection, "a")))
        thread.start()
        thread.join(PATIENCE_SECONDS)

    with database.lent():
        assert database.once("a", read) is None
        put_elsewhere()
        assert database.once("a", read) is None
        assert read() == "a"
    assert database.once("a", read) == "a"
    for block in (database.lent, database.together):
        with block():
            assert database.once("a", read) == "a"
            assert database.once("b", lambda: "another") == "another"
    database.close()
