"""Bits of the database file itself: whatever a changed one makes of the ledger is found."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from trust_ledger.tampering import KEYS, Forger

from nodus_ledger.database.database import UnusableDatabase

BITS = 60
SOAKING = 3000


def test_a_changed_bit_of_the_file_is_found(forger: Forger) -> None:
    """In any page of the ledger's tables, but where it changes nothing that can be read."""
    assert unnoticed(forger, BITS) == []


@pytest.mark.soak
def test_many_changed_bits_of_the_file_are_found(forger: Forger) -> None:
    """Bits of the database file are changed one at a time."""
    assert unnoticed(forger, SOAKING) == []


def unnoticed(forger: Forger, count: int) -> list[tuple[int, int]]:
    """Change so many bits, one at a time; return those that changed the ledger, and no fault names."""
    whole, sound = forger.path.read_bytes(), content(forger.path)
    pages = pages_of_the_ledger(forger.path)
    chance = random.Random(1)
    changed, found = 0, []
    for _ in range(count):
        offset, bit = (
            (chance.choice(pages) - 1) * page_size(whole) + chance.randrange(page_size(whole)),
            chance.randrange(8),
        )
        for leftover in ("-wal", "-shm"):
            forger.path.with_name(forger.path.name + leftover).unlink(missing_ok=True)
        forger.path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << bit]) + whole[offset + 1 :])
        if content(forger.path) != sound:
            changed += 1
            if is_sound(forger):
                found.append((offset, bit))
    assert changed > count // 2, "most of what was changed is no part of the ledger"
    return found


def is_sound(forger: Forger) -> bool:
    """What `verify` says; a database that cannot even be opened is not."""
    try:
        return forger.verify().is_sound
    except UnusableDatabase:
        return False


def content(path: Path) -> list[Any] | None:
    """Return all rows of the ledger's tables, as bytes; None where SQLite sees that they are damaged."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        try:
            queries = [f"SELECT * FROM {table} ORDER BY {', '.join(key)}" for table, key in KEYS.items()]
            return [connection.execute(query).fetchall() for query in queries]
        except sqlite3.DatabaseError:
            return None


def pages_of_the_ledger(path: Path) -> list[int]:
    """Return the numbers of the pages that hold these tables."""
    marks = ", ".join("?" for _ in KEYS)
    query = f"SELECT pageno FROM dbstat JOIN sqlite_schema USING (name) WHERE tbl_name IN ({marks})"
    with closing(sqlite3.connect(path)) as connection:
        try:
            return [number for (number,) in connection.execute(query, tuple(KEYS))]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite does not tell which page holds what")


def page_size(whole: bytes) -> int:
    """Return the size of a page, out of the file's header."""
    size = int.from_bytes(whole[16:18], "big")
    return 65_536 if size == 1 else size
