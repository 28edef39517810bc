"""One cell, one row, one byte at a time: nothing that is written to the ledger can be changed unnoticed and unnamed."""

from __future__ import annotations

import copy
import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.engines import ENGINES, SEALING_KEY, SQLITE
from servers.postgresql import PostgresServer
from sqlalchemy import Table
from trust_ledger.history import OTHER_CUSTOMER, make_history
from trust_ledger.spoiling import RowValues, Spoiler, other_value

from nodus_ledger.database.database import Database
from nodus_ledger.database.sealing import KEY_VARIABLE
from nodus_ledger.database.trust_schema import checkpoints, heads, ledger, states
from nodus_ledger.trust.origin import kept_origin, origin_of
from nodus_ledger.trust.signing import open_checkpoint, public_key
from nodus_ledger.verification.logs import LogWalk, Row
from nodus_ledger.verification.verify import Report


@pytest.fixture(scope="module")
def recorded_on_server(postgres_server: PostgresServer) -> str:
    """The URL of a database on PostgreSQL with the logs of two customers; who spoils it repairs it."""
    url = postgres_server.url(postgres_server.create_database())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_VARIABLE, SEALING_KEY)
        make_history(url)
    return url


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with the logs of two customers."""
    if request.param == SQLITE:
        copied = shutil.copyfile(request.getfixturevalue("recorded"), tmp_path / "nodus.db")
        opened = Database(f"sqlite:///{copied}")
    else:
        opened = Database(request.getfixturevalue("recorded_on_server"))
    yield opened
    opened.close()


@pytest.fixture
def spoiler(database: Database) -> Spoiler:
    """One who gets below its triggers."""
    return Spoiler(database)


NAMES = {
    "ledger_heads": "head",
    "ledger_states": "head",
    "ledger_nodes": "node",
    "ledger_checkpoints": "checkpoint of",
}


def is_named(report: Report, table: Table, row: RowValues) -> bool:
    """Whether a fault says of which log it is, and which of its rows, or which other thing, is not as it was."""
    said = [str(fault) for fault in report.faults if fault.customer_id == row["customer_id"]]
    if table is ledger:
        # Where it is gone, the next row or the head says so.
        return any(re.search(rf"\brows? (\d+ to )?{row['seq']}\b", text) for text in said)
    return any(NAMES[table.name] in text for text in said)


def test_a_change_of_any_cell_of_any_kind_of_row(spoiler: Spoiler) -> None:
    """Every column there is, of a row of every kind, of every head, node and checkpoint."""
    unnoticed = []
    for number, (table, row) in enumerate(spoiler.typical_rows()):
        for at, (column, value) in enumerate(row.items()):
            other = other_value(table, column, value, (number + at) * 7)
            if other is None:
                continue
            with spoiler.changed(table, row, column, other) as report:
                if not (is_named(report, table, row) or is_named(report, table, {**row, column: other})):
                    unnoticed.append((table.name, row, column, [str(fault) for fault in report.faults]))

    assert unnoticed == []


def test_a_row_of_any_kind_that_is_gone(spoiler: Spoiler) -> None:
    """The first, the last, and one of every kind; a head, and a node. Of checkpoints only their holders know."""
    unnoticed = []
    for table, row in spoiler.typical_rows():
        with spoiler.without(table, row) as report:
            if table is not checkpoints and not is_named(report, table, row):
                unnoticed.append((table.name, row, [str(fault) for fault in report.faults]))

    assert unnoticed == []


def test_rows_that_change_places(spoiler: Spoiler) -> None:
    """Neighbours, the first with the last, and each kind with the row after it."""
    log = [row for row in spoiler.rows(ledger) if row["customer_id"] == OTHER_CUSTOMER]
    pairs = [*itertools.pairwise(log), (log[0], log[-1])]
    unnoticed = []
    for one, other in pairs:
        with spoiler.swapped(one, other) as report:
            if not (is_named(report, ledger, one) and is_named(report, ledger, other)):
                unnoticed.append((one, other))

    assert unnoticed == []


def test_a_row_that_is_put_in(spoiler: Spoiler) -> None:
    """A copy at the end of a log, and things of a customer who is none."""
    log = [row for row in spoiler.rows(ledger) if row["customer_id"] == OTHER_CUSTOMER]
    extra = {**log[-1], "seq": len(log) + 1}
    with spoiler.with_one_more(ledger, extra) as report:
        assert is_named(report, ledger, extra)
    nobody = {"customer_id": "nobody"}
    with spoiler.with_one_more(heads, nobody) as report:
        assert is_named(report, heads, nobody)
    nothing = {"customer_id": "nobody", "size": 0, "last_hash": bytes(32), "subtrees": b""}
    with spoiler.with_one_more(states, nothing) as report:
        assert is_named(report, states, nothing)
    (present,) = [row for row in spoiler.rows(states) if row["customer_id"] == OTHER_CUSTOMER]
    for size in (present["size"] - 1, present["size"] + 1):
        with spoiler.with_one_more(states, {**present, "size": size}) as report:
            assert is_named(report, states, present)
    given = {**spoiler.rows(checkpoints)[0], "size": 5}
    with spoiler.with_one_more(checkpoints, given) as report:
        assert is_named(report, checkpoints, given)


def test_afterwards_all_is_as_it_was(spoiler: Spoiler) -> None:
    """What these tests put back is sound: else the ones above would prove nothing."""
    row = spoiler.rows(ledger)[3]
    with spoiler.changed(ledger, row, "kind", "other") as spoilt:
        pass
    with spoiler.changed(ledger, row, "kind", row["kind"]) as repaired:
        pass

    assert spoilt.faults
    assert repaired.faults == []


def spoilt_bytes(value: str | bytes, bits: range) -> Iterator[str | bytes]:
    """Return the value with each of its bytes changed, one at a time; text as the reader of a database sees it."""
    data = value.encode() if isinstance(value, str) else value
    for at in range(len(data)):
        for bit in bits or range(at % 8, at % 8 + 1):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            yield changed.decode("utf-8", "surrogateescape") if isinstance(value, str) else changed


def unnoticed_bytes(spoiler: Spoiler, bits: range) -> list[Any]:
    """Walk over every log; change every byte of every typical row in turn; return the changes that no fault names."""
    found: list[Any] = []
    typical = {(row["customer_id"], row["seq"]) for table, row in spoiler.typical_rows() if table is ledger}
    walk = LogWalk("")
    for values in spoiler.rows(ledger):
        row = Row(**values)
        if row.customer_id != walk.customer_id:
            walk = LogWalk(row.customer_id)
        if (row.customer_id, row.seq) in typical:
            for column, value in values.items():
                for other in spoilt_bytes(value, bits) if isinstance(value, (str, bytes)) else ():
                    _, faults = copy.deepcopy(walk).step(Row(**{**values, column: other}))
                    if (row.customer_id, row.seq) not in {(fault.customer_id, fault.seq) for fault in faults}:
                        found.append((row, column, other))
        walk.step(row)
    return found


@pytest.mark.parametrize("database", [SQLITE], indirect=True)
def test_a_change_of_any_byte_of_a_row(spoiler: Spoiler) -> None:
    """One bit of every byte of every text and hash, in a row of every kind: that row is at fault."""
    assert unnoticed_bytes(spoiler, range(0)) == []


@pytest.mark.soak
@pytest.mark.parametrize("database", [SQLITE], indirect=True)
def test_a_change_of_any_bit_of_a_row(spoiler: Spoiler) -> None:
    """Verification finds each single flipped bit."""
    assert unnoticed_bytes(spoiler, range(8)) == []


@pytest.mark.parametrize("database", [SQLITE], indirect=True)
def test_a_change_of_any_bit_of_a_checkpoint(database: Database, spoiler: Spoiler) -> None:
    """Of its text, which is signed, and of its signature, which has one form."""
    with database.read() as connection:
        key, name = public_key(connection), kept_origin(connection)
    assert key is not None
    assert name is not None
    (first, *_) = spoiler.rows(checkpoints)
    origin = origin_of(name, first["customer_id"])
    believed = []
    for note in spoilt_bytes(first["note"], range(8)):
        try:
            believed.append((note, open_checkpoint(str(note), origin, key)))
        except ValueError:
            continue

    assert believed == []
    assert open_checkpoint(first["note"], origin, key).size == first["size"]
