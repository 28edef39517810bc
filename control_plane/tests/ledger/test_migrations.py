"""Every database comes to the same tables, whichever way it came, and keeps what it holds."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from job_rows import row
from servers.engines import POSTGRESQL, SEALING_KEY, open_bare
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from sqlalchemy.exc import DatabaseError
from trust_ledger.history import key_of, make_history, submit

from nodus_control.testing import LocalControlPlane
from nodus_ledger import migrations
from nodus_ledger.database import dialects
from nodus_ledger.database.database import Database, UnusableDatabase
from nodus_ledger.database.rows import JOB_FIELDS, JobRecord
from nodus_ledger.database.sealing import KEY_VARIABLE
from nodus_ledger.database.webhook_schema import metadata
from nodus_ledger.trust import job_entries
from nodus_ledger.trust.log import Entry
from nodus_ledger.verification.verify import verify

PREVIOUS = migrations.REVISIONS[-2]


@pytest.fixture
def bare(empty_database_url: str) -> Iterator[Engine]:
    """A database without tables, below the control plane; every statement is its own transaction."""
    opened = open_bare(empty_database_url)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of today with everything in it."""
    path = tmp_path_factory.mktemp("history") / "nodus.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, SEALING_KEY)
        make_history(path)
    connection = sqlite3.connect(path)
    with connection:
        # What a job that has waited for budget was to cost is not in the tables of a version where none did.
        connection.execute(
            "UPDATE jobs SET estimated = NULL, reserved_at = (SELECT MAX(placed_at) FROM attempts "
            "WHERE job_id = jobs.id AND supplier <> '') WHERE estimated IS NOT NULL"
        )
    connection.close()
    return path


def bring_up(engine: Engine, to: str) -> None:
    """Bring a database up to a revision, by its migrations alone."""
    with engine.connect() as connection:
        for revision in migrations.REVISIONS[: migrations.REVISIONS.index(to) + 1]:
            migrations.bring_up(connection, sqlalchemy.MetaData(), to=revision)


