"""Which errors of a database mean that it cannot be used right now, and which mean that something is wrong here.

A server that restarts, fails over or is full, a disk that is full or read-only, a lock that another holds for too long:
none of them is a mistake of this program, all pass, and whoever asked can ask again. Everything else is a defect, and
stays the exception that it is.
"""

from __future__ import annotations

import sqlalchemy.exc

READ_ONLY = "25006"
"""PostgreSQL's SQLSTATE for a write that reaches a server which only reads: a primary that has been demoted."""

CONFLICTS = frozenset({"40001", "40P01"})
"""A serialization failure and a deadlock: the transaction is undone, and may succeed when it runs again."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CLASSES = (
    "08",  # the connection failed
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "57P",  # the server shuts down, crashed, or starts
    "58",  # errors of the system beneath it: input and output
)
_STATES = frozenset(
    {
        READ_ONLY,
        "25P03",  # idle_in_transaction_session_timeout
        "55P03",  # lock_timeout
        "57014",  # statement_timeout
        *CONFLICTS,
    }
)
# https://www.sqlite.org/rescode.html: the texts of the primary codes, which every version of Python passes on.
_SQLITE = (
    "attempt to write a readonly database",
    "database is locked",
    "database or disk is full",
    "database table is locked",
    "disk I/O error",
    "locking protocol",
    "out of memory",
    "unable to open database file",
)
_UNKNOWN_OUTCOME = ("disk I/O error",)


def sqlstate_of(exc: BaseException | None) -> str | None:
    """Return PostgreSQL's code for an error; None where it gave none, and for SQLite's."""
    found: str | None = getattr(getattr(exc, "orig", None), "sqlstate", None)
    return found


def is_passing(exc: sqlalchemy.exc.SQLAlchemyError) -> bool:
    """Say whether an error means only that the database cannot be used right now."""
    if isinstance(exc, sqlalchemy.exc.TimeoutError):
        return True  # no connection became free
    if not isinstance(exc, sqlalchemy.exc.DBAPIError):
        return False
    state = sqlstate_of(exc)
    if state is not None:
        return state in _STATES or state.startswith(_CLASSES)
    if exc.connection_invalidated:
        return True
    if type(exc.orig).__module__.startswith("sqlite3"):
        return str(exc.orig).startswith(_SQLITE)
    # psycopg's own words, not the server's: it could not connect, or the connection broke.
    return isinstance(exc, (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError))


def may_have_committed(exc: sqlalchemy.exc.DBAPIError) -> bool:
    """Say whether a COMMIT that failed like this may have been carried out all the same."""
    if exc.connection_invalidated:
        return True
    return sqlstate_of(exc) is None and str(exc.orig).startswith(_UNKNOWN_OUTCOME)
