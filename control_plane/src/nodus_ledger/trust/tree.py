"""The Merkle tree over a customer's rows, read from what is stored: any range's root from a few hundred hashes.

A range is a row of perfect subtrees. The root of each comes from the inner nodes that are kept (`KEPT_LEVELS`), or,
below the lowest kept level, from the rows' leaf hashes. Nothing is rehashed that does not have to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, select

from nodus_core.merkle import EMPTY_ROOT, consistency_ranges, inclusion_ranges, node_hash, root_of

from ..database.trust_schema import ledger, nodes
from .log import KEPT_LEVELS

_LEAVES = (
    select(ledger.c.leaf_hash)
    .where(ledger.c.customer_id == bindparam("customer"), ledger.c.seq.between(bindparam("first"), bindparam("last")))
    .order_by(ledger.c.seq)
)
_NODES = (
    select(nodes.c.hash)
    .where(
        nodes.c.customer_id == bindparam("customer"),
        nodes.c.level == bindparam("of_level"),
        nodes.c.position.between(bindparam("first"), bindparam("last")),
    )
    .order_by(nodes.c.position)
)


class DamagedTree(Exception):
    """Hashes are missing that must be there: the ledger was tampered with."""


class StoredTree:
    """The tree of one customer, inside a transaction."""

    def __init__(self, connection: Connection, customer_id: str) -> None:
        self._connection = connection
        self._customer_id = customer_id

    def root(self, size: int) -> bytes:
        """Return the root over the first `size` rows."""
        return self._range_root(0, size) if size else EMPTY_ROOT

    def inclusion(self, seq: int, size: int) -> list[bytes]:
        """Prove that row `seq` is among the first `size`.

        Raises:
            ValueError: it is not.
        """
        return [self._range_root(start, end) for start, end in inclusion_ranges(seq - 1, size)]

    def consistency(self, old_size: int, size: int) -> list[bytes]:
        """Prove that the tree over `size` rows begins with the one over `old_size`.

        Raises:
            ValueError: not 0 < `old_size` ≤ `size`.
        """
        return [self._range_root(start, end) for start, end in consistency_ranges(old_size, size)]

    def _range_root(self, start: int, end: int) -> bytes:
        subtrees = [self._subtree_root(level, position) for level, position in perfect_subtrees(start, end)]
        root = subtrees.pop()
        while subtrees:
            root = node_hash(subtrees.pop(), root)
        return root

    def _subtree_root(self, level: int, position: int) -> bytes:
        kept = level - level % KEPT_LEVELS
        count = 1 << level - kept
        hashes = self._hashes(kept, position * count, count)
        if len(hashes) != count:
            raise DamagedTree(f"the ledger lacks hashes below row {(position + 1) << level}")
        return root_of(hashes)

    def _hashes(self, level: int, first: int, count: int) -> Sequence[bytes]:
        values: dict[str, object] = {"customer": self._customer_id, "first": first, "last": first + count - 1}
        if level == 0:
            leaves = {**values, "first": first + 1, "last": first + count}
            return self._connection.execute(_LEAVES, leaves).scalars().all()
        return self._connection.execute(_NODES, {**values, "of_level": level}).scalars().all()


def perfect_subtrees(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Divide the leaves `[start, end)` into perfect subtrees, from left to right: level and position of each.

    `start` must be a multiple of the largest power of two that fits, as it is in every range of a proof.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level
