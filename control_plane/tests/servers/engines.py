"""The databases that tests run on: SQLite by default, and both engines where a module is marked `both_engines`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from patience import PATIENCE_SECONDS
from psycopg import sql
from sqlalchemy import Engine, event

from nodus_ledger.database import database as databases
from nodus_ledger.database import dialects
from nodus_ledger.database.database import Database
from nodus_ledger.database.sealing import KEY_VARIABLE
from nodus_ledger.database.webhook_schema import metadata

from .postgresql import PostgresServer

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
ENGINES = (SQLITE, POSTGRESQL)
SEALING_KEY = base64.b64encode(bytes(range(32))).decode()
"""What tests on PostgreSQL seal with."""


_PATIENT_MS = round(PATIENCE_SECONDS * 1000)
_PATIENT = {
    "LOCK_SECONDS": int(PATIENCE_SECONDS),
    "STATEMENT_SECONDS": int(PATIENCE_SECONDS),
    "USUAL": dialects.Limits(_PATIENT_MS, _PATIENT_MS),
    "THOROUGH": dialects.Limits(_PATIENT_MS, 0),
    "SYNCHRONOUS": "OFF",
    "_POSTGRESQL_PARAMETERS": {**dialects._POSTGRESQL_PARAMETERS, "connect_timeout": str(round(PATIENCE_SECONDS))},
}
_USUAL = {name: getattr(dialects, name) for name in _PATIENT}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `both_engines` on each of them."""
    if "engine" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_engines") is not None:
        metafunc.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The kind of database that a test runs on."""
    chosen: str = getattr(request, "param", SQLITE)
    return chosen


def be_patient() -> None:
    """Let whoever waits for a lock or a connection in this process do so for as long as a test may wait.

    And for the disk not at all, as with the PostgreSQL of the tests: they kill processes, never the machine.
    """
    _limit(_PATIENT)


@pytest.fixture(scope="session", autouse=True)
def patient_databases() -> None:
    """Nothing in this process gives up on a database because the machine is busy: tests would fail by it."""
    be_patient()


@pytest.fixture
def usual_limits() -> Iterator[None]:
    """For tests of how long is waited: as it is outside of tests."""
    _limit(_USUAL)
    yield
    _limit(_PATIENT)


def open_bare(url: str) -> Engine:
    """Open a database below the control plane: every statement is its own transaction, and waits for no disk."""
    opened = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    if opened.dialect.name == SQLITE:
        event.listen(opened, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous = OFF"))
    return opened


def _limit(values: dict[str, object]) -> None:
    for module in (dialects, databases):
        for name in values.keys() & vars(module).keys():
            setattr(module, name, values[name])


@pytest.fixture(scope="session")
def postgres_shared(postgres_server: PostgresServer) -> str:
    """The name of a database that has the tables, for one test after the other."""
    name = postgres_server.create_database()
    Database(postgres_server.url(name)).close()
    return name


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database that holds nothing: in memory, or on PostgreSQL, where a test may open it several times."""
    if engine == SQLITE:
        yield "sqlite://"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    monkeypatch.setenv(KEY_VARIABLE, SEALING_KEY)
    name = request.getfixturevalue("postgres_shared")
    yield server.url(name)
    _empty(server, name)


@pytest.fixture
def empty_database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that has no tables yet, in a file or on PostgreSQL."""
    if engine == SQLITE:
        return f"sqlite:///{tmp_path / 'empty.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def kept_database_url(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same, in a file and not in memory: for tests that open it several times, or from several processes."""
    if database_url != "sqlite://":
        return database_url
    return f"sqlite:///{tmp_path_factory.mktemp('database') / 'nodus.db'}"


def _empty(server: PostgresServer, name: str) -> None:
    """Take out what a test wrote, past the triggers, and begin to count anew: sooner done than another database."""
    with server.connect(name) as connection:
        connection.execute(
            # And wait until each is over: what it has begun might be written after this.
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            [round(PATIENCE_SECONDS * 1000)],
        )
        connection.execute("SET session_replication_role = replica")
        for table in metadata.tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        connection.execute("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'")
