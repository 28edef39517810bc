"""The options that every command has, and opening what they name: the database, Redis, and the keys in both."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..database.database import DATABASE_VARIABLE, Database
from ..database.dialects import parse
from ..database.redis_store import REDIS_VARIABLE, RedisStore
from ..database.sealing import KEY_VARIABLE, sealer_for
from ..database.settings import Settings
from ..keys.keys import Keys
from ..keys.signing_secrets import SigningSecrets
from ..trust.row_times import RowTimes


class NoDatabase(Exception):
    """No database was named, or there is none of that name."""


@dataclass(frozen=True)
class OpenedKeys:
    """The keys of a database, and what time it is there, in Unix milliseconds."""

    keys: Keys
    now: int
    real_now: int


def add_common_options(command: argparse.ArgumentParser) -> None:
    """Add `--db`, `--redis` and `--json`."""
    command.add_argument("--db", metavar="URL", help=f"the database; {DATABASE_VARIABLE} by default")
    command.add_argument(
        "--redis", metavar="URL", help=f"where signing secrets are kept; {REDIS_VARIABLE} by default, else the database"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def database_url(options: argparse.Namespace) -> str:
    """Return the URL of the database that was named.

    Raises:
        NoDatabase: none was.
    """
    url: str = options.db or os.environ.get(DATABASE_VARIABLE, "")
    if not url:
        raise NoDatabase(f"no database: give --db URL, or set {DATABASE_VARIABLE}")
    return url


@contextmanager
def existing_database(options: argparse.Namespace) -> Iterator[Database]:
    """Open the database that was named, which must be there already: nothing is looked for in an empty one.

    Raises:
        NoDatabase: none was named, or there is no such file.
        UnusableDatabase: it cannot be opened.
    """
    url = database_url(options)
    file = _file_of(url)
    if file is not None and not file.exists():
        raise NoDatabase(f"there is no database at {file}")
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def existing_keys(options: argparse.Namespace) -> Iterator[OpenedKeys]:
    """Open the keys of the database that was named, which must be there already.

    Raises:
        NoDatabase: none was named, or there is no such file.
        UnusableDatabase, UnusableKey, UnusableRedis: it, its sealing key or Redis cannot be used.
    """
    with existing_database(options) as database, _open_keys(options, database) as opened:
        yield opened


@contextmanager
def new_or_existing_keys(options: argparse.Namespace) -> Iterator[OpenedKeys]:
    """Open the keys of the database that was named; a file that is not there yet is made.

    Raises:
        NoDatabase: none was named, or one in memory, which would end with the command.
        UnusableDatabase, UnusableKey, UnusableRedis: it, its sealing key or Redis cannot be used.
    """
    url = database_url(options)
    _file_of(url)
    database = Database(url)
    try:
        with _open_keys(options, database) as opened:
            yield opened
    finally:
        database.close()


@contextmanager
def _open_keys(options: argparse.Namespace, database: Database) -> Iterator[OpenedKeys]:
    sealer = sealer_for(database, os.environ.get(KEY_VARIABLE))
    Settings(database).require_key(sealer)
    redis_url = options.redis or os.environ.get(REDIS_VARIABLE)
    redis = RedisStore(redis_url) if redis_url else None
    real_now = _real_now(database)
    # A clock that once ran ahead of real time does not go back.
    now = max(present(database), RowTimes(database).latest_event_ms() or 0)
    try:
        yield OpenedKeys(Keys(database, SigningSecrets(sealer, redis)), now, real_now)
    finally:
        if redis is not None:
            redis.close()


def present(database: Database) -> int:
    """Return what the control plane's clock says now, in Unix milliseconds: real time, unless it was left before."""
    return _real_now(database) + Settings(database).clock_offset_ms()


def _real_now(database: Database) -> int:
    server_time = database.server_time()
    return int((time.time() if server_time is None else server_time) * 1000)


def _file_of(url: str) -> Path | None:
    """Return the file of an SQLite database; None for a database that is a server's.

    Raises:
        NoDatabase: it would be in memory.
        UnusableDatabase: this is not the URL of a database that is supported.
    """
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise NoDatabase("a database in memory would be empty: name a file, such as sqlite:///nodus.db")
    return Path(parsed.database)
