"""The Merkle tree: against the vectors of RFC 6962's implementations, and against its definitions, word for word."""

from __future__ import annotations

import merkle_definitions as definitions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core import merkle

HASHES = [merkle.leaf_hash(leaf) for leaf in definitions.LEAVES]

SIZES = st.integers(min_value=0, max_value=70)


def many(count: int) -> list[bytes]:
    """The hashes of so many different leaves."""
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


def roots_of(hashes: list[bytes], ranges: list[tuple[int, int]]) -> list[bytes]:
    """The proof that consists of these ranges."""
    return [definitions.root_of(hashes[start:end]) for start, end in ranges]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_known_answers(size: int) -> None:
    """The tree of the first leaves, whichever way it is made."""
    assert merkle.root_of(HASHES[:size]).hex() == definitions.ROOTS[size]
    assert definitions.root_of(HASHES[:size]).hex() == definitions.ROOTS[size]


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
        assert head.root() == definitions.root_of(hashes[:count])
        head = merkle.TreeHead(head.size, head.subtrees)
        head.append(hashed)

    assert (head.size, head.root()) == (size, definitions.root_of(hashes))


@given(st.data())
def test_proofs_are_those_of_the_definition(data: st.DataObject) -> None:
    """The ranges are those whose roots the recursive definitions give."""
    size = data.draw(st.integers(min_value=1, max_value=70))
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    hashes = many(size)
    inclusion, consistency = merkle.inclusion_ranges(index, size), merkle.consistency_ranges(index + 1, size)

    assert roots_of(hashes, inclusion) == definitions.inclusion_proof(hashes, index)
    assert roots_of(hashes, consistency) == definitions.consistency_proof(hashes, index + 1)


@pytest.mark.parametrize(("size", "subtrees"), [(-1, []), (1, []), (3, [b"0" * 32]), (0, [b"0" * 32]), (1, [b"0"])])
def test_a_head_is_taken_up_only_from_what_fits(size: int, subtrees: list[bytes]) -> None:
    """As many subtrees as the size has bits, each a hash."""
    with pytest.raises(ValueError, match="subtree"):
        merkle.TreeHead(size, subtrees)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    """In a tree of that size."""
    with pytest.raises(ValueError, match=f"no leaf {index}"):
        merkle.inclusion_ranges(index, size)


@pytest.mark.parametrize(("old_size", "size"), [(0, 3), (-1, 3), (4, 3)])
def test_there_is_no_proof_of_a_growth_that_did_not_happen(old_size: int, size: int) -> None:
    """Backwards, or from nothing."""
    with pytest.raises(ValueError, match="no consistency proof"):
        merkle.consistency_ranges(old_size, size)
