"""A row of the Trust Ledger as its readers see it, over HTTP and in an export."""

from __future__ import annotations

from typing import Any

from .reader import EntryRecord


def entry_view(entry: EntryRecord) -> dict[str, Any]:
    """Return a row as a JSON object; hashes in lower-case hexadecimal."""
    return {
        "seq": entry.seq,
        "at": entry.at,
        "kind": entry.kind,
        "job_id": entry.job_id,
        "key_id": entry.key_id,
        "principal_kind": entry.principal_kind,
        "payload": entry.payload,
        "prev_hash": entry.prev_hash.hex(),
        "leaf": entry.leaf,
        "leaf_hash": entry.leaf_hash.hex(),
    }
