"""The Trust Ledger's part of the OpenAPI document: schemas, examples and paths."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from nodus_core.canonical_json import canonical_json
from nodus_core.leaves import FIRST_PREVIOUS_HASH, LeafFields, leaf_text
from nodus_core.merkle import leaf_hash
from nodus_core.notes import Checkpoint, encode_verifier_key
from nodus_ledger.keys import PrincipalKind
from nodus_ledger.ledger_origin import origin_of
from nodus_ledger.ledger_signing import SEED_BYTES, LedgerSigner

from .schemas import Schema

_HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_HASHES: Schema = {"type": "array", "items": _HASH}
_SEQ: Schema = {"type": "integer", "minimum": 1}
_SIZE: Schema = {"type": "integer", "minimum": 0}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


LEDGER_SCHEMAS: Schema = {
    "LedgerEntry": _object(
        {
            "seq": _SEQ,
            "at": {"type": "string", "format": "date-time"},
            "kind": {"type": "string", "description": "What happened, such as `job.submitted`."},
            "job_id": _TEXT_OR_NULL,
            "key_id": _TEXT_OR_NULL,
            "principal_kind": {"enum": [*(kind.value for kind in PrincipalKind), None]},
            "payload": {"type": "object", "description": "Money in it is whole micro-USD."},
            "prev_hash": _HASH,
            "leaf": {"type": "string", "description": "The canonical JSON (RFC 8785) that `leaf_hash` is of."},
            "leaf_hash": {**_HASH, "description": "SHA-256(0x00 ‖ `leaf`), as in RFC 6962."},
        }
    ),
    "LedgerPage": _object(
        {
            "entries": {"type": "array", "items": {"$ref": "#/components/schemas/LedgerEntry"}},
            "next_after": {"type": ["integer", "null"]},
        }
    ),
    "LedgerKey": _object(
        {
            "origin": {"type": "string"},
            "algorithm": {"const": "ed25519"},
            "public_key": {"type": "string", "description": "Its 32 bytes, in base64."},
            "vkey": {"type": "string", "description": "The key as verifiers of C2SP signed notes take it."},
        }
    ),
    "LedgerCheckpoint": _object(
        {
            "origin": {"type": "string"},
            "size": _SIZE,
            "root_hash": _HASH,
            "note": {"type": "string", "description": "A C2SP signed note: origin, size, root, signature."},
        }
    ),
    "LedgerProof": _object({"seq": _SEQ, "size": _SEQ, "leaf_hash": _HASH, "hashes": _HASHES}),
    "LedgerConsistency": _object({"from": _SEQ, "to": _SEQ, "hashes": _HASHES}),
}

_CUSTOMER = "playground"
_PAYLOAD: Schema = {"is_test": True, "label": "playground", "monthly_cap_micros": None, "signing_required": False}
_FIELDS = LeafFields(
    customer_id=_CUSTOMER,
    seq=1,
    at="2026-01-01T00:00:00.000Z",
    kind="key.minted",
    job_id=None,
    key_id="00000000-0000-4000-8000-000000000001",
    principal_kind="human",
    previous_hash=FIRST_PREVIOUS_HASH,
)
_LEAF = leaf_text(_FIELDS, canonical_json(_PAYLOAD))
_LEAF_HASH = leaf_hash(_LEAF.encode())
_ENTRY_EXAMPLE: Schema = {
    "seq": _FIELDS.seq,
    "at": _FIELDS.at,
    "kind": _FIELDS.kind,
    "job_id": None,
    "key_id": _FIELDS.key_id,
    "principal_kind": _FIELDS.principal_kind,
    "payload": _PAYLOAD,
    "prev_hash": FIRST_PREVIOUS_HASH.hex(),
    "leaf": _LEAF,
    "leaf_hash": _LEAF_HASH.hex(),
}
# Of a key that everybody knows, so that the examples can be verified.
_SIGNER = LedgerSigner.from_seed(bytes(SEED_BYTES))
_ORIGIN = origin_of("ledger.example.com/nodus", _CUSTOMER)
_KEY_EXAMPLE: Schema = {
    "origin": _ORIGIN,
    "algorithm": "ed25519",
    "public_key": base64.b64encode(_SIGNER.public_key).decode(),
    "vkey": encode_verifier_key(_ORIGIN, _SIGNER.public_key),
}
_CHECKPOINT_EXAMPLE: Schema = {
    "origin": _ORIGIN,
    "size": 1,
    "root_hash": _LEAF_HASH.hex(),
    "note": _SIGNER.note(Checkpoint(_ORIGIN, 1, _LEAF_HASH)),
}


def ledger_paths(answer: Callable[[str, str, Any], Schema], errors: Callable[..., Schema], signature: Schema) -> Schema:
    """Return the paths; `answer`, `errors` and `signature` are those of the whole document."""

    def get(operation: str, summary: str, success: Schema, statuses: tuple[int, ...], *parameters: Schema) -> Schema:
        return {
            "get": {
                "operationId": operation,
                "summary": summary,
                "parameters": [*parameters, signature],
                "responses": {"200": success} | errors(*statuses),
            }
        }

    seq: Schema = {"name": "seq", "in": "path", "required": True, "schema": _SEQ}
    return {
        "/v1/ledger": get(
            "listLedger",
            "The customer's Trust Ledger, in its order.",
            answer("A page.", "LedgerPage", {"entries": [_ENTRY_EXAMPLE], "next_after": None}),
            (401, 422),
            _query("job_id", "Only rows about this job.", {"type": "string"}),
            _query("after", "Only rows whose `seq` is above this.", {**_SIZE, "default": 0}),
            _query("limit", "Rows a page; above 200 it is capped.", {**_SEQ, "default": 50}),
        ),
        "/v1/ledger/key": get(
            "getLedgerKey",
            "The key that checkpoints are signed with: pin it.",
            answer("The key.", "LedgerKey", _KEY_EXAMPLE),
            (401,),
        ),
        "/v1/ledger/checkpoint": get(
            "getLedgerCheckpoint",
            "The size and root of the ledger as it is now, signed.",
            answer("The checkpoint.", "LedgerCheckpoint", _CHECKPOINT_EXAMPLE),
            (401,),
        ),
        "/v1/ledger/{seq}/proof": get(
            "getLedgerProof",
            "The proof that a row is in the ledger (RFC 9162, section 2.1.3).",
            answer("The proof.", "LedgerProof", {"seq": 1, "size": 1, "leaf_hash": _LEAF_HASH.hex(), "hashes": []}),
            (401, 404, 422),
            seq,
            _query("size", "Of how many rows; the present size by default.", _SEQ),
        ),
        "/v1/ledger/consistency": get(
            "getLedgerConsistency",
            "The proof that the ledger of one size begins with that of another (RFC 9162, section 2.1.4).",
            answer("The proof.", "LedgerConsistency", {"from": 1, "to": 2, "hashes": [_LEAF_HASH.hex()]}),
            (401, 404, 422),
            _query("from", "The earlier size.", _SEQ, required=True),
            _query("to", "The later size.", _SEQ, required=True),
        ),
    }


def _query(name: str, description: str, schema: Schema, *, required: bool = False) -> Schema:
    parameter: Schema = {"name": name, "in": "query", "description": description, "schema": schema}
    return parameter | {"required": True} if required else parameter
