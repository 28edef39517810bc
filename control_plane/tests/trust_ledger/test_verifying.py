"""Whatever is changed below the triggers is found, and named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trust_ledger.history import OTHER_CUSTOMER
from trust_ledger.tampering import KEYS, Forger

from nodus_core.leaves import LeafFields, leaf_text
from nodus_core.merkle import leaf_hash

CUSTOMER = "playground"
LEDGER_COLUMNS = (
    "customer_id",
    "seq",
    "at",
    "kind",
    "job_id",
    "key_id",
    "principal_kind",
    "prev_hash",
    "leaf",
    "leaf_hash",
)
COLUMNS = [
    *(("ledger", column) for column in LEDGER_COLUMNS),
    ("ledger_heads", "customer_id"),
    *(("ledger_states", column) for column in ("customer_id", "size", "last_hash", "subtrees")),
    *(("ledger_nodes", column) for column in ("customer_id", "level", "position", "hash")),
    *(("ledger_checkpoints", column) for column in ("customer_id", "size", "root", "note")),
]


def test_what_nobody_touched_is_sound(forger: Forger) -> None:
    """Every log, row, checkpoint and sum is accounted for."""
    report = forger.verify()
    rows = forger.read("SELECT COUNT(*) FROM ledger")[0][0]

    assert report.faults == []
    assert report.rows == rows > 256
    assert {customer_id: size for customer_id, (size, _) in report.roots.items()} == dict(
        forger.read("SELECT customer_id, size FROM ledger_states")
    )
    assert report.checkpoints == 3


def test_all_columns_are_tried(forger: Forger) -> None:
    """A column that is added must be in the test below."""
    there = [(table, column) for table in KEYS for column in forger.columns(table)]

    assert sorted(there) == sorted(COLUMNS)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
@settings(max_examples=8)
@given(number=st.integers(0, 10_000), position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_changed_byte_is_found(
    forger: Forger, table: str, column: str, number: int, position: int, bit: int
) -> None:
    """In any column of any row of any table of the ledger; in a row of the log, that row is named."""
    forger.begin()
    place = forger.place(table, number)
    if not forger.flip(table, place, column, position, 1 << bit):
        return
    faults = forger.verify().faults

    assert faults
    if table == "ledger" and column not in KEYS["ledger"]:
        assert (place["customer_id"], place["seq"]) in {(fault.customer_id, fault.seq) for fault in faults}


@settings(max_examples=15)
@given(number=st.integers(0, 10_000))
def test_any_deleted_row_is_found(forger: Forger, number: int) -> None:
    """What stands after it shows the gap."""
    forger.begin()
    place = forger.place("ledger", number)
    forger.write("DELETE FROM ledger WHERE customer_id = ? AND seq = ?", values=tuple(place.values()))
    faults = forger.verify().faults

    assert any(
        fault.customer_id == place["customer_id"] and fault.seq in (place["seq"], place["seq"] + 1) for fault in faults
    )


@pytest.mark.parametrize("customer_id", [CUSTOMER, OTHER_CUSTOMER])
def test_a_deleted_last_row_is_found(forger: Forger, customer_id: str) -> None:
    """Nothing stands after it, but the head counts it; and it is named."""
    last = forger.read("SELECT MAX(seq) FROM ledger WHERE customer_id = ?", (customer_id,))[0][0]
    forger.write("DELETE FROM ledger WHERE customer_id = ? AND seq = ?", values=(customer_id, last))
    faults = forger.verify().faults

    assert (customer_id, last) in {(fault.customer_id, fault.seq) for fault in faults}
    assert any(f"row {last} missing" in fault.what for fault in faults)


@pytest.mark.parametrize("table", KEYS)
def test_a_whole_table_that_is_gone_is_found(forger: Forger, table: str) -> None:
    """Rows, heads and nodes; checkpoints that were given out are the one thing that only their holders miss."""
    forger.write(f"DELETE FROM {table}")

    assert bool(forger.verify().faults) == (table != "ledger_checkpoints")


@settings(max_examples=15)
@given(first=st.integers(0, 10_000), second=st.integers(0, 10_000))
def test_swapped_rows_are_found(forger: Forger, first: int, second: int) -> None:
    """Two rows that have changed places are both named."""
    forger.begin()
    one, other = forger.place("ledger", first), forger.place("ledger", second)
    if one == other:
        return
    aside = {"customer_id": one["customer_id"], "seq": -1}
    for old, new in ((one, aside), (other, one), (aside, other)):
        forger.write(
            "UPDATE ledger SET customer_id = ?, seq = ? WHERE customer_id = ? AND seq = ?",
            values=(*new.values(), *old.values()),
        )
    named = {(fault.customer_id, fault.seq) for fault in forger.verify().faults}

    assert {tuple(one.values()), tuple(other.values())} <= named


def forged_row(customer_id: str, seq: int, previous_hash: bytes, payload: str = "{}") -> dict[str, Any]:
    """A row that is right in itself."""
    fields = LeafFields(customer_id, seq, "2026-01-01T00:00:00.000Z", "job.forged", None, None, None, previous_hash)
    leaf = leaf_text(fields, payload)
    return {
        "customer_id": customer_id,
        "seq": seq,
        "at": fields.at,
        "kind": fields.kind,
        "job_id": None,
        "key_id": None,
        "principal_kind": None,
        "prev_hash": previous_hash,
        "leaf": leaf,
        "leaf_hash": leaf_hash(leaf.encode()),
    }


def insert(forger: Forger, row: dict[str, Any]) -> None:
    marks = ", ".join("?" for _ in row)
    forger.write(f"INSERT INTO ledger ({', '.join(row)}) VALUES ({marks})", values=tuple(row.values()))


@pytest.mark.parametrize("seq", [2, 100, None])
def test_an_inserted_row_is_found(forger: Forger, seq: int | None) -> None:
    """In the middle, with all later rows moved up, or at the end, where it is right in itself."""
    size = forger.read("SELECT size FROM ledger_states WHERE customer_id = ?", (CUSTOMER,))[0][0]
    at = size + 1 if seq is None else seq
    # By way of negative numbers, so that no two rows ever have the same.
    forger.write("UPDATE ledger SET seq = -seq - 1 WHERE customer_id = ? AND seq >= ?", values=(CUSTOMER, at))
    forger.write("UPDATE ledger SET seq = -seq WHERE customer_id = ? AND seq < 0", values=(CUSTOMER,))
    previous = forger.read("SELECT leaf_hash FROM ledger WHERE customer_id = ? AND seq = ?", (CUSTOMER, at - 1))[0][0]
    insert(forger, forged_row(CUSTOMER, at, previous))
    faults = forger.verify().faults

    assert faults
    if seq is not None:
        assert at + 1 in {fault.seq for fault in faults}


def test_a_log_of_a_customer_who_is_none_is_found(forger: Forger) -> None:
    """A whole log, right in itself, without a head."""
    insert(forger, forged_row("nobody", 1, bytes(32)))

    assert [str(fault) for fault in forger.verify().faults] == ["nobody: the log has 1 rows and no head"]


def test_text_that_is_no_utf_8_is_a_fault_and_no_crash(forger: Forger) -> None:
    """SQLite keeps any bytes as text."""
    forger.write("UPDATE ledger SET kind = CAST(x'ff' AS TEXT) WHERE customer_id = 'playground' AND seq = 7")
    faults = forger.verify().faults

    assert (faults[0].seq, faults[0].what) == (7, "its kind is not what its leaf says")


@pytest.mark.parametrize("value", [None, 5, 1.5, "text", b"bytes"])
@pytest.mark.parametrize("column", LEDGER_COLUMNS)
def test_a_value_of_another_type_is_a_fault_and_no_crash(forger: Forger, column: str, value: object) -> None:
    """Nothing is taken on trust, not even what SQLite calls a column's type."""
    place = {"customer_id": CUSTOMER, "seq": 9}
    before = forger.cell("ledger", place, column)
    if value == before or (value is None and column not in ("job_id", "key_id", "principal_kind")):
        return
    if column == "seq" and value == 5:
        return
    forger.put("ledger", place, column, value)

    assert forger.verify().faults