def contents(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Read all tables, each sorted; how often a row was changed begins at nothing."""
    kept = {
        name: [column for column in table.columns if column.name != "changes"]
        for name, table in metadata.tables.items()
    }
    return {
        name: sorted((tuple(row) for row in connection.execute(sqlalchemy.select(*columns))), key=repr)
        for name, columns in kept.items()
    }


def description(connection: Connection) -> dict[str, Any]:
    """Describe all that makes a schema, but for the order of columns and the names of constraints."""
    found = inspect(connection)
    tables = {
        name: {
            "columns": sorted(
                (column["name"], repr(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(name)
            ),
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(one["column_names"] for one in found.get_unique_constraints(name)),
            "indexes": sorted(
                (str(one["name"]), one["column_names"], one["unique"], options_of(one))
                for one in found.get_indexes(name)
            ),
        }
        for name in found.get_table_names()
    }
    if connection.dialect.name == "sqlite":
        triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
        rowids = "SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%' ORDER BY name"
        return {"tables": tables, "triggers": rows(connection, triggers), "without rowid": rows(connection, rowids)}
    triggers = (
        "SELECT tgname, pg_get_triggerdef(oid), pg_get_functiondef(tgfoid) FROM pg_trigger "
        "WHERE NOT tgisinternal ORDER BY tgname"
    )
    storage = (
        "SELECT relname, reloptions FROM pg_class "
        "WHERE reloptions IS NOT NULL AND relnamespace = 'public'::regnamespace"
    )
    return {
        "tables": tables,
        "triggers": rows(connection, triggers),
        "storage": sorted((name, sorted(options)) for name, options in rows(connection, storage)),
    }


def options_of(index: ReflectedIndex) -> list[tuple[str, str]]:
    """Return what only this kind of database says of an index: which rows it holds."""
    return sorted((name, str(value)) for name, value in index.get("dialect_options", {}).items())


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    """Run a query; return its rows."""
    return [tuple(row) for row in connection.execute(text(query))]


def rows_for(name: str, older: sqlalchemy.Table) -> sqlalchemy.Select[Any]:
    """Return the query, on the tables of today, of what an older table of this name held."""
    found = [metadata.tables[name]]
    if name == "ledger_heads" and "size" in older.columns:
        found = [metadata.tables["ledger_states"]]
    if name == "api_keys" and "in_flight" in older.columns:
        found.append(metadata.tables["reservations"])
    query = sqlalchemy.select(*(column for table in found for column in table.columns if column.name in older.columns))
    return query.where(found[0].c.id == found[1].c.key_id) if len(found) == 2 else query


def copy_what_fits(source: Path, target: Engine) -> None:
    """Fill the tables of an older revision with the rows of a database of today, as far as they have its columns."""
    older = sqlalchemy.MetaData()
    older.reflect(target)
    original = sqlalchemy.create_engine(f"sqlite:///{source}")
    with original.connect() as reading, target.connect() as writing:
        for name, table in older.tables.items():
            if name == migrations.VERSION_TABLE:
                continue
            found = [dict(row) for row in reading.execute(rows_for(name, table)).mappings()]
            if found:
                writing.execute(table.insert(), found)
        if target.dialect.name == "postgresql":
            writing.execute(
                text(
                    "SELECT setval(pg_get_serial_sequence(table_name, column_name), 1000) "
                    "FROM information_schema.columns WHERE column_default LIKE 'nextval%'"
                )
            )
    original.dispose()


def test_the_revisions_are_those_that_alembic_finds() -> None:
    """In one line, the newest last."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert tuple(reversed(found)) == migrations.REVISIONS


@pytest.mark.both_engines
def test_migrations_from_nothing_lead_to_the_tables_of_today(
    bare: Engine, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same tables, indexes and triggers as a new database gets at once, and what the code works with.

    The first one of a process, and the ones after it.
    """
    monkeypatch.setattr(migrations, "_made", {})
    bring_up(bare, migrations.REVISIONS[-1])
    with bare.connect() as connection:
        migrated = description(connection)
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    made_at_once = []
    for _ in range(2):
        with bare.connect() as connection:
            for name in [*metadata.tables, migrations.VERSION_TABLE]:
                cascade = " CASCADE" if engine == POSTGRESQL else ""
                connection.execute(text(f'DROP TABLE "{name}"{cascade}'))
        Database(bare.url.render_as_string(hide_password=False)).close()
        with bare.connect() as connection:
            made_at_once.append(description(connection))

    assert differences == []
    assert made_at_once == [migrated, migrated]


@pytest.mark.both_engines
def test_the_previous_revision_is_migrated_with_all_it_holds(
    bare: Engine, empty_database_url: str, history: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not a value is lost, what is new is filled in, the ledger verifies, its triggers hold, and life goes on."""
    monkeypatch.setenv(KEY_VARIABLE, SEALING_KEY)
    bring_up(bare, PREVIOUS)
    copy_what_fits(history, bare)
    database = Database(empty_database_url)
    with database.read() as connection:
        migrated = contents(connection)
    report = verify(database)
    for statement in ("UPDATE ledger SET kind = 'other'", "DELETE FROM ledger_heads", "DELETE FROM ledger_nodes"):
        with pytest.raises(DatabaseError, match="append-only"), database.write() as connection:
            connection.execute(text(statement))
    database.close()
    original = Database(f"sqlite:///{shutil.copyfile(history, tmp_path / 'original.db')}")
    with original.read() as connection:
        expected = contents(connection)
    original.close()

    assert migrated == expected
    assert report.is_sound
    assert report.rows > 100
    with LocalControlPlane(database=empty_database_url, serve=False) as control_plane:
        submit(control_plane, key_of(control_plane, control_plane.api_key), 10_000)
        control_plane.advance(3600)
        assert verify(control_plane.plane.database).is_sound


@pytest.mark.both_engines
def test_who_had_all_suppliers_keeps_those_that_had_their_jobs(bare: Engine, empty_database_url: str) -> None:
    """Whoever comes first has the others."""
    bring_up(bare, "0010")
    with bare.connect() as connection:
        for number, (customer, supplier) in enumerate([("acme", "desk"), ("bank", "lab"), ("acme", "desk")]):
            values = {**row(number), "customer_id": customer}
            connection.execute(insert_into("jobs", values), values)
            attempt = {"job_id": values["id"], "attempt": 1, "supplier": supplier, "region": "here", "rate": 1}
            attempt = {**attempt, "placed_at": 0, "decision": "{}", "outcome": "completed"}
            connection.execute(insert_into("attempts", attempt), attempt)
        connection.execute(text("INSERT INTO settings (name, value) VALUES ('sole customer', 'acme')"))
    database = Database(empty_database_url)
    with database.read() as connection:
        owners = rows(connection, "SELECT supplier, customer_id FROM owners")
        settings = rows(connection, "SELECT value FROM settings WHERE name = 'sole customer'")
    database.close()

    assert (owners, settings) == ([("desk", "acme")], [])


def insert_into(table: str, values: Mapping[str, Any]) -> sqlalchemy.TextClause:
    """Make the statement that writes a row with these columns."""
    return text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(f':{name}' for name in values)})")


