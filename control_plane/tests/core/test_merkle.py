"""The Merkle tree: against the vectors of RFC 6962's implementations, and against its definitions, word for word."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core import merkle

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
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]

SIZES = st.integers(min_value=0, max_value=70)


def many(count: int) -> list[bytes]:
    """The hashes of so many different leaves."""
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def split(size: int) -> int:
    """RFC 6962: the largest power of two smaller than the size."""
    return max(power for power in (1 << bit for bit in range(64)) if power < size)


def tree_hash(hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1: MTH, of hashed leaves."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return sha256(b"\x01" + tree_hash(hashes[:k]) + tree_hash(hashes[k:]))


def path(m: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962, section 2.1.1: PATH."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if m < k:
        return [*path(m, hashes[:k]), tree_hash(hashes[k:])]
    return [*path(m - k, hashes[k:]), tree_hash(hashes[:k])]


def subproof(m: int, hashes: list[bytes], known: bool) -> list[bytes]:
    """RFC 6962, section 2.1.2: SUBPROOF."""
    if m == len(hashes):
        return [] if known else [tree_hash(hashes)]
    k = split(len(hashes))
    if m <= k:
        return [*subproof(m, hashes[:k], known), tree_hash(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), tree_hash(hashes[:k])]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_known_answers(size: int) -> None:
    """The tree of the first leaves, whichever way it is made."""
    assert merkle.root_of(HASHES[:size]).hex() == ROOTS[size]
    assert tree_hash(HASHES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [
        (0, 1, []),
        (0, 8, [1, (2, 4), (4, 8)]),
        (5, 8, [4, (6, 8), (0, 4)]),
        (2, 3, [(0, 2)]),
        (1, 5, [0, (2, 4), 4]),
    ],
)
def test_inclusion_proofs_are_made_of_the_known_subtrees(index: int, size: int, proof: list[object]) -> None:
    """The shapes that RFC 6962 draws in its example, from the leaf upwards."""
    ranges = [part if isinstance(part, tuple) else (part, part + 1) for part in proof]  # type: ignore[operator]

    assert merkle.inclusion_ranges(index, size) == ranges


@pytest.mark.parametrize(
    ("old_size", "size", "ranges"),
    [
        (1, 1, []),
        (1, 8, [(1, 2), (2, 4), (4, 8)]),
        (6, 8, [(4, 6), (6, 8), (0, 4)]),
        (2, 5, [(2, 4), (4, 5)]),
        (3, 7, [(2, 3), (3, 4), (0, 2), (4, 7)]),
        (4, 7, [(4, 7)]),
        (6, 7, [(4, 6), (6, 7), (0, 4)]),
    ],
)
def test_consistency_proofs_are_made_of_the_known_subtrees(
    old_size: int, size: int, ranges: list[tuple[int, int]]
) -> None:
    """Among them the three of RFC 6962's example."""
    assert merkle.consistency_ranges(old_size, size) == ranges


@given(SIZES)
def test_a_head_that_grows_has_the_root_of_the_whole(size: int) -> None:
    """Leaf by leaf, and taken up again from what was kept of it."""
    head = merkle.TreeHead()
    hashes = many(size)
    for count, hashed in enumerate(hashes):
        assert head.root() == tree_hash(hashes[:count])
        head = merkle.TreeHead(head.size, head.subtrees)
        head.append(hashed)

    assert (head.size, head.root()) == (size, tree_hash(hashes))


@given(st.data())
def test_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    """The iterative forms give what the recursive definitions give."""
    size = data.draw(st.integers(min_value=1, max_value=70))
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    hashes = many(size + 3)

    assert merkle.inclusion_proof(hashes, index, size) == path(index, hashes[:size])
    assert merkle.consistency_proof(hashes, index + 1, size) == subproof(index + 1, hashes[:size], True)


