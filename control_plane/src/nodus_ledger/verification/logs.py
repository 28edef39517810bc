"""Checking one customer's log, row by row: each row's columns, leaf and hash, the chain, and the tree over them.

Pure: rows come as the database driver gave them, and nothing is taken on trust, not even their types.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nodus_core.leaves import FIRST_PREVIOUS_HASH, LeafFields, leaf_frame
from nodus_core.merkle import TreeHead

from ..trust.log import kept_nodes

MAX_FAULTS_PER_LOG = 100
"""After so many, a log is damaged beyond a list."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written: in whose log, at which row (None for none in particular), and what."""

    customer_id: str
    seq: int | None
    what: str

    def __str__(self) -> str:
        place = [str(self.customer_id), *([] if self.seq is None else [f"row {self.seq}"])]
        return f"{' '.join(place).strip()}: {self.what}".removeprefix(": ")


class Row(NamedTuple):
    """A row of the ledger as it was read. The types are what they should be; the values may be of any other."""

    customer_id: str
    seq: int
    at: str
    kind: str
    job_id: str | None
    key_id: str | None
    principal_kind: str | None
    prev_hash: bytes
    leaf: str
    leaf_hash: bytes


class StoredState(NamedTuple):
    """How far a log has got, as it was read."""

    customer_id: str
    size: int
    last_hash: bytes
    subtrees: bytes


class LogWalk:
    """Walks over the rows of one log in their order.

    Attributes:
        size: rows so far.
        nodes: the inner nodes that must be kept of them: (level, position) → hash.
        is_sound: whether no row so far was at fault.
    """

    def __init__(self, customer_id: str, checkpoint_sizes: frozenset[int] = frozenset()) -> None:
        """`checkpoint_sizes` are the sizes at which the root will be asked for."""
        self.customer_id = customer_id
        self.size = 0
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.is_sound = True
        self.last_hash = FIRST_PREVIOUS_HASH
        self._also_last = FIRST_PREVIOUS_HASH
        self._checkpoint_sizes = checkpoint_sizes
        self._roots: dict[int, bytes] = {}
        self._tree = TreeHead()
        self._next_seq = 1
        self._keep_root()

    def step(self, row: Row) -> tuple[str | None, list[Fault]]:
        """Check the next row; return its payload's text, or None where the row cannot be believed, and its faults."""
        faults: list[str] = []
        if type(row.seq) is not int:
            faults.append("its seq is not a number")
        elif row.seq != self._next_seq:
            faults.append(_gap(self._next_seq, row.seq))
        payload = _payload_text(row)
        if payload is None:
            faults.extend(column_faults(row))
        leaf_hash = hashlib.sha256(b"\x00" + _bytes(row.leaf)).digest()
        if row.leaf_hash != leaf_hash:
            faults.append("its leaf_hash is not the hash of its leaf")
        if row.prev_hash != self.last_hash and row.prev_hash != self._also_last:
            faults.append("its prev_hash is not the leaf_hash of the row before")
        self._advance(row, leaf_hash)
        if not faults:
            return payload, []
        self.is_sound = False
        seq = row.seq if type(row.seq) is int else self.size
        return None, [Fault(self.customer_id, seq, what) for what in faults]

    def root(self) -> bytes:
        """Return the root over all rows so far."""
        return self._tree.root()

    def root_at(self, size: int) -> bytes | None:
        """Return the root at a checkpoint's size; None for one that was not reached or not asked for."""
        return self._roots.get(size)

    def compare_head(self, is_there: bool, states: Sequence[StoredState]) -> Iterator[Fault]:
        """Hold the stored head against the rows: whether it is there, and all the states that it is in."""
        if not is_there:
            of = "" if not states else f", which is in state {states[-1].size!r}"
            yield Fault(self.customer_id, None, f"the log has {self.size} rows and no head{of}")
        elif not states:
            yield Fault(self.customer_id, None, f"the log has {self.size} rows and its head no state")
        for state in states:
            yield from self._compare_state(state)

    def _compare_state(self, head: StoredState) -> Iterator[Fault]:
        if type(head.size) is not int or head.size != self.size:
            yield Fault(self.customer_id, _last_missing(head, self.size), _head_size(head, self.size))
        elif not self.size:
            yield Fault(self.customer_id, None, "there is a head, and no row was ever written")
        elif head.last_hash != self.last_hash:
            yield Fault(self.customer_id, None, "the head's last_hash is not the leaf_hash of the last row")
        elif self.is_sound and head.subtrees != b"".join(self._tree.subtrees):
            yield Fault(self.customer_id, None, "the head's subtrees are not those of the tree over the rows")

    def compare_nodes(self, stored: Mapping[tuple[Any, Any], Any]) -> Iterator[Fault]:
        """Hold the kept inner nodes against the rows."""
        if not self.is_sound:
            return  # they would all differ from there on, and say no more
        for place in sorted({*stored, *self.nodes}, key=repr):
            if place not in self.nodes:
                what = "stands for rows that are not there"
            elif place not in stored:
                what = "is missing"
            elif stored[place] != self.nodes[place]:
                what = "is not the hash of what is below it"
            else:
                continue
            yield Fault(self.customer_id, None, f"the tree's node {place[1]} at level {place[0]} {what}")

    def _advance(self, row: Row, leaf_hash: bytes) -> None:
        # Where a hash was changed, or the leaf under it, the next row tells which one it followed.
        self.last_hash, self._also_last = leaf_hash, row.leaf_hash
        completed = self._tree.append(leaf_hash)
        self.size += 1
        self._next_seq = row.seq + 1 if type(row.seq) is int else self._next_seq + 1
        if completed:
            for level, position, root in kept_nodes(self.size, completed):
                self.nodes[level, position] = root
        if self.size in self._checkpoint_sizes:
            self._keep_root()

    def _keep_root(self) -> None:
        if self.size in self._checkpoint_sizes:
            self._roots[self.size] = self._tree.root()


