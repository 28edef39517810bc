"""The Merkle tree of RFC 6962 (section 2.1) and RFC 9162: heads, and what inclusion and consistency proofs consist of.

Leaves are numbered from 0. A proof consists of the roots of ranges of leaves: the functions whose names end in
`_ranges` say which ranges, in the order of the proof, so that a store that keeps subtree roots need not read every
leaf. Who receives a proof verifies it with code of its own (`nodus.verify_inclusion`, `nodus.verify_consistency`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HASH_LENGTH = 32
EMPTY_ROOT = hashlib.sha256().digest()
"""The root of a tree without leaves."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf: SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class TreeHead:
    """A growing tree that keeps only the roots of its perfect subtrees: one for each bit set in its size.

    Args:
        size: leaves so far, 0 or more.
        subtrees: the `subtrees` of a tree of this size; nothing for an empty tree.

    Raises:
        ValueError: `size` is negative, or the number of subtrees does not fit it.
    """

    __slots__ = ("_size", "_subtrees")

    def __init__(self, size: int = 0, subtrees: Iterable[bytes] = ()) -> None:
        self._size = size
        self._subtrees = list(subtrees)
        if size < 0 or len(self._subtrees) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves is not made of {len(self._subtrees)} perfect subtrees")
        if any(len(subtree) != HASH_LENGTH for subtree in self._subtrees):
            raise ValueError(f"a subtree's root has {HASH_LENGTH} bytes")

    def append(self, hashed_leaf: bytes) -> list[bytes]:
        """Add a leaf, given by its hash; return the roots of the subtrees that it completes: of 2 leaves, of 4, …."""
        completed = []
        merged = hashed_leaf
        bits = self._size
        while bits & 1:
            merged = node_hash(self._subtrees.pop(), merged)
            completed.append(merged)
            bits >>= 1
        self._subtrees.append(merged)
        self._size += 1
        return completed

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        if not self._subtrees:
            return EMPTY_ROOT
        root = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            root = node_hash(left, root)
        return root

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    @property
    def subtrees(self) -> tuple[bytes, ...]:
        """The roots of the perfect subtrees, the largest first: with `size`, all that is needed to go on later."""
        return tuple(self._subtrees)


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes."""
    head = TreeHead()
    for hashed_leaf in leaf_hashes:
        head.append(hashed_leaf)
    return head.root()


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Say which ranges `[start, end)` of leaves make the proof that leaf `index` is in the tree of `size` leaves.

    The proof is that of RFC 9162, section 2.1.3.1.

    Raises:
        ValueError: there is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    start, end = 0, size
    path = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(old_size: int, size: int) -> list[tuple[int, int]]:
    """Say which ranges `[start, end)` of leaves make the proof that the tree of `old_size` leaves grew into this one.

    The proof is that of RFC 9162, section 2.1.4.1; between equal sizes it is empty.

    Raises:
        ValueError: not 0 < `old_size` ≤ `size`: there is nothing to prove about an empty tree.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"there is no consistency proof from {old_size} leaves to {size}")
    start, end = 0, size
    path = []
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start:
        path.append((start, end))
    return path[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`: where a tree of more than one leaf divides."""
    return 1 << (size - 1).bit_length() - 1
