"""The text of a ledger row that is hashed: the canonical JSON (RFC 8785) of everything that the row says.

The keys of that object, in their order: at, customer_id, job_id, key_id, kind, payload, prev_hash, principal_kind, seq.
"""

from __future__ import annotations

from json.encoder import encode_basestring
from typing import NamedTuple

FIRST_PREVIOUS_HASH = bytes(32)
"""What stands for the row before in the first one."""


class LeafFields(NamedTuple):
    """What a row says beside its payload. `at` is RFC 3339; `previous_hash` is the leaf hash of the row before."""

    customer_id: str
    seq: int
    at: str
    kind: str
    job_id: str | None
    key_id: str | None
    principal_kind: str | None
    previous_hash: bytes


def leaf_frame(fields: LeafFields) -> tuple[str, str]:
    """Return what stands before and after the payload in the text of a leaf.

    The nine keys and their order are always the same, so this writes them out rather than sort them: a log of
    millions of rows is checked against it.
    """
    text = _text
    before = (
        f'{{"at":{text(fields.at)},"customer_id":{text(fields.customer_id)},"job_id":{text(fields.job_id)}'
        f',"key_id":{text(fields.key_id)},"kind":{text(fields.kind)},"payload":'
    )
    after = (
        f',"prev_hash":"{fields.previous_hash.hex()}","principal_kind":{text(fields.principal_kind)}'
        f',"seq":{fields.seq}}}'
    )
    return before, after


def _text(value: str | None) -> str:
    # Its escapes are those of RFC 8785, section 3.2.2.2.
    return "null" if value is None else encode_basestring(value)


def leaf_text(fields: LeafFields, payload: str) -> str:
    """Return the text of a leaf; `payload` is canonical JSON already."""
    before, after = leaf_frame(fields)
    return before + payload + after