def column_faults(row: Row) -> Iterator[str]:
    """Say which columns differ from what the leaf says."""
    try:
        said = json.loads(row.leaf)
    except (TypeError, ValueError, RecursionError):
        yield "its leaf is not JSON"
        return
    if not isinstance(said, dict):
        yield "its leaf is not a JSON object"
        return
    named = False
    for name in ("customer_id", "seq", "at", "kind", "job_id", "key_id", "principal_kind"):
        value = getattr(row, name)
        if name not in said or type(said[name]) is not type(value) or said[name] != value:
            named = True
            yield f"its {name} is not what its leaf says"
    if type(row.prev_hash) is not bytes or said.get("prev_hash") != row.prev_hash.hex():
        named = True
        yield "its prev_hash is not what its leaf says"
    if not named:
        yield "its leaf is not in canonical form"


def _payload_text(row: Row) -> str | None:
    """Return the payload out of the leaf; None where the leaf is not what the columns make it."""
    if type(row.leaf) is not str or type(row.seq) is not int or type(row.prev_hash) is not bytes:
        return None
    fields = LeafFields(
        row.customer_id, row.seq, row.at, row.kind, row.job_id, row.key_id, row.principal_kind, row.prev_hash
    )
    try:
        before, after = leaf_frame(fields)
    except TypeError:
        return None
    leaf = row.leaf
    if len(leaf) < len(before) + len(after) or not leaf.startswith(before) or not leaf.endswith(after):
        return None
    return leaf[len(before) : len(leaf) - len(after)]


def _bytes(leaf: object) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode("utf-8", "surrogateescape")
    return leaf if isinstance(leaf, bytes) else repr(leaf).encode()


def _gap(expected: int, found: int) -> str:
    if found < expected:
        return f"it stands where row {expected} should"
    missing = f"row {expected}" if found == expected + 1 else f"rows {expected} to {found - 1}"
    return f"{missing} before it: missing"


def _head_size(head: StoredState, size: int) -> str:
    if type(head.size) is int and head.size > size:
        last = f"row {head.size}" if head.size == size + 1 else f"rows {size + 1} to {head.size}"
        return f"the head counts {head.size} rows and there are {size}: {last} missing"
    return f"the head counts {head.size!r} rows and there are {size}"


def _last_missing(head: StoredState, size: int) -> int | None:
    return size + 1 if type(head.size) is int and head.size > size else None