def test_every_proof_in_a_small_tree_verifies_for_its_leaf_alone() -> None:
    """Each leaf of each size up to 20, under every index."""
    hashes = many(20)
    for size in range(1, 21):
        root = tree_hash(hashes[:size])
        for index, claimed in itertools.product(range(size), repeat=2):
            proof = path(index, hashes[:size])

            assert merkle.verify_inclusion(hashes[claimed], claimed, size, proof, root) is (claimed == index)


def test_every_growth_of_a_small_tree_verifies() -> None:
    """From each size to each size up to 20, and never between other roots."""
    hashes = many(21)
    roots = [tree_hash(hashes[:size]) for size in range(21)]
    for old, new in itertools.combinations_with_replacement(range(1, 21), 2):
        proof = subproof(old, hashes[:new], True)

        assert merkle.verify_consistency(old, new, roots[old], roots[new], proof)
        assert not merkle.verify_consistency(old, new, roots[old - 1], roots[new], proof)
        assert not merkle.verify_consistency(old, new, roots[old], roots[new - 1], proof)
        assert not merkle.verify_consistency(old, new, roots[old], roots[new], [*proof, roots[0]])
        if proof:
            assert not merkle.verify_consistency(old, new, roots[old], roots[new], proof[:-1])


@given(st.data())
def test_a_proof_with_any_bit_changed_is_refused(data: st.DataObject) -> None:
    """In the leaf, in the proof or in the root: nothing of it is free to choose."""
    size = data.draw(st.integers(min_value=2, max_value=40))
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    hashes = many(size)
    parts = [hashes[index], tree_hash(hashes), *path(index, hashes)]
    spoiled = data.draw(st.integers(min_value=0, max_value=len(parts) - 1))
    bit = data.draw(st.integers(min_value=0, max_value=255))
    parts[spoiled] = (int.from_bytes(parts[spoiled], "big") ^ (1 << bit)).to_bytes(32, "big")
    leaf, root, *proof = parts

    assert not merkle.verify_inclusion(leaf, index, size, proof, root)


@given(st.integers(-2, 40), st.integers(-2, 40), st.lists(st.sampled_from(HASHES), max_size=8), st.sampled_from(HASHES))
def test_proofs_that_somebody_made_up_are_refused(first: int, second: int, proof: list[bytes], root: bytes) -> None:
    """Whatever the sizes and however long: False, never an exception."""
    assert merkle.verify_inclusion(sha256(b"no leaf"), first, second, proof, root) is False
    assert merkle.verify_consistency(first, second, sha256(b"no root"), root, proof) is False


def test_everything_grew_out_of_the_empty_tree() -> None:
    """From size 0 there is nothing to prove, but the empty root has to be right."""
    root = tree_hash(HASHES)

    assert merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, root, [])
    assert merkle.verify_consistency(0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, [])
    assert not merkle.verify_consistency(0, 8, root, root, [])
    assert not merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, root, [root])


@pytest.mark.parametrize(("size", "subtrees"), [(-1, []), (1, []), (3, [b"0" * 32]), (0, [b"0" * 32]), (1, [b"0"])])
def test_a_head_is_taken_up_only_from_what_fits(size: int, subtrees: list[bytes]) -> None:
    """As many subtrees as the size has bits, each a hash."""
    with pytest.raises(ValueError, match="subtree"):
        merkle.TreeHead(size, subtrees)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3), (0, 9)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    """Nor of a size that the log has not reached."""
    with pytest.raises(ValueError, match=r"leaf|made of"):
        merkle.inclusion_proof(HASHES, index, size)


@pytest.mark.parametrize(("old_size", "size"), [(0, 3), (-1, 3), (4, 3), (1, 9)])
def test_there_is_no_proof_of_a_growth_that_did_not_happen(old_size: int, size: int) -> None:
    """Backwards, from nothing, or to a size that the log has not reached."""
    with pytest.raises(ValueError, match=r"consistency|made of"):
        merkle.consistency_proof(HASHES, old_size, size)
