"""What the control plane writes, the SDK verifies: leaves, notes and keys, made and checked by different code."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

import nodus
from nodus_core import merkle, notes
from nodus_core.canonical_json import MAX_INTEGER, canonical_json

ORIGIN = "nodus.run/ledger/acme"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = notes.VerifierKey(ORIGIN, PRIVATE.public_key().public_bytes_raw())

SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text()
PAYLOADS = st.dictionaries(
    st.text(), st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
)


def ledger_of(payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with these payloads, chained."""
    rows: list[dict[str, Any]] = []
    for seq, payload in enumerate(payloads, 1):
        row = {
            "seq": seq,
            "at": "2026-01-01T00:00:00.000Z",
            "kind": "job.submitted",
            "job_id": None,
            "key_id": "k-1",
            "principal_kind": "human",
            "payload": payload,
            "prev_hash": rows[-1]["leaf_hash"] if rows else "0" * 64,
        }
        leaf = canonical_json({**row, "customer_id": "acme"})
        rows.append({**row, "leaf": leaf, "leaf_hash": merkle.leaf_hash(leaf.encode()).hex()})
    return rows


@given(st.lists(PAYLOADS, max_size=5))
def test_whatever_is_recorded_verifies(payloads: list[dict[str, Any]]) -> None:
    """Keys in any script, in the order of RFC 8785; and the checkpoint over it, under its vkey."""
    rows = ledger_of(payloads)
    root = merkle.root_of(bytes.fromhex(row["leaf_hash"]) for row in rows)
    text = notes.encode_checkpoint(notes.Checkpoint(ORIGIN, len(rows), root))

    report = nodus.verify_ledger(
        rows,
        checkpoint=notes.sign_note(text, KEY, PRIVATE.sign),
        public_key=notes.encode_verifier_key(*KEY),
    )

    assert (report.size, report.root_hash, report.signature_verified) == (len(rows), root.hex(), True)
