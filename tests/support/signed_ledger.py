"""A Trust Ledger made for tests by its written rules, with nothing of the code that verifies it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.merkle_definitions import inclusion_proof, root_of

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


def statement_rows(costs: Sequence[int], *, before: int = 1, after: int = 1) -> list[Row]:
    """Rows of January 2026 in which jobs are settled at these costs, among rows of the months beside it."""
    kinds = ("human", "agent")
    made = [{"at": "2025-12-31T23:59:59.999Z", "kind": "job.settled", "payload": {"cost_micros": 7}}] * before
    for number, cost in enumerate(costs):
        made.append({"at": "2026-01-31T23:59:59.999Z", "kind": "job.transition", "payload": {"note": "café \u2603"}})
        payload = {"simulated": number % 3 == 2, "cost_micros": cost, "supplier": "caf\u00e9 \u2028"}
        settled = {"at": "2026-01-01T00:00:00.000Z", "kind": "job.settled", "payload": payload}
        made.append({**settled, "principal_kind": kinds[number % 2]})
    made += [{"at": "2026-02-01T00:00:00.000Z", "kind": "job.settled", "payload": {"cost_micros": 9}}] * after
    other = {"job_id": "job-1", "key_id": "key-1", "principal_kind": "human"}
    return relink([{**other, **row} for row in made])


def statement_of(
    made: Sequence[Row], first: int | None, last: int | None, *, month: str = "2026-01", customer_id: str = "acme"
) -> list[dict[str, Any]]:
    """The lines of a statement, with the rows from `first` to `last`; None for a month without rows."""
    of_month = [] if first is None or last is None else made[first - 1 : last]
    settled = [row for row in of_month if row["kind"] == "job.settled" and row["at"].startswith(month)]
    kinds = sorted({row["principal_kind"] for row in settled})
    totals = {
        **_sum(settled),
        "by_principal_kind": {kind: _sum([row for row in settled if row["principal_kind"] == kind]) for kind in kinds},
        "simulated": _sum([row for row in settled if row["payload"].get("simulated", True)]),
    }
    proof = None
    if first is not None and last is not None:
        paths = (inclusion_proof(leaf_hashes(made), seq - 1) for seq in (first, last))
        proof = dict(zip(("first", "last"), ([each.hex() for each in path] for path in paths), strict=True))
    return [
        {"origin": ORIGIN, "customer_id": customer_id, "month": month, "first_seq": first, "last_seq": last},
        *({"leaf": row["leaf"]} for row in of_month),
        {"checkpoint": checkpoint_of(made), "proof": proof, "totals": totals, "final": True},
    ]


def written(lines: Sequence[object]) -> bytes:
    """A statement as the server writes it."""
    return b"".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in lines)


def _sum(settled: Sequence[Row]) -> dict[str, int]:
    return {"jobs": len(settled), "cost_micros": sum(row["payload"]["cost_micros"] for row in settled)}
