"""Changing single cells and rows of the ledger on either database, below the triggers, and putting them back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, insert, select, update

from nodus_ledger.database.database import Database
from nodus_ledger.database.trust_schema import SQLITE_TRIGGERS, checkpoints, heads, ledger, nodes, states
from nodus_ledger.verification.verify import Report, verify

TABLES = (ledger, heads, states, nodes, checkpoints)

RowValues = Mapping[str, Any]


class Spoiler:
    """Spoils one thing at a time in a database that is sound, has it verified, and repairs it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        if not database.is_server:
            with database.write() as connection:
                for name in SQLITE_TRIGGERS:
                    connection.exec_driver_sql(f"DROP TRIGGER {name}")

    def rows(self, table: Table) -> list[RowValues]:
        """Return the rows of a table, in the order of its key."""
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]

    def typical_rows(self) -> list[tuple[Table, RowValues]]:
        """Return the log's first row of every kind, and its last, for every log; all rows of the other tables."""
        found: list[tuple[Table, RowValues]] = [(table, row) for table in TABLES[1:] for row in self.rows(table)]
        chosen: dict[tuple[str, str], RowValues] = {}
        for row in self.rows(ledger):
            chosen.setdefault((row["customer_id"], row["kind"]), row)
            chosen[row["customer_id"], "last"] = row
        return found + [(ledger, row) for row in chosen.values()]

    @contextlib.contextmanager
    def changed(self, table: Table, row: RowValues, column: str, value: Any) -> Iterator[Report]:
        """Put another value into a cell; return what is found, and put the old one back."""
        spoilt = {**row, column: value}
        self._replace(table, row, spoilt)
        yield verify(self._database)
        self._replace(table, spoilt, row)

    @contextlib.contextmanager
    def without(self, table: Table, row: RowValues) -> Iterator[Report]:
        """Take a row out; return what is found, and put it back."""
        with self._below_triggers() as connection:
            connection.execute(delete(table).where(_is(table, row)))
        yield verify(self._database)
        with self._below_triggers() as connection:
            connection.execute(insert(table).values(**row))

    @contextlib.contextmanager
    def with_one_more(self, table: Table, row: RowValues) -> Iterator[Report]:
        """Put a row in; return what is found, and take it out."""
        with self._below_triggers() as connection:
            connection.execute(insert(table).values(**row))
        yield verify(self._database)
        with self._below_triggers() as connection:
            connection.execute(delete(table).where(_is(table, row)))

    @contextlib.contextmanager
    def swapped(self, one: RowValues, other: RowValues) -> Iterator[Report]:
        """Let two rows of the log change places; return what is found, and put them back."""
        self._swap(one, other)
        yield verify(self._database)
        self._swap({**one, "seq": other["seq"]}, {**other, "seq": one["seq"]})

    def _swap(self, one: RowValues, other: RowValues) -> None:
        aside = {**one, "seq": -1}
        self._replace(ledger, one, aside)
        self._replace(ledger, other, {**other, "seq": one["seq"]})
        self._replace(ledger, aside, {**one, "seq": other["seq"]})

    def _replace(self, table: Table, row: RowValues, by: RowValues) -> None:
        with self._below_triggers() as connection:
            changed = connection.execute(update(table).where(_is(table, row)).values(**by)).rowcount
        assert changed == 1

    @contextlib.contextmanager
    def _below_triggers(self) -> Iterator[Connection]:
        with self._database.write() as connection:
            if self._database.is_server:
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            yield connection


def other_value(table: Table, column: str, value: Any, at: int) -> Any:
    """Return a value that differs in one byte, the one at a position counted around; None where there is no byte."""
    if value is None:
        return "x"
    if isinstance(value, int):
        # A high byte of a key: a low one could make it that of another row.
        return value ^ (1 << 16 if column in table.primary_key.columns else 1)
    if not value:
        return None
    at %= len(value)
    if isinstance(value, bytes):
        return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
    return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]


def _is(table: Table, row: RowValues) -> Any:
    return and_(*(column == row[column.name] for column in table.primary_key))
