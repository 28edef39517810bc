"""The Trust Ledger: one append-only log per customer, whose rows are hash-chained, and leaves of a Merkle tree as well.

Everything here runs inside the caller's transaction, the one that makes the change which a row records: either both
happen, or neither. Locks are taken in the order jobs, keys, heads of logs; so append last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text, update

from nodus_core.canonical_json import canonical_json
from nodus_core.leaves import FIRST_PREVIOUS_HASH, LeafFields, leaf_text
from nodus_core.merkle import HASH_LENGTH, TreeHead, leaf_hash
from nodus_core.times import timestamp

from ..database.prepared import Prepared
from ..database.trust_schema import heads, ledger, nodes, states

KEPT_LEVELS = 8
"""Every eighth level of the tree's inner nodes is stored: those over 256 leaves, over 65,536, and so on.

That adds one row for every 256, and a proof reads at most 255 hashes for each subtree that it needs.
"""

OPERATOR = "_operator"
"""Whose log records what operators do. No customer has such a name: ids that begin with `_` are ours."""

_STATE = select(states.c.size, states.c.last_hash, states.c.subtrees)
# There is one; but whoever does not say that the largest will do reads its former versions too (see `states`).
_NEWEST_STATE = _STATE.where(states.c.customer_id == bindparam("customer")).order_by(states.c.size.desc()).limit(1)
# Whoever has waited for the lock reads the state again, as the one before left it.
_LOCKED_STATE = Prepared(
    _STATE.join_from(heads, states, states.c.customer_id == heads.c.customer_id)
    .where(heads.c.customer_id == bindparam("customer"))
    .order_by(states.c.size.desc())
    .limit(1)
    .with_for_update()
)
_NEW_HEAD = text("INSERT INTO ledger_heads (customer_id) VALUES (:customer) ON CONFLICT DO NOTHING")
_FIRST_STATE = insert(states)
_MOVE_STATE = Prepared(
    update(states)
    .where(states.c.customer_id == bindparam("customer"), states.c.size == bindparam("from_size"))
    .values(size=bindparam("to_size"), last_hash=bindparam("to_last_hash"), subtrees=bindparam("to_subtrees"))
)
_INSERT_ROW = Prepared(insert(ledger))
_INSERT_NODE = insert(nodes)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one row is to record.

    `at` is when it happened, in Unix milliseconds. The payload is JSON without fractions: money in micro-USD, times in
    milliseconds or RFC 3339; never an env value, a key, a secret or a command.
    """

    customer_id: str
    kind: str
    at: int
    payload: Mapping[str, object]
    job_id: str | None = None
    key_id: str | None = None
    principal_kind: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a row is in its log."""

    seq: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """A log as it is now: how many rows, the leaf hash of the last, the roots of the tree's perfect subtrees."""

    size: int = 0
    last_hash: bytes = FIRST_PREVIOUS_HASH
    subtrees: bytes = b""

    def tree(self) -> TreeHead:
        """Return the tree, to be read or to be grown."""
        roots = self.subtrees
        return TreeHead(self.size, [roots[at : at + HASH_LENGTH] for at in range(0, len(roots), HASH_LENGTH)])


def append(
    connection: Connection,
    customer_id: str,
    *,
    kind: str,
    at: int,
    payload: Mapping[str, object],
    job_id: str | None = None,
    key_id: str | None = None,
    principal_kind: str | None = None,
) -> Position:
    """Append one row to a customer's log; the arguments are those of `Entry`.

    Raises:
        TypeError, ValueError: the payload cannot be canonical JSON (see `nodus_core.canonical_json`).
    """
    entry = Entry(customer_id, kind, at, payload, job_id, key_id, principal_kind)
    return append_all(connection, [entry])[0]


def append_all(connection: Connection, entries: Sequence[Entry]) -> list[Position]:
    """Append rows to the logs of their customers, in this order; return the position of each.

    Raises:
        TypeError, ValueError: a payload cannot be canonical JSON.
    """
    by_customer: defaultdict[str, list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        by_customer[entry.customer_id].append(number)
    positions: dict[int, Position] = {}
    # In a fixed order, so that two transactions that write to the same logs cannot deadlock.
    for customer_id in sorted(by_customer):
        numbers = by_customer[customer_id]
        written = _extend(connection, customer_id, [entries[number] for number in numbers])
        positions.update(zip(numbers, written, strict=True))
    return [positions[number] for number in range(len(entries))]


def head_of(connection: Connection, customer_id: str) -> Head:
    """Read a customer's head; that of an empty log where nothing was ever recorded."""
    row = connection.execute(_NEWEST_STATE, {"customer": customer_id}).first()
    return Head() if row is None else Head(*row)


def _extend(connection: Connection, customer_id: str, entries: Sequence[Entry]) -> list[Position]:
    head = _lock_head(connection, customer_id)
    tree = head.tree()
    last_hash = head.last_hash
    rows: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for entry in entries:
        row = _row(entry, tree.size + 1, last_hash)
        rows.append(row)
        last_hash = row["leaf_hash"]
        completed = tree.append(last_hash)
        kept.extend(_kept_nodes(customer_id, tree.size, completed))
    _INSERT_ROW.change_each(connection, rows)
    if kept:
        connection.execute(_INSERT_NODE, kept)
    _MOVE_STATE.change(
        connection,
        {
            "customer": customer_id,
            "from_size": head.size,
            "to_size": tree.size,
            "to_last_hash": last_hash,
            "to_subtrees": b"".join(tree.subtrees),
        },
    )
    return [Position(row["seq"], row["leaf_hash"]) for row in rows]


def _lock_head(connection: Connection, customer_id: str) -> Head:
    row = _LOCKED_STATE.first(connection, {"customer": customer_id})
    if row is None:
        # Of two that begin a log at the same time, the second waits here, and finds the first one's state below.
        if connection.execute(_NEW_HEAD, {"customer": customer_id}).rowcount == 1:
            connection.execute(_FIRST_STATE, {"customer_id": customer_id, **asdict(Head())})
        row = _LOCKED_STATE.first(connection, {"customer": customer_id})
        assert row is not None
    return Head(*row)


def _row(entry: Entry, seq: int, last_hash: bytes) -> dict[str, Any]:
    at = timestamp(entry.at)
    fields = LeafFields(
        entry.customer_id, seq, at, entry.kind, entry.job_id, entry.key_id, entry.principal_kind, last_hash
    )
    leaf = leaf_text(fields, canonical_json(entry.payload))
    return {
        "customer_id": entry.customer_id,
        "seq": seq,
        "at": at,
        "kind": entry.kind,
        "job_id": entry.job_id,
        "key_id": entry.key_id,
        "principal_kind": entry.principal_kind,
        "prev_hash": last_hash,
        "leaf": leaf,
        "leaf_hash": leaf_hash(leaf.encode()),
    }


def kept_nodes(size: int, completed: Sequence[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield the inner nodes to store when a tree has grown to `size`: level, position in the level, hash.

    Args:
        size: leaves, the new one included.
        completed: what `TreeHead.append` returned.
    """
    for level in range(KEPT_LEVELS, len(completed) + 1, KEPT_LEVELS):
        yield level, (size >> level) - 1, completed[level - 1]


def _kept_nodes(customer_id: str, size: int, completed: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    for level, position, root in kept_nodes(size, completed):
        yield {"customer_id": customer_id, "level": level, "position": position, "hash": root}