@pytest.fixture
def history_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database whose ledger does not say yet what is simulated."""

    def as_before(entry_of: Callable[..., Entry]) -> Callable[..., Entry]:
        def made(*given: Any) -> Entry:
            entry = entry_of(*given)
            return replace(entry, payload={name: value for name, value in entry.payload.items() if name != "simulated"})

        return made

    monkeypatch.setenv(KEY_VARIABLE, SEALING_KEY)
    with monkeypatch.context() as patch:
        for name in ("submitted", "_about"):
            patch.setattr(job_entries, name, as_before(getattr(job_entries, name)))
        make_history(tmp_path / "before.db")
    return tmp_path / "before.db"


@pytest.mark.both_engines
def test_jobs_of_before_count_as_simulated(bare: Engine, empty_database_url: str, history_of_before: Path) -> None:
    """None of them is billed any more, what was billed stays as it is, the ledger verifies, and open ones go on."""
    bring_up(bare, "0002")
    copy_what_fits(history_of_before, bare)
    with bare.connect() as connection:
        connection.execute(text("UPDATE meter_events SET livemode = true"))
        exported = connection.execute(text("SELECT MIN(identifier) FROM meter_events")).scalar()
        connection.execute(text(f"UPDATE meter_events SET exported_at = 1 WHERE identifier = '{exported}'"))
    database = Database(empty_database_url)
    with database.write() as connection:
        live = list(connection.execute(text("SELECT identifier FROM meter_events WHERE livemode")).scalars())
        connection.execute(text("UPDATE meter_events SET livemode = false"))
    with database.read() as connection:
        found = {JobRecord(*row).is_simulated for row in connection.execute(sqlalchemy.select(*JOB_FIELDS))}
    report = verify(database)
    database.close()
    with LocalControlPlane(database=empty_database_url, serve=False) as control_plane:
        control_plane.advance(3600)
        statuses = {job.status for job in control_plane.plane.jobs.list("playground", limit=200).jobs}
        assert verify(control_plane.plane.database).is_sound

    assert live == [exported]
    assert found == {True}
    assert report.is_sound, report
    assert statuses <= {"completed", "failed", "cancelled"}


@pytest.mark.both_engines
def test_tables_from_before_there_were_revisions_are_the_first(bare: Engine, empty_database_url: str) -> None:
    """They are migrated like those."""
    bring_up(bare, migrations.REVISIONS[0])
    with bare.connect() as connection:
        connection.execute(text(f"DROP TABLE {migrations.VERSION_TABLE}"))
    Database(empty_database_url).close()

    with bare.connect() as connection:
        assert migrations.revision_of(connection) == migrations.REVISIONS[-1]
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.both_engines
def test_a_database_that_a_newer_version_migrated_is_refused(bare: Engine, empty_database_url: str) -> None:
    """Nothing is done to it, and the message says what to do."""
    Database(empty_database_url).close()
    with bare.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(UnusableDatabase, match="at revision 9999, and this nodus-control-plane knows them up to"):
        Database(empty_database_url)


@pytest.mark.both_engines
@pytest.mark.parametrize("begin", ["empty", "previous"])
def test_of_several_that_start_at_once_one_migrates(bare: Engine, empty_database_url: str, begin: str) -> None:
    """The others wait for it and find the work done."""
    if begin == "previous":
        bring_up(bare, PREVIOUS)
    ready = threading.Barrier(6)
    opened: list[Database] = []

    def start() -> None:
        ready.wait()
        opened.append(Database(empty_database_url))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in opened:
        database.close()

    assert len(opened) == 6
    with bare.connect() as connection:
        assert migrations.revision_of(connection) == migrations.REVISIONS[-1]


def test_a_file_that_another_opens_just_now_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself may not wait when it turns to its write-ahead log."""
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None)
    impatient = sqlite3.connect(path, timeout=0)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(time, "sleep", lambda seconds: other.execute("COMMIT"))
    dialects._configure_sqlite(impatient, None)
    modes = impatient.execute("PRAGMA journal_mode").fetchall()
    other.close()
    impatient.close()

    assert modes == [("wal",)]


