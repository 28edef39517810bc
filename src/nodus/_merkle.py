"""The verifier's half of RFC 6962's Merkle tree. Standard library only.

The control plane makes its trees and proofs in `nodus_core.merkle`: a verifier must not share code with what it
verifies. A test of the control plane checks that the two agree.
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
    sides = _sides(index, size - 1, len(proof))
    if sides is None:
        return False
    computed = hashed_leaf
    for sibling, is_left in zip(proof, sides, strict=True):
        computed = node_hash(sibling, computed) if is_left else node_hash(computed, sibling)
    return computed == root


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
    # The path begins at the largest perfect subtree in which the old tree ends.
    node, last = old_size - 1, size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    sides = _sides(node, last, len(path) - 1)
    if sides is None:
        return False
    old_computed = computed = path[0]
    for sibling, is_left in zip(path[1:], sides, strict=True):
        if is_left:
            # What stands on the left was there before: it belongs to the old tree too.
            old_computed = node_hash(sibling, old_computed)
            computed = node_hash(sibling, computed)
        else:
            computed = node_hash(computed, sibling)
    return old_computed == old_root and computed == root


def _sides(node: int, last: int, length: int) -> list[bool] | None:
    """Say of each step of a path to the root whether its sibling stands on the left; None if it does not end there.

    Args:
        node: the number of the node at which the path begins, among those of its level.
        last: the number of the last node of that level.
        length: how many steps the path has.
    """
    sides = []
    for _ in range(length):
        if last == 0:
            return None
        is_left = bool(node & 1) or node == last
        sides.append(is_left)
        if is_left:
            # The last node of a level without a sibling rises until it has one.
            while node and not node & 1:
                node >>= 1
                last >>= 1
        node >>= 1
        last >>= 1
    return sides if last == 0 else None
