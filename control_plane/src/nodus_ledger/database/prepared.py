"""Statements that every request runs, written out once: on SQLite building them again costs more than running them.

They are SQLAlchemy's all the same, which compiles them, says how each column becomes a Python value, and lends the
connection. Only its walk through a statement at each execution is left out. PostgreSQL runs them as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import sqlalchemy.exc
from sqlalchemy import Connection, Dialect, Insert, Select, Update
from sqlalchemy.pool import PoolProxiedConnection

if TYPE_CHECKING:
    from typing_extensions import Unpack

Parameters: TypeAlias = Mapping[str, str | int | bytes | None]

_Result = TypeVar("_Result")

_FIRST = methodcaller("fetchone")
_ALL = methodcaller("fetchall")
_COUNT: Callable[[Any], int] = attrgetter("rowcount")
_KEY: Callable[[Any], int] = attrgetter("lastrowid")


@dataclass(frozen=True, slots=True)
class _Written:
    """A statement as SQLite takes it.

    Attributes:
        text: with a mark for each parameter.
        names: of the parameters, in the order of the marks.
        own: those that the statement brings along, such as the number in a LIMIT.
        given: how many others there are.
        conversions: the columns of a row that become another value, and how.
    """

    text: str
    names: tuple[str, ...]
    own: Mapping[str, Any]
    given: int
    conversions: tuple[tuple[int, Callable[[Any], Any]], ...]

    def values(self, parameters: Parameters) -> Sequence[Any]:
        """Put the parameters in order."""
        if len(parameters) != self.given:
            raise ValueError("a prepared statement always takes the same parameters")
        own = self.own
        if own:
            return [own[name] if name in own else parameters[name] for name in self.names]
        return [parameters[name] for name in self.names]

    def read(self, row: Sequence[Any]) -> Sequence[Any]:
        """Return a row as SQLAlchemy reads it."""
        if not self.conversions:
            return row
        values = list(row)
        for position, convert in self.conversions:
            values[position] = convert(values[position])
        return values


class Prepared:
    """A statement whose parameters are strings, numbers, bytes or None, and have the same names at every time.

    Those of an INSERT are named like the columns that it fills.
    """

    def __init__(self, statement: Select[Unpack[tuple[Any, ...]]] | Insert | Update) -> None:
        self._statement = statement
        self._written: _Written | None = None

    def first(self, connection: Connection, parameters: Parameters) -> Sequence[Any] | None:
        """Run a query; return its first row, or None.

        Raises:
            sqlalchemy.exc.DBAPIError: as if SQLAlchemy had run it. So do the others.
        """
        if not _is_sqlite(connection):
            return connection.execute(self._statement, parameters).first()
        return self.first_of_lent(connection.dialect, connection.connection, parameters)

    def first_of_lent(
        self, dialect: Dialect, lent: PoolProxiedConnection, parameters: Parameters
    ) -> Sequence[Any] | None:
        """Do that on a connection to SQLite that was taken from the pool as it is."""
        written = self._written_out(dialect, parameters)
        row = _execute(dialect, lent, written, parameters, _FIRST)
        return None if row is None else written.read(row)

    def all(self, connection: Connection, parameters: Parameters) -> Sequence[Sequence[Any]]:
        """Run a query; return all its rows."""
        if not _is_sqlite(connection):
            return connection.execute(self._statement, parameters).all()
        written = self._written_out(connection.dialect, parameters)
        return [
            written.read(row) for row in _execute(connection.dialect, connection.connection, written, parameters, _ALL)
        ]

    def change(self, connection: Connection, parameters: Parameters) -> int:
        """Run an INSERT or UPDATE; return how many rows it wrote."""
        if not _is_sqlite(connection):
            return connection.execute(self._statement, parameters).rowcount
        written = self._written_out(connection.dialect, parameters)
        return _execute(connection.dialect, connection.connection, written, parameters, _COUNT)

    def insert(self, connection: Connection, parameters: Parameters) -> int:
        """Run an INSERT of a row whose key is a number that the database gives it; return that."""
        if not _is_sqlite(connection):
            key = connection.execute(self._statement, parameters).inserted_primary_key
            assert key is not None
            return int(key[0])
        written = self._written_out(connection.dialect, parameters)
        return _execute(connection.dialect, connection.connection, written, parameters, _KEY)

    def change_each(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Run an INSERT or UPDATE once for every set of parameters."""
        if not _is_sqlite(connection):
            connection.execute(self._statement, rows)
            return
        for row in rows:
            self.change(connection, row)

    def _written_out(self, dialect: Dialect, parameters: Parameters) -> _Written:
        if self._written is None:
            self._written = _write_out(self._statement, dialect, parameters)
        return self._written


def run_as_written(connection: Connection, statement: str) -> None:
    """Run a statement that takes no parameters and returns no rows.

    Raises:
        sqlalchemy.exc.DBAPIError: as if SQLAlchemy had run it.
    """
    if not _is_sqlite(connection):
        connection.exec_driver_sql(statement)
        return
    _execute(connection.dialect, connection.connection, _Written(statement, (), {}, 0, ()), {}, _COUNT)


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def _execute(
    dialect: Dialect,
    lent: PoolProxiedConnection,
    written: _Written,
    parameters: Parameters,
    take: Callable[[Any], _Result],
) -> _Result:
    driver: Any = lent.driver_connection
    try:
        cursor = driver.execute(written.text, written.values(parameters))
    except dialect.loaded_dbapi.Error as exc:
        raise _error_of(written.text, exc) from exc
    try:
        return take(cursor)
    except dialect.loaded_dbapi.Error as exc:
        raise _error_of(written.text, exc) from exc
    finally:
        # A cursor that is left open keeps its snapshot, and the log behind it.
        cursor.close()


def _write_out(
    statement: Select[Unpack[tuple[Any, ...]]] | Insert | Update, dialect: Dialect, parameters: Parameters
) -> _Written:
    compiled = statement.compile(dialect=dialect, column_keys=list(parameters) if statement.is_insert else None)
    conversions = []
    if isinstance(statement, Select):
        for position, column in enumerate(statement.selected_columns):
            convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if convert is not None:
                conversions.append((position, convert))
    names: Sequence[str] = getattr(compiled, "positiontup", None) or ()
    own = {name: compiled.params[name] for name in names if name not in parameters}
    if None in own.values() or not parameters.keys() <= set(names):
        raise ValueError(f"a prepared statement takes {sorted(names)}, and was given {sorted(parameters)}")
    return _Written(str(compiled), tuple(names), own, len(parameters), tuple(conversions))


def _error_of(text: str, exc: BaseException) -> sqlalchemy.exc.DBAPIError:
    """Return SQLAlchemy's counterpart of a driver's error, which has the same name."""
    kind = getattr(sqlalchemy.exc, type(exc).__name__, sqlalchemy.exc.DBAPIError)
    error: sqlalchemy.exc.DBAPIError = kind(text, None, exc, hide_parameters=True)
    return error
