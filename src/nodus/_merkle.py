"""The verifier's half of RFC 6962's Merkle tree. Standard library only.

The control plane has the same algorithms, and more, in `nodus_core.merkle`: a verifier must not share code with what it
verifies. A test checks that the two agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

HASH_LENGTH = 32


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf: SHA-256(0x00 ‖ leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows leaf by leaf, keeping only the roots of its perfect subtrees."""

    __slots__ = ("_subtrees", "size")

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []

    def append(self, hashed_leaf: bytes) -> None:
        """Add a leaf, given by its hash."""
        bits = self.size
        subtrees = self._subtrees
        while bits & 1:
            hashed_leaf = hashlib.sha256(b"\x01" + subtrees.pop() + hashed_leaf).digest()
            bits >>= 1
        subtrees.append(hashed_leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the tree as it is now."""
        if not self._subtrees:
            return hashlib.sha256().digest()
        root = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            root = node_hash(left, root)
        return root


def inclusion_holds(hashed_leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Say whether the proof leads from leaf `index`, counted from 0, to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, computed = index, size - 1, hashed_leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and computed == root


def consistency_holds(old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether the proof leads to both roots (RFC 9162, section 2.1.4.2). Every tree begins with the empty one."""
    if old_size == size or old_size == 0:
        return size >= 0 and not proof and old_root == (root if old_size else Tree().root())
    if not 0 < old_size < size:
        return False
    # A perfect old tree is a node of the new one, and the proof leaves it out.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    node, last = old_size - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_computed = computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_computed = node_hash(sibling, old_computed)
            computed = node_hash(sibling, computed)
            while node and not node & 1:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old_computed == old_root and computed == root