@pytest.mark.both_engines
def test_a_migration_that_fails_leaves_the_database_as_it_was(bare: Engine, empty_database_url: str) -> None:
    """All of it is one transaction."""
    bring_up(bare, migrations.REVISIONS[0])
    with bare.connect() as connection:
        # In the way of a table that the second revision makes.
        connection.execute(text("CREATE TABLE signature_uses (only_column INTEGER)"))
        before = description(connection)
    with pytest.raises(UnusableDatabase, match="signature_uses"):
        Database(empty_database_url)

    with bare.connect() as connection:
        assert description(connection) == before
        assert migrations.revision_of(connection) == migrations.REVISIONS[0]


def test_alembic_is_not_loaded_where_there_is_nothing_to_migrate(tmp_path: Path) -> None:
    """A playground in memory, a new file and one that is up to date start without it."""
    program = (
        "import sys; from nodus_ledger.database.database import Database\n"
        "for url in ('sqlite://', sys.argv[1], sys.argv[1]): Database(url).close()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program, f"sqlite:///{tmp_path / 'nodus.db'}"], check=False)

    assert ended.returncode == 0


@pytest.mark.both_engines
def test_meter_events_of_before_are_what_they_were(bare: Engine, empty_database_url: str) -> None:
    """What an exporter had is delivered, what it had not is pending, with its amount; zero is nothing to send."""
    bring_up(bare, "0012")
    insertion = text(
        "INSERT INTO meter_events (identifier, customer_id, event_name, timestamp, livemode, payload, exported_at) "
        "VALUES (:identifier, 'acme', 'nodus_spend_micro_usd', 1, true, :payload, :exported_at)"
    )
    with bare.connect() as connection:
        for identifier, value, exported_at in (("job_1", 5, 7), ("job_2", 6, None), ("job_3", 0, None)):
            payload = f'{{"stripe_customer_id":"acme","value":"{value}"}}'
            connection.execute(insertion, {"identifier": identifier, "payload": payload, "exported_at": exported_at})
    database = Database(empty_database_url)
    with database.read() as connection:
        found = connection.execute(text("SELECT identifier, value, state FROM meter_events ORDER BY identifier")).all()
    database.close()

    assert [tuple(row) for row in found] == [
        ("job_1", 5, "delivered"),
        ("job_2", 6, "pending"),
        ("job_3", 0, "nothing"),
    ]
