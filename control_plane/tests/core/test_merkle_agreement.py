"""The tree stands twice, in the control plane and in the SDK that checks on it: held to the same answers here."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodus import _merkle as of_the_sdk
from nodus_core import merkle

HASHES = [merkle.leaf_hash(str(number).encode()) for number in range(70)]


@given(st.binary(), st.binary())
def test_hashes_agree(left: bytes, right: bytes) -> None:
    """Of leaves and of nodes."""
    assert of_the_sdk.leaf_hash(left) == merkle.leaf_hash(left)
    assert of_the_sdk.node_hash(left, right) == merkle.node_hash(left, right)


@given(st.integers(0, 70))
def test_roots_agree(size: int) -> None:
    """Of every size."""
    tree = of_the_sdk.Tree()
    for hashed in HASHES[:size]:
        tree.append(hashed)

    assert (tree.size, tree.root()) == (size, merkle.root_of(HASHES[:size]))


@given(st.integers(1, 70), st.integers(1, 70))
def test_the_sdk_accepts_the_proofs_of_the_control_plane(first: int, second: int) -> None:
    """Of every row in every size, and of every growth."""
    old, size = sorted((first, second))
    root = merkle.root_of(HASHES[:size])
    path = [merkle.root_of(HASHES[start:end]) for start, end in merkle.inclusion_ranges(old - 1, size)]
    growth = [merkle.root_of(HASHES[start:end]) for start, end in merkle.consistency_ranges(old, size)]

    assert of_the_sdk.inclusion_holds(HASHES[old - 1], old - 1, size, path, root)
    assert of_the_sdk.consistency_holds(old, size, merkle.root_of(HASHES[:old]), root, growth)
