"""Pieces of a transaction that succeed or fail by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from .prepared import run_as_written

_Result = TypeVar("_Result")


def alone(connection: Connection, work: Callable[[Connection], _Result]) -> _Result:
    """Do one piece of work in the present transaction; what it raises undoes its own statements alone.

    Args:
        connection: with an open transaction, which may be in a savepoint already.
        work: what to do.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the piece, or undoing it, failed in the database; the transaction may be lost.
    """
    run_as_written(connection, "SAVEPOINT alone")
    try:
        result = work(connection)
    except Exception:
        run_as_written(connection, "ROLLBACK TO alone")
        run_as_written(connection, "RELEASE alone")
        raise
    run_as_written(connection, "RELEASE alone")
    return result
