"""The options that every command has, and the database that they name."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ..database import Database, UnusableDatabase

DATABASE_VARIABLE = "NODUS_DATABASE_URL"


class NoDatabase(Exception):
    """No database was named, or there is none of that name."""


def add_common_options(command: argparse.ArgumentParser) -> None:
    """Add `--db` and `--json`."""
    command.add_argument("--db", metavar="URL", help=f"the database; else {DATABASE_VARIABLE}")
    command.add_argument("--json", action="store_true", help="print JSON")


def database_url(options: argparse.Namespace) -> str:
    """Give the URL of the database that was named.

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
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise UnusableDatabase("the database must be given as a URL, such as sqlite:///nodus.db") from exc
    is_file = parsed.get_backend_name() == "sqlite"
    if is_file and not (parsed.database and Path(parsed.database).exists()):
        raise NoDatabase(f"there is no database at {parsed.render_as_string()}")
    database = Database(url)
    try:
        yield database
    finally:
        database.close()
