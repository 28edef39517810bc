"""The text of a leaf is the canonical JSON of what the row says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.canonical_json import canonical_json
from nodus_core.leaves import LeafFields, leaf_text
from nodus_core.times import timestamp

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    fields=st.builds(
        LeafFields,
        customer_id=texts,
        seq=st.integers(1, 2**53 - 1),
        at=texts,
        kind=texts,
        job_id=st.none() | texts,
        key_id=st.none() | texts,
        principal_kind=st.none() | texts,
        previous_hash=st.binary(min_size=32, max_size=32),
    ),
    payload=st.dictionaries(texts, st.none() | st.booleans() | texts | st.integers(-(2**53) + 1, 2**53 - 1)),
)
def test_a_leaf_is_canonical_json_whatever_is_in_it(fields: LeafFields, payload: dict[str, object]) -> None:
    """Written out by hand or sorted by the canonical encoder, the text is the same."""
    expected = canonical_json(
        {
            "seq": fields.seq,
            "at": fields.at,
            "kind": fields.kind,
            "customer_id": fields.customer_id,
            "job_id": fields.job_id,
            "key_id": fields.key_id,
            "principal_kind": fields.principal_kind,
            "payload": payload,
            "prev_hash": fields.previous_hash.hex(),
        }
    )

    assert leaf_text(fields, canonical_json(payload)) == expected


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_600_007, "2026-01-01T00:00:00.007Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
    ],
)
def test_a_time_is_told_in_utc_to_the_millisecond(milliseconds: int, expected: str) -> None:
    """Nothing is rounded, and nothing is left out."""
    assert timestamp(milliseconds) == expected
