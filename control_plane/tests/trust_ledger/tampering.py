"""Changing the ledger's rows in the file itself, below the triggers, as its thief or its owner could."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from nodus_ledger.database.database import Database
from nodus_ledger.database.trust_schema import SQLITE_TRIGGERS
from nodus_ledger.verification.verify import Report, verify

KEYS = {
    "ledger": ("customer_id", "seq"),
    "ledger_heads": ("customer_id",),
    "ledger_states": ("customer_id", "size"),
    "ledger_nodes": ("customer_id", "level", "position"),
    "ledger_checkpoints": ("customer_id", "size"),
}


class Forger:
    """Spoils a fresh copy of a database each time, and has it verified.

    Attributes:
        path: the copy.
    """

    def __init__(self, original: Path, path: Path) -> None:
        self._original = original
        self.path = path
        self.begin()

    def begin(self) -> None:
        """Begin again with what was recorded, without the triggers."""
        shutil.copyfile(self._original, self.path)
        for leftover in ("-wal", "-shm"):
            self.path.with_name(self.path.name + leftover).unlink(missing_ok=True)
        self.write(*(f"DROP TRIGGER {name}" for name in SQLITE_TRIGGERS))

    def write(self, *statements: str, values: tuple[Any, ...] = ()) -> None:
        """Run statements on the file; `values` go with each."""
        with closing(self._open()) as connection, connection:
            for statement in statements:
                connection.execute(statement, values)

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Read from the file."""
        with closing(self._open()) as connection:
            return connection.execute(query, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA synchronous = OFF")  # nobody needs the copy after the test
        return connection

    def columns(self, table: str) -> list[str]:
        """Return the columns of a table."""
        return [row[1] for row in self.read(f"PRAGMA table_info({table})")]

    def place(self, table: str, number: int) -> dict[str, Any]:
        """Return what names a row of a table: the `number`-th, counted around."""
        rows = self.read(
            f"SELECT {', '.join(KEYS[table])} FROM {table} ORDER BY 1, 2"
            if len(KEYS[table]) > 1
            else f"SELECT {KEYS[table][0]} FROM {table} ORDER BY 1"
        )
        return dict(zip(KEYS[table], rows[number % len(rows)], strict=True))

    def put(self, table: str, place: dict[str, Any], column: str, value: Any) -> None:
        """Put a value into one cell."""
        where = " AND ".join(f"{name} = ?" for name in place)
        with closing(self._open()) as connection, connection:
            changed = connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE {where}", (value, *place.values())
            ).rowcount
        assert changed == 1

    def cell(self, table: str, place: dict[str, Any], column: str) -> Any:
        """Read one cell."""
        where = " AND ".join(f"{name} = ?" for name in place)
        return self.read(f"SELECT {column} FROM {table} WHERE {where}", tuple(place.values()))[0][0]

    def flip(self, table: str, place: dict[str, Any], column: str, position: int, mask: int) -> bool:
        """Change one byte of a cell, at a position counted around; return whether the cell has any.

        A number becomes another, and text that is UTF-8 no longer stays text.
        """
        value = self.cell(table, place, column)
        if value is None:
            self.put(table, place, column, "x")
        elif isinstance(value, int):
            # A high byte: a low one could make it the number of another row, which the primary key forbids.
            self.put(table, place, column, value ^ mask << 16)
        elif isinstance(value, bytes):
            if not value:
                return False
            self.put(table, place, column, _flipped(value, position, mask))
        else:
            self._put_text(table, place, column, _flipped(value.encode(), position, mask))
        return True

    def _put_text(self, table: str, place: dict[str, Any], column: str, text: bytes) -> None:
        where = " AND ".join(f"{name} = ?" for name in place)
        with closing(self._open()) as connection, connection:
            connection.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {where}", (text, *place.values()))

    def verify(self) -> Report:
        """Have the copy verified."""
        database = Database(f"sqlite:///{self.path}")
        try:
            return verify(database)
        finally:
            database.close()


def _flipped(value: bytes, position: int, mask: int) -> bytes:
    at = position % len(value)
    return value[:at] + bytes([value[at] ^ mask]) + value[at + 1 :]
