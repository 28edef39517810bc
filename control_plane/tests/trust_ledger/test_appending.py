"""What is appended stays, in order, without gaps, and together with what it records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError
from trust_ledger.history import key_of, submit

from nodus_control.testing import LocalControlPlane
from nodus_core.merkle import root_of
from nodus_ledger.database.database import Database
from nodus_ledger.trust.log import Entry, append, append_all, head_of


def rows_of(database: Database, customer_id: str) -> list[Any]:
    """All rows of a log, in its order."""
    with database.read() as connection:
        query = "SELECT * FROM ledger WHERE customer_id = ? ORDER BY seq"
        return list(connection.exec_driver_sql(query, (customer_id,)).mappings())


def entry(customer_id: str, number: int) -> Entry:
    return Entry(customer_id, "test.happened", 1_767_225_600_000 + number, {"number": number})


@given(batches=st.lists(st.lists(st.sampled_from(["acme", "globex", "ünï"]), max_size=9), max_size=12))
def test_every_customer_has_a_chain_of_its_own(batches: list[list[str]]) -> None:
    """However appends are mixed, each log counts from 1, each row names the one before, and the head knows the tree."""
    database = Database()
    number = 0
    for batch in batches:
        entries = []
        for customer_id in batch:
            number += 1
            entries.append(entry(customer_id, number))
        with database.write() as connection:
            positions = append_all(connection, entries)
        assert len(positions) == len(batch)

    for customer_id in {one for batch in batches for one in batch}:
        rows = rows_of(database, customer_id)
        with database.read() as connection:
            head = head_of(connection, customer_id)
        before = bytes(32)
        for seq, row in enumerate(rows, start=1):
            leaf = json.loads(row["leaf"])
            assert (row["seq"], leaf["seq"]) == (seq, seq)
            assert (row["prev_hash"], leaf["prev_hash"]) == (before, before.hex())
            before = hashlib.sha256(b"\x00" + row["leaf"].encode()).digest()
            assert row["leaf_hash"] == before
        numbers = [json.loads(row["leaf"])["payload"]["number"] for row in rows]
        assert numbers == sorted(numbers)
        assert (head.size, head.last_hash) == (len(rows), before)
        assert head.tree().root() == root_of(row["leaf_hash"] for row in rows)
    database.close()


@given(st.permutations(["acme", "globex", "initech", "ünï"]))
def test_the_heads_of_several_logs_are_locked_in_one_order(customers: list[str]) -> None:
    """Two transactions that write to the same logs, in whatever order, never wait for each other in a circle."""
    database = Database()
    locked: list[str] = []

    def note(statement: str) -> None:
        if statement.startswith("UPDATE ledger_states"):
            locked.extend(customer_id for customer_id in customers if f"'{customer_id}'" in statement)

    with database.write() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.set_trace_callback(note)
        append_all(connection, [entry(customer_id, number) for number, customer_id in enumerate(customers)])
        driver.set_trace_callback(None)
    database.close()

    # A statement with a trigger is told of twice.
    assert list(dict.fromkeys(locked)) == sorted(customers)


def test_a_position_is_that_of_its_entry() -> None:
    """Positions come back in the order of the entries, whoever's logs they went to."""
    database = Database()
    with database.write() as connection:
        positions = append_all(connection, [entry("b", 1), entry("a", 2), entry("b", 3)])
        last = append(connection, "a", kind="test.happened", at=0, payload={})
    database_rows = {customer_id: rows_of(database, customer_id) for customer_id in "ab"}
    database.close()

    assert [position.seq for position in [*positions, last]] == [1, 1, 2, 2]
    assert positions[2].leaf_hash == database_rows["b"][1]["leaf_hash"]


def test_what_is_rolled_back_was_never_recorded() -> None:
    """A transaction that fails leaves no row, and the next one begins where the last left off."""
    database = Database()
    with pytest.raises(TypeError), database.write() as connection:
        append_all(connection, [entry("acme", 1), Entry("acme", "test.happened", 2, {"usd": 1.5})])
    with database.write() as connection:
        position = append(connection, "acme", kind="test.happened", at=0, payload={})
    size = len(rows_of(database, "acme"))
    database.close()

    assert (position.seq, size) == (1, 1)


@pytest.mark.parametrize("payload", [{"usd": 1.5}, {"micros": 2**53}, {"text": "\ud800"}, {"set": {1}}])
def test_a_payload_that_has_no_canonical_text_is_refused(payload: dict[str, Any]) -> None:
    """Fractions, numbers that not every reader can hold, and what is no text or JSON."""
    database = Database()
    with pytest.raises((TypeError, ValueError)), database.write() as connection:
        append(connection, "acme", kind="test.happened", at=0, payload=payload)
    left = rows_of(database, "acme")
    database.close()

    assert left == []


