"""Which errors of a database pass by themselves, and which are defects."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
import sqlalchemy.exc

from nodus_ledger.database.conditions import is_passing, may_have_committed, sqlstate_of


class _Said(psycopg.Error):
    """An error that the server sent, with a code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.sqlstate = code


def of_server(code: str, *, is_lost: bool = False) -> sqlalchemy.exc.DBAPIError:
    """Make the exception of a code of PostgreSQL."""
    return sqlalchemy.exc.DBAPIError("SELECT 1", None, _Said(code), connection_invalidated=is_lost)


def of_sqlite(message: str) -> sqlalchemy.exc.DBAPIError:
    """Make the exception of a message of SQLite."""
    return sqlalchemy.exc.OperationalError("SELECT 1", None, sqlite3.OperationalError(message))


@pytest.mark.parametrize(
    "code",
    [
        "25006",
        "53100",
        "53200",
        "53300",
        "57014",
        "57P01",
        "57P02",
        "57P03",
        "55P03",
        "08006",
        "08001",
        "58030",
        "25P03",
        "40001",
        "40P01",
    ],
)
def test_what_a_server_says_when_it_cannot_now_passes(code: str) -> None:
    """Read-only, full, shutting down, out of time, in conflict: nothing is wrong with what was asked."""
    assert is_passing(of_server(code))


@pytest.mark.parametrize("code", ["23505", "42P01", "42601", "22P02", "XX000", "P0001", "0A000", "57000", "28P01"])
def test_what_a_server_says_of_a_mistake_does_not(code: str) -> None:
    """A constraint, a missing table, bad syntax, a trigger: asking again changes nothing."""
    assert not is_passing(of_server(code))


@pytest.mark.parametrize(
    "message",
    [
        "database or disk is full",
        "attempt to write a readonly database",
        "disk I/O error",
        "database is locked",
        "database table is locked: jobs",
        "unable to open database file",
    ],
)
def test_what_sqlite_says_when_it_cannot_now_passes(message: str) -> None:
    """By the texts of its result codes, since not every Python tells the codes."""
    assert is_passing(of_sqlite(message))


@pytest.mark.parametrize("message", ["no such table: jobs", 'near "SELEC": syntax error', "too many SQL variables"])
def test_what_sqlite_says_of_a_mistake_does_not(message: str) -> None:
    """However much it is an operational error."""
    assert not is_passing(of_sqlite(message))


def test_what_the_client_says_of_a_broken_connection_passes() -> None:
    """The server had no part in it, so there is no code."""
    broken = psycopg.OperationalError("server closed the connection unexpectedly")

    assert is_passing(sqlalchemy.exc.OperationalError("SELECT 1", None, broken))
    assert is_passing(sqlalchemy.exc.TimeoutError("no connection became free"))
    assert not is_passing(sqlalchemy.exc.InvalidRequestError("a defect"))
    assert not is_passing(sqlalchemy.exc.ProgrammingError("SELECT 1", None, psycopg.ProgrammingError("a defect")))


def test_only_a_commit_whose_answer_was_lost_may_have_been_carried_out() -> None:
    """A server that refuses has not committed; nor has a SQLite that found no room."""
    assert may_have_committed(of_server("57P01", is_lost=True))
    assert may_have_committed(of_sqlite("disk I/O error"))
    assert not may_have_committed(of_server("53100"))
    assert not may_have_committed(of_sqlite("database or disk is full"))


def test_sqlite_gives_no_code() -> None:
    """Nor does anything that is no error of a database."""
    assert sqlstate_of(of_server("25006")) == "25006"
    assert sqlstate_of(of_sqlite("database is locked")) is None
    assert sqlstate_of(ValueError()) is None
