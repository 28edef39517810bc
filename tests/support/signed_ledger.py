"""A Trust Ledger made for tests by its written rules, with nothing of the code that verifies it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.merkle_definitions import root_of

ORIGIN = "nodus.run/ledger/acme"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
OTHER_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(32))

Row = dict[str, Any]


def rows(count: int, **fields: Any) -> list[Row]:
    """So many rows, each with `fields` in place of its own."""
    made: list[Row] = []
    for seq in range(1, count + 1):
        row = {
            "seq": seq,
            "at": f"2026-01-01T00:00:{seq % 60:02d}.000Z",
            "kind": "job.transition",
            "job_id": None if seq == 1 else f"job-{seq}",
            "key_id": "key-1",
            "principal_kind": "agent",
            "payload": {
                "to": "running",
                "attempt": seq,
                "note": "café \u2603 \U0001f600",
                "nested": {"b": [], "a": None},
            },
            **fields,
        }
        made.append(link(row, made[-1]["leaf_hash"] if made else "0" * 64))
    return made


def link(row: Row, prev_hash: str, *, customer_id: str = "acme", **more: Any) -> Row:
    """Write a row's leaf anew, after the row with that hash; `more` stands in the leaf alone."""
    said = {name: value for name, value in row.items() if name not in ("leaf", "leaf_hash")} | {"prev_hash": prev_hash}
    leaf = canonical({**said, "customer_id": customer_id, **more})
    return {**said, "leaf": leaf, "leaf_hash": sha256(b"\x00" + leaf.encode()).hex()}


def relink(made: Sequence[Row]) -> list[Row]:
    """Write the chain anew, as whoever has the database but not the key could."""
    linked: list[Row] = []
    for seq, row in enumerate(made, 1):
        linked.append(link({**row, "seq": seq}, linked[-1]["leaf_hash"] if linked else "0" * 64))
    return linked


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def leaf_hashes(made: Sequence[Row]) -> list[bytes]:
    return [bytes.fromhex(row["leaf_hash"]) for row in made]


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def note_of(origin: str, size: int, root: bytes, private: Ed25519PrivateKey = PRIVATE) -> str:
    """A signed checkpoint."""
    text = f"{origin}\n{size}\n{base64_of(root)}\n"
    public = private.public_key().public_bytes_raw()
    key_id = sha256(origin.encode() + b"\n\x01" + public)[:4]
    return f"{text}\n\u2014 {origin} {base64_of(key_id + private.sign(text.encode()))}\n"


def checkpoint_of(made: Sequence[Row], **options: Any) -> dict[str, Any]:
    """The checkpoint of these rows, as the server gives it."""
    root = root_of(leaf_hashes(made))
    origin = options.pop("origin", ORIGIN)
    note = note_of(origin, len(made), root, **options)
    return {"origin": origin, "size": len(made), "root_hash": root.hex(), "note": note}


def key_of(private: Ed25519PrivateKey = PRIVATE, origin: str = ORIGIN) -> dict[str, Any]:
    """The public key, as the server gives it."""
    public = private.public_key().public_bytes_raw()
    key_id = sha256(origin.encode() + b"\n\x01" + public)[:4]
    vkey = f"{origin}+{key_id.hex()}+{base64_of(bytes([1]) + public)}"
    return {"origin": origin, "algorithm": "ed25519", "public_key": base64_of(public), "vkey": vkey}
