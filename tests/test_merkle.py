"""The verifier's Merkle tree: against the vectors of RFC 6962's implementations, and against its definitions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus import _merkle as merkle
from tests.support import merkle_definitions as definitions

HASHES = [merkle.leaf_hash(leaf) for leaf in definitions.LEAVES]
EMPTY_ROOT = definitions.root_of([])


def many(count: int) -> list[bytes]:
    """The hashes of so many different leaves."""
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_known_answers(size: int) -> None:
    """They are those that implementations of Certificate Transparency share."""
    tree = merkle.Tree()
    for hashed in HASHES[:size]:
        tree.append(hashed)

    assert (tree.size, tree.root().hex()) == (size, definitions.ROOTS[size])


def test_a_tree_has_the_root_of_its_leaves_at_every_size() -> None:
    """Asking for the root does not change the tree."""
    hashes = many(70)
    tree = merkle.Tree()
    for count, hashed in enumerate(hashes):
        assert tree.root() == definitions.root_of(hashes[:count])
        tree.append(hashed)


def test_every_proof_in_a_small_tree_verifies_for_its_leaf_alone() -> None:
    """Every leaf of every size up to 20 is tried under every index."""
    hashes = many(20)
    for size in range(1, 21):
        root = definitions.root_of(hashes[:size])
        for index, claimed in itertools.product(range(size), repeat=2):
            proof = definitions.inclusion_proof(hashes[:size], index)

            assert merkle.inclusion_holds(hashes[claimed], claimed, size, proof, root) is (claimed == index)


def test_every_growth_of_a_small_tree_verifies() -> None:
    """Every pair of sizes up to 20 is tried, with the right roots and with wrong ones."""
    hashes = many(21)
    roots = [definitions.root_of(hashes[:size]) for size in range(21)]
    for old, new in itertools.combinations_with_replacement(range(1, 21), 2):
        proof = definitions.consistency_proof(hashes[:new], old)

        assert merkle.consistency_holds(old, new, roots[old], roots[new], proof)
        assert not merkle.consistency_holds(old, new, roots[old - 1], roots[new], proof)
        assert not merkle.consistency_holds(old, new, roots[old], roots[new - 1], proof)
        assert not merkle.consistency_holds(old, new, roots[old], roots[new], [*proof, roots[0]])
        if proof:
            assert not merkle.consistency_holds(old, new, roots[old], roots[new], proof[:-1])


@given(st.data())
def test_a_proof_with_any_bit_changed_is_refused(data: st.DataObject) -> None:
    """No bit of the leaf, the path or the root may differ."""
    size = data.draw(st.integers(min_value=2, max_value=40))
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    hashes = many(size)
    parts = [hashes[index], definitions.root_of(hashes), *definitions.inclusion_proof(hashes, index)]
    spoiled = data.draw(st.integers(min_value=0, max_value=len(parts) - 1))
    bit = data.draw(st.integers(min_value=0, max_value=255))
    parts[spoiled] = (int.from_bytes(parts[spoiled], "big") ^ (1 << bit)).to_bytes(32, "big")
    leaf, root, *proof = parts

    assert not merkle.inclusion_holds(leaf, index, size, proof, root)


@given(st.integers(-2, 40), st.integers(-2, 40), st.lists(st.sampled_from(HASHES), max_size=8), st.sampled_from(HASHES))
def test_proofs_that_somebody_made_up_are_refused(first: int, second: int, proof: list[bytes], root: bytes) -> None:
    """The result is False for any sizes and lengths, never an exception."""
    assert merkle.inclusion_holds(merkle.leaf_hash(b"no leaf"), first, second, proof, root) is False
    assert merkle.consistency_holds(first, second, merkle.leaf_hash(b"no root"), root, proof) is False


def test_everything_grew_out_of_the_empty_tree() -> None:
    """From size 0 the proof is empty, and the old root must be that of the empty tree."""
    root = definitions.root_of(HASHES)

    assert merkle.consistency_holds(0, 8, EMPTY_ROOT, root, [])
    assert merkle.consistency_holds(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    assert not merkle.consistency_holds(0, 8, root, root, [])
    assert not merkle.consistency_holds(0, 8, EMPTY_ROOT, root, [root])


@given(st.data())
def test_a_path_that_ends_below_the_root_or_above_it_is_refused(data: st.DataObject) -> None:
    """The length of a path follows from the size, even if the path leads to the given hash."""
    size = data.draw(st.integers(min_value=2, max_value=40))
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    hashes = many(size)
    proof = definitions.inclusion_proof(hashes, index)
    root = definitions.root_of(hashes)
    middle = definitions.split(size)
    below = definitions.root_of(hashes[:middle] if index < middle else hashes[middle:])
    above = {merkle.node_hash(HASHES[0], root), merkle.node_hash(root, HASHES[0])}

    assert not merkle.inclusion_holds(hashes[index], index, size, proof[:-1], below)
    assert not any(merkle.inclusion_holds(hashes[index], index, size, [*proof, HASHES[0]], each) for each in above)
    assert not any(
        merkle.consistency_holds(index, size, definitions.root_of(hashes[:index]), each, [*grown, HASHES[0]])
        for each in above
        for grown in ([definitions.consistency_proof(hashes, index)] if index else [])
    )
