"""Statements that every request runs, written out once: on SQLite building them again costs more than running them.

They are SQLAlchemy's all the same, which compiles them, says how each column becomes a Python value, and lends the
connection. Only its walk through a statement at each execution is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy.exc
from sqlalchemy import Dialect, Select
from sqlalchemy.pool import PoolProxiedConnection


@dataclass(frozen=True, slots=True)
class _Written:
    """A statement as SQLite takes it: its text, the names of its parameters in order, and what columns go through."""

    text: str
    names: tuple[str, ...]
    conversions: tuple[tuple[int, Callable[[Any], Any]], ...]


class Prepared:
    """A query for one row, whose parameters are strings, numbers or bytes."""

    def __init__(self, query: Select[Any]) -> None:
        self.query = query
        self._written: _Written | None = None

    def first(
        self, dialect: Dialect, connection: PoolProxiedConnection, parameters: Mapping[str, str | int | bytes]
    ) -> Sequence[Any] | None:
        """Run it on a connection to SQLite; return the first row, or None.

        Raises:
            sqlalchemy.exc.DBAPIError: as if SQLAlchemy had run it.
        """
        written = self._written
        if written is None:
            written = self._written = _write_out(self.query, dialect)
        cursor = connection.cursor()
        try:
            cursor.execute(written.text, [parameters[name] for name in written.names])
            row = cursor.fetchone()
        except dialect.loaded_dbapi.Error as exc:
            raise _error_of(written.text, exc) from exc
        finally:
            # A cursor that is left open keeps its snapshot, and the log behind it.
            cursor.close()
        if row is None:
            return None
        values = list(row)
        for position, convert in written.conversions:
            values[position] = convert(values[position])
        return values


def _write_out(query: Select[Any], dialect: Dialect) -> _Written:
    compiled = query.compile(dialect=dialect)
    conversions = []
    for position, column in enumerate(query.selected_columns):
        convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
        if convert is not None:
            conversions.append((position, convert))
    names: Sequence[str] = getattr(compiled, "positiontup", None) or ()
    return _Written(str(compiled), tuple(names), tuple(conversions))


def _error_of(text: str, exc: BaseException) -> sqlalchemy.exc.DBAPIError:
    """Return SQLAlchemy's counterpart of a driver's error, which has the same name."""
    kind = getattr(sqlalchemy.exc, type(exc).__name__, sqlalchemy.exc.DBAPIError)
    error: sqlalchemy.exc.DBAPIError = kind(text, None, exc, hide_parameters=True)
    return error