SUMS = {
    "UPDATE jobs SET cost = cost + 1 WHERE cost > 0": "it is not what the ledger says was settled",
    "UPDATE jobs SET finished_day = finished_day + 1": "since 1970, and it ended on",
    "UPDATE jobs SET finished_day = NULL": "usage counts it on day None since 1970, and it ended on",
    "UPDATE jobs SET reserved = reserved - 1": "micro-USD are reserved for it, in the ledger",
    "UPDATE jobs SET image = 'other'": "it is not what the ledger says was submitted",
    "UPDATE jobs SET name = 'other'": "it is not what the ledger says was submitted",
    "UPDATE jobs SET labels = '{}'": "it is not what the ledger says was submitted",
    "INSERT INTO job_labels SELECT customer_id, 'a', seq, 'b' FROM jobs": "not found by the labels that it has",
    "UPDATE jobs SET status = 'completed' WHERE status = 'failed'": "in the ledger 'failed'",
    "UPDATE jobs SET ledger_seq = ledger_seq + 1": "it does not point to its terminal row",
    "DELETE FROM jobs WHERE cost > 0": "is in the ledger alone",
    "DELETE FROM attempts": "placement attempts",
    "UPDATE monthly_spend SET realised = realised - 1": "micro-USD are realised",
    "DELETE FROM monthly_spend": "are not in its realised spend",
    "UPDATE reservations SET in_flight = in_flight + 1": "are in flight",
    "DELETE FROM reservations": "are in flight",
    "INSERT INTO reservations SELECT key_id, changes + 1, in_flight FROM reservations": "is not in the ledger",
    "INSERT INTO monthly_spend SELECT key_id, month, changes + 1, realised FROM monthly_spend": "are realised",
    "UPDATE api_keys SET monthly_cap = 1": "its monthly cap is",
    "UPDATE api_keys SET principal_kind = 'agent'": "its owner is",
    "UPDATE api_keys SET revoked_at = NULL": "whether it is revoked is",
    "DELETE FROM api_keys": "is in the ledger alone",
    "DELETE FROM meter_events": "it has no meter event",
    "UPDATE meter_events SET identifier = 'other' || identifier": "is of no settled job",
    'UPDATE meter_events SET payload = replace(payload, \'"value":"\', \'"value":"1\')': "its meter event is not",
    "UPDATE meter_events SET payload = replace(payload, 'human', 'agent')": "its meter event is not",
    "UPDATE meter_events SET customer_id = 'other'": "its meter event is not",
    "UPDATE meter_events SET event_name = 'other'": "its meter event is not",
    "UPDATE meter_events SET timestamp = timestamp + 1": "its meter event is not",
    "UPDATE meter_events SET livemode = 1 - livemode": "its meter event is not",
    "UPDATE meter_events SET value = value + 1": "its meter event is not",
    "UPDATE meter_events SET state = 'rejected' WHERE value > 0": "and the ledger says nothing of it",
    "UPDATE meter_events SET state = 'other'": "which is no state",
    "INSERT INTO meter_gaps VALUES ('cus_1', 'meter', 1, 1800000000, 'acme', 5)": "differs from the ledger by -5",
    "UPDATE api_keys SET is_test = 1 - is_test": "whether it is a test key is",
    "UPDATE api_keys SET signing_required = 1 - signing_required": "whether it must sign is",
}


@pytest.mark.parametrize("statement", SUMS)
def test_a_sum_that_does_not_add_up_is_found(forger: Forger, statement: str) -> None:
    """What other tables say of jobs, keys and money is what the ledger says."""
    forger.write(statement)
    faults = forger.verify().faults

    assert any(SUMS[statement] in str(fault) for fault in faults)


def test_a_checkpoint_signed_with_another_key_is_found(forger: Forger) -> None:
    """The public key is damaged, or another's."""
    forger.write("UPDATE settings SET value = substr(value, 3) || '00' WHERE name = 'ledger public key'")
    faults = [fault.what for fault in forger.verify().faults]

    assert len(faults) == 3
    assert all("does not verify" in what for what in faults)


def test_a_file_that_is_damaged_is_a_fault(forger: Forger) -> None:
    """Where even SQLite cannot read it, that is what is wrong."""
    root_page, page_size = forger.read("SELECT rootpage FROM sqlite_master WHERE name = 'ledger'")[0][0], 4096
    with forger.path.open("r+b") as file:
        file.seek((root_page - 1) * page_size)
        file.write(b"\xff" * page_size)

    assert any("cannot be read" in str(fault) for fault in forger.verify().faults)