FORBIDDEN = [
    "UPDATE ledger SET kind = 'other' WHERE seq = 1",
    "UPDATE ledger SET leaf = leaf WHERE seq = 1",
    "DELETE FROM ledger WHERE seq = (SELECT MAX(seq) FROM ledger)",
    "DELETE FROM ledger",
    "INSERT OR REPLACE INTO ledger SELECT * FROM ledger WHERE seq = 1",
    "UPDATE ledger_heads SET customer_id = 'other'",
    "DELETE FROM ledger_heads",
    "UPDATE ledger_states SET size = size - 1",
    "UPDATE ledger_states SET size = size",
    "UPDATE ledger_states SET customer_id = 'other', size = size + 1",
    "DELETE FROM ledger_states",
    "UPDATE ledger_nodes SET hash = x'00'",
    "DELETE FROM ledger_nodes",
    "UPDATE ledger_checkpoints SET note = 'other'",
    "DELETE FROM ledger_checkpoints",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_database_refuses_to_change_what_was_written(recorded: Path, tmp_path: Path, statement: str) -> None:
    """Rows, heads, nodes and checkpoints are append-only for everybody who goes through the database."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(recorded.read_bytes())
    database = Database(f"sqlite:///{copy}")
    with pytest.raises(IntegrityError, match="append-only"), database.write() as connection:
        connection.exec_driver_sql(statement)
    database.close()


def test_a_job_is_recorded_from_its_submission_to_its_cost(control_plane: LocalControlPlane) -> None:
    """Submission, attempt, each transition and settlement, with key and principal; the view points to the end."""
    human = key_of(control_plane, control_plane.api_key)
    job_id = submit(control_plane, human, 1)
    control_plane.advance(3600)
    job = control_plane.plane.jobs.get(human.customer_id, job_id)
    rows = [row for row in rows_of(control_plane.plane.database, human.customer_id) if row["job_id"] == job_id]
    payloads = [json.loads(row["leaf"])["payload"] for row in rows]

    assert [(row["kind"], payload.get("status")) for row, payload in zip(rows, payloads, strict=True)] == [
        ("job.submitted", "queued"),
        ("attempt.opened", None),
        ("job.transition", "placed"),
        ("job.transition", "running"),
        ("attempt.ended", None),
        ("job.transition", "completed"),
        ("job.settled", "completed"),
    ]
    assert {(row["key_id"], row["principal_kind"]) for row in rows} == {(human.id, "human")}
    assert payloads[0]["reserved_micros"] == payloads[-1]["released_micros"] == job.reserved
    assert (payloads[-1]["cost_micros"], payloads[-1]["duration_ms"]) == (job.cost, job.duration_ms)
    assert (job.ledger_seq, job.ledger_hash) == (rows[-2]["seq"], rows[-2]["leaf_hash"])


def test_a_lost_placement_is_recorded_before_the_next(control_plane: LocalControlPlane) -> None:
    """Failover is in the ledger: which attempt was lost, why, and where the job went then."""
    human = key_of(control_plane, control_plane.api_key)
    job_id = submit(control_plane, human, 1)
    control_plane.advance(1)
    supplier = control_plane.plane.jobs.get(human.customer_id, job_id).supplier
    assert supplier is not None
    control_plane.outage(supplier)
    control_plane.advance(3600)
    rows = [row for row in rows_of(control_plane.plane.database, human.customer_id) if row["job_id"] == job_id]
    attempts = [
        (row["kind"], payload["attempt"], payload.get("supplier"), payload.get("outcome"))
        for row in rows
        if row["kind"].startswith("attempt.")
        for payload in [json.loads(row["leaf"])["payload"]]
    ]

    assert attempts[:2] == [("attempt.opened", 1, supplier, None), ("attempt.ended", 1, None, "outage")]
    assert attempts[2][:2] == ("attempt.opened", 2)
    assert attempts[2][2] != supplier
    assert attempts[3] == ("attempt.ended", 2, None, "completed")


def test_a_key_is_recorded_when_it_begins_changes_and_ends(tmp_path: Path) -> None:
    """Seeding the same keys again says nothing new; another secret in an old key's place does."""
    path = tmp_path / "nodus.db"
    kinds = []
    for _ in range(2):
        with LocalControlPlane(database=path, serve=False) as control_plane:
            human = key_of(control_plane, control_plane.api_key)
            kinds.append([row["kind"] for row in rows_of(control_plane.plane.database, human.customer_id)])
    with LocalControlPlane(database=path, serve=False) as control_plane:
        human = key_of(control_plane, control_plane.api_key)
        assert control_plane.plane.keys.revoke(human.id, control_plane.plane.clock.now())
        assert not control_plane.plane.keys.revoke(human.id, control_plane.plane.clock.now())
        last = rows_of(control_plane.plane.database, human.customer_id)[-1]

    assert kinds == [["key.minted", "key.minted"]] * 2
    assert (last["seq"], last["kind"], last["key_id"]) == (3, "key.revoked", human.id)


def test_a_reset_begins_the_ledger_anew_and_locks_it_again(control_plane: LocalControlPlane) -> None:
    """The playground forgets its jobs; the keys that stay are on record, and the triggers are up."""
    human = key_of(control_plane, control_plane.api_key)
    submit(control_plane, human, 1)
    control_plane.reset()
    rows = rows_of(control_plane.plane.database, human.customer_id)

    assert [(row["seq"], row["kind"]) for row in rows] == [(1, "key.minted"), (2, "key.minted")]
    with pytest.raises(IntegrityError, match="append-only"), control_plane.plane.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM ledger")
