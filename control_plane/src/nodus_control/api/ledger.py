"""`/v1/ledger`: the customer's Trust Ledger, its key, its signed checkpoints, and proofs."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.responses import Response

from nodus_core.notes import encode_verifier_key
from nodus_ledger.keys.keys import KeyRecord
from nodus_ledger.trust.entry_view import entry_view
from nodus_ledger.trust.reader import TrustLedger, UnknownEntry, UnknownSize

from ..errors import ApiError
from .jobs import read_limit
from .requests import ApiRequest
from .views import to_json

_MAX_DIGITS = 15  # a number that no ledger reaches, and that every JSON reader and database can hold
_DIGITS = re.compile(r"[0-9]+\Z")


class Parts(Protocol):
    """What these operations need of a control plane."""

    trust_ledger: TrustLedger


def list_entries(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """List rows in their order."""
    limit = read_limit(call.parameters.get("limit"))
    after = _whole(call, "after", default=0, lowest=0)
    page = parts.trust_ledger.entries(
        key.customer_id,
        job_id=call.parameters.get("job_id") or None,
        after=after,
        limit=limit,
        key_id=_only_rows_of(key),
    )
    return _json({"entries": [entry_view(entry) for entry in page.entries], "next_after": page.next_after})


def get_key(parts: Parts, _call: ApiRequest, key: KeyRecord) -> Response:
    """Get the key that checkpoints are signed with."""
    origin = parts.trust_ledger.origin_of(key.customer_id)
    public_key = parts.trust_ledger.public_key
    return _json(
        {
            "origin": origin,
            "algorithm": "ed25519",
            "public_key": base64.b64encode(public_key).decode(),
            "vkey": encode_verifier_key(origin, public_key),
        }
    )


def get_checkpoint(parts: Parts, _call: ApiRequest, key: KeyRecord) -> Response:
    """Get a signed checkpoint of the ledger as it is now."""
    signed = parts.trust_ledger.checkpoint(key.customer_id)
    origin, size, root = signed.checkpoint
    return _json({"origin": origin, "size": size, "root_hash": root.hex(), "note": signed.note})


def get_proof(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Prove that a row is in the ledger."""
    seq = call.path_params["seq"]
    size = _whole(call, "size", default=0, lowest=1) or None
    if not _DIGITS.match(seq) or len(seq) > _MAX_DIGITS:
        raise _unknown_entry()
    try:
        proof = parts.trust_ledger.inclusion(key.customer_id, int(seq), size, key_id=_only_rows_of(key))
    except UnknownEntry:
        raise _unknown_entry() from None
    except UnknownSize:
        raise _unknown_size("`size` must be from the row's `seq` to the size of the ledger.") from None
    content = {"seq": proof.seq, "size": proof.size, "leaf_hash": proof.leaf_hash.hex(), "hashes": _hex(proof.hashes)}
    return _json(content)


def get_consistency(parts: Parts, call: ApiRequest, key: KeyRecord) -> Response:
    """Prove that the ledger of one size begins with that of another."""
    old_size = _whole(call, "from", default=None, lowest=1)
    size = _whole(call, "to", default=None, lowest=1)
    if old_size > size:
        raise ApiError(422, "invalid_query", "`from` must not be above `to`.")
    try:
        hashes = parts.trust_ledger.consistency(key.customer_id, old_size, size)
    except UnknownSize:
        raise _unknown_size("`to` must not be above the size of the ledger.") from None
    return _json({"from": old_size, "to": size, "hashes": _hex(hashes)})


def _only_rows_of(key: KeyRecord) -> str | None:
    """Return the key whose rows alone an agent may see, which is its own; None for keys that see all of them."""
    return key.id if key.sees_only_its_own_jobs else None


def _whole(call: ApiRequest, name: str, *, default: int | None, lowest: int) -> int:
    """Read a whole number from the query; without a `default` it is required."""
    text = call.parameters.get(name)
    if text is None and default is not None:
        return default
    if text is not None and _DIGITS.match(text):
        number = int(text) if len(text) <= _MAX_DIGITS else 10**_MAX_DIGITS
        if number >= lowest:
            return number
    raise ApiError(422, "invalid_query", f"`{name}` must be a whole number, {lowest} or more.")


def _unknown_entry() -> ApiError:
    return ApiError(404, "ledger_entry_not_found", "The ledger has no such row.")


def _unknown_size(message: str) -> ApiError:
    return ApiError(404, "ledger_size_not_found", message)


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


def _json(content: dict[str, Any]) -> Response:
    return Response(to_json(content), media_type="application/json")
