"""What customers read of their Trust Ledger: rows, signed checkpoints, proofs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from nodus_core.notes import Checkpoint

from ..database.database import Database
from ..database.trust_schema import checkpoints, ledger
from ..errors import Refused
from .log import head_of
from .origin import kept_origin, origin_of
from .signing import LedgerSigner
from .tree import StoredTree

_GIVEN = select(checkpoints.c.size).where(
    checkpoints.c.customer_id == bindparam("customer"), checkpoints.c.size == bindparam("of_size")
)
_KEEP = text(
    "INSERT INTO ledger_checkpoints (customer_id, size, root, note) "
    "VALUES (:customer_id, :size, :root, :note) ON CONFLICT DO NOTHING"
)


class UnknownEntry(Refused):
    """The customer's ledger has no such row."""


class UnknownSize(Refused):
    """The customer's ledger is not, or not yet, that large."""


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """A row as it is stored; `at` is RFC 3339."""

    seq: int
    at: str
    kind: str
    job_id: str | None
    key_id: str | None
    principal_kind: str | None
    prev_hash: bytes
    leaf: str
    leaf_hash: bytes

    @property
    def payload(self) -> dict[str, Any]:
        """What the row records, out of its leaf."""
        payload: dict[str, Any] = json.loads(self.leaf)["payload"]
        return payload


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Rows in their order; `next_after` is None where there are no more."""

    entries: Sequence[EntryRecord]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint, and the note that says it."""

    checkpoint: Checkpoint
    note: str


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A row's leaf hash, and the path from it to the root over `size` rows."""

    seq: int
    size: int
    leaf_hash: bytes
    hashes: Sequence[bytes]


_ENTRY = (
    ledger.c.seq,
    ledger.c.at,
    ledger.c.kind,
    ledger.c.job_id,
    ledger.c.key_id,
    ledger.c.principal_kind,
    ledger.c.prev_hash,
    ledger.c.leaf,
    ledger.c.leaf_hash,
)


def read_entries(
    connection: Connection, customer_id: str, *, job_id: str | None, after: int, limit: int, key_id: str | None = None
) -> EntryPage:
    """Return rows of a customer's log whose `seq` is above `after`.

    With `job_id`, those about this job alone; with `key_id`, those about this key and its jobs alone.
    """
    query = select(*_ENTRY).where(ledger.c.customer_id == customer_id, ledger.c.seq > after)
    if job_id is not None:
        query = query.where(ledger.c.job_id == job_id)
    if key_id is not None:
        query = query.where(ledger.c.key_id == key_id)
    rows = connection.execute(query.order_by(ledger.c.seq).limit(limit + 1)).all()
    found = [EntryRecord(*row) for row in rows[:limit]]
    return EntryPage(found, found[-1].seq if len(rows) > limit else None)


class TrustLedger:
    """The logs of all customers, to be read and attested."""

    def __init__(self, database: Database, signer: LedgerSigner, origin: str) -> None:
        """`origin` is the name above all logs; see `origin`."""
        self._database = database
        self._signer = signer
        self._origin = origin

    @property
    def public_key(self) -> bytes:
        """The Ed25519 key that checkpoints are verified with."""
        return self._signer.public_key

    def origin_of(self, customer_id: str) -> str:
        """Return the name of a customer's log."""
        return origin_of(self._origin, customer_id)

    def begin_anew(self) -> None:
        """Take the name that the logs have since they were emptied."""
        with self._database.read() as connection:
            self._origin = kept_origin(connection) or self._origin

    def entries(
        self, customer_id: str, *, job_id: str | None, after: int, limit: int, key_id: str | None = None
    ) -> EntryPage:
        """Return rows whose `seq` is above `after`, at most `limit`; see `read_entries`."""
        with self._database.read() as connection:
            return read_entries(connection, customer_id, job_id=job_id, after=after, limit=limit, key_id=key_id)

    def size(self, customer_id: str) -> int:
        """Say how many rows there are now, without attesting it."""
        with self._database.read() as connection:
            return head_of(connection, customer_id).size

    def checkpoint(self, customer_id: str) -> SignedCheckpoint:
        """Attest the log as it is now. What was given out is kept, so that `verify` can hold the log to it."""
        with self._database.read() as connection:
            head = head_of(connection, customer_id)
            is_kept = connection.execute(_GIVEN, {"customer": customer_id, "of_size": head.size}).first() is not None
        checkpoint = Checkpoint(self.origin_of(customer_id), head.size, head.tree().root())
        note = self._signer.note(checkpoint)
        if not is_kept:
            with self._database.write() as connection:
                connection.execute(
                    _KEEP, {"customer_id": customer_id, "size": head.size, "root": checkpoint.root, "note": note}
                )
        return SignedCheckpoint(checkpoint, note)

    def inclusion(self, customer_id: str, seq: int, size: int | None, *, key_id: str | None = None) -> Inclusion:
        """Prove that a row is among the first `size`; None for all that there are.

        Raises:
            UnknownEntry: there is no such row, or, with `key_id`, it is not about this key and its jobs.
            UnknownSize: the log is not that large, or was not when it had this row.
        """
        with self._database.read() as connection:
            present = head_of(connection, customer_id).size
            if not 1 <= seq <= present:
                raise UnknownEntry
            size = present if size is None else size
            if not seq <= size <= present:
                raise UnknownSize
            leaf_hash, whose = connection.execute(
                select(ledger.c.leaf_hash, ledger.c.key_id).where(
                    ledger.c.customer_id == customer_id, ledger.c.seq == seq
                )
            ).one()
            if key_id is not None and whose != key_id:
                raise UnknownEntry
            return Inclusion(seq, size, leaf_hash, StoredTree(connection, customer_id).inclusion(seq, size))

    def consistency(self, customer_id: str, old_size: int, size: int) -> Sequence[bytes]:
        """Prove that the log of `size` rows begins with that of `old_size`.

        Raises:
            UnknownSize: not 0 < `old_size` ≤ `size` ≤ rows that there are.
        """
        with self._database.read() as connection:
            if not 0 < old_size <= size <= head_of(connection, customer_id).size:
                raise UnknownSize
            return StoredTree(connection, customer_id).consistency(old_size, size)
