"""The revisions of the schema, and bringing a database up to the newest.

What is stored is Alembic's: its version table, and a file for each revision. Alembic itself is loaded only where there
is something to migrate: a database that is up to date is recognised by one query, and one that has no tables yet gets
them as they are now (that this is the same, a test holds).
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, MetaData, event, inspect, text

_HERE = Path(__file__).parent

REVISIONS = tuple(sorted(path.name[1:5] for path in _HERE.glob("versions/r[0-9][0-9][0-9][0-9]_*.py")))
"""All of them, the oldest first: their files begin with their numbers."""

VERSION_TABLE = "alembic_version"

_FIRST, _NEWEST = REVISIONS[0], REVISIONS[-1]
_SOME_TABLE = "jobs"

_made: dict[tuple[MetaData, str], tuple[str, ...]] = {}
"""What has made the tables of a schema in this process, by the kind of database: compiling that takes longer."""


class NewerSchema(Exception):
    """The database is at a revision that this version does not know; the message says so, and what to do."""


def revision_of(connection: Connection) -> str | None:
    """Read which revision a database is at; None for one without tables, or from before there were revisions."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def is_newest(connection: Connection) -> bool:
    """Say whether there is nothing to do."""
    return revision_of(connection) == _NEWEST


def bring_up(connection: Connection, metadata: MetaData, *, to: str = _NEWEST) -> None:
    """Make the tables of an empty database, or migrate one that is older, inside the caller's transaction.

    The caller lets nobody else do it at the same time. `to` is the revision to stop at, for tests.

    Raises:
        NewerSchema: another version of this package has migrated the database already.
    """
    present = revision_of(connection)
    if present is None and not inspect(connection).has_table(_SOME_TABLE):
        if to == _NEWEST:
            _make_tables(connection, metadata)
            stamp(connection, _NEWEST)
            return
    elif present is None:
        stamp(connection, _FIRST)
    elif present not in REVISIONS:
        raise NewerSchema(
            f"its tables are at revision {present}, and this nodus-control-plane knows them up to {_NEWEST}: "
            "use the version that migrated them, or a newer one"
        )
    _upgrade(connection, to)


def stamp(connection: Connection, revision: str) -> None:
    """Write which revision a database is at that has no version table yet."""
    connection.execute(
        text(
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
            f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES (:revision)"), {"revision": revision})


def _make_tables(connection: Connection, metadata: MetaData) -> None:
    """Make all tables, with their indexes and triggers, in a database that has none."""
    key = metadata, connection.dialect.name
    if (statements := _made.get(key)) is not None:
        for statement in statements:
            connection.exec_driver_sql(statement)
        return
    noted: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        noted.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    try:
        metadata.create_all(connection, checkfirst=False)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    _made[key] = tuple(noted)


def _upgrade(connection: Connection, to: str) -> None:
    # Here, because it takes as long to load as everything else together.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
