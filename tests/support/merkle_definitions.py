"""The Merkle tree of RFC 6962 as its definitions say it, word for word: slow, recursive, and nobody's production code.

Every tree, proof and verifier of the project is held against these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# The eight leaves, and the roots of their first 0, 1, … 8, that implementations of Certificate Transparency share.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def split(size: int) -> int:
    """The largest power of two smaller than the size."""
    power = 1
    while 2 * power < size:
        power *= 2
    return power


def root_of(hashes: Sequence[bytes]) -> bytes:
    """MTH of section 2.1, of leaves that are hashed already."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    k = split(len(hashes))
    return hashlib.sha256(b"\x01" + root_of(hashes[:k]) + root_of(hashes[k:])).digest()


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """PATH of section 2.1.1: from the leaf of this index, counted from 0, to the root."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if index < k:
        return [*inclusion_proof(hashes[:k], index), root_of(hashes[k:])]
    return [*inclusion_proof(hashes[k:], index - k), root_of(hashes[:k])]


def consistency_proof(hashes: Sequence[bytes], old_size: int, *, is_known: bool = True) -> list[bytes]:
    """SUBPROOF of section 2.1.2: from the first `old_size` leaves, 1 or more, to all of them."""
    if old_size == len(hashes):
        return [] if is_known else [root_of(hashes)]
    k = split(len(hashes))
    if old_size <= k:
        return [*consistency_proof(hashes[:k], old_size, is_known=is_known), root_of(hashes[k:])]
    return [*consistency_proof(hashes[k:], old_size - k, is_known=False), root_of(hashes[:k])]
