"""Who is calling, and whether they are allowed to: checks the bearer key, then the signature."""

from __future__ import annotations

import time

from nodus_core.spec import is_idempotency_key
from nodus_ledger.keys import KeyRecord
from nodus_ledger.redis_store import RedisUnavailable

from . import signatures
from .api.errors import ApiError
from .calls import Call
from .plane import Plane

_SAFE_METHODS = ("GET", "HEAD")
_REDIS_RETRY_SECONDS = 2


def authenticate(plane: Plane, call: Call) -> KeyRecord:
    """Return the key of a request, after verifying the signature if the key requires one.

    Raises:
        ApiError: 401 `invalid_api_key`, `signature_invalid`, `signature_stale` or `signing_secret_unavailable`; 409
            `signature_replayed`; 503 `signatures_unavailable`.
    """
    key = _find(plane, call.header("authorization"))
    if key.signing_required:
        try:
            _check_signature(plane, call, key)
        except RedisUnavailable:
            # Nothing passes unverified; keys that need not sign never get here.
            raise ApiError(
                503,
                "signatures_unavailable",
                "Signatures cannot be verified right now, because the store of signing secrets does not answer. "
                "Nothing was done: try again.",
                headers={"Retry-After": str(_REDIS_RETRY_SECONDS)},
            ) from None
    return key


def _find(plane: Plane, authorization: str | None) -> KeyRecord:
    scheme, _, api_key = (authorization or "").partition(" ")
    key = plane.keys.find(api_key.strip()) if scheme.lower() == "bearer" and api_key.strip() else None
    if key is None:
        raise ApiError(
            401,
            "invalid_api_key",
            "The API key is missing, unknown or revoked: send `Authorization: Bearer nk_…`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return key


def _check_signature(plane: Plane, call: Call, key: KeyRecord) -> None:
    real_now = time.time()
    usable = plane.keys.signing_secrets(key, int(real_now * 1000))
    try:
        signature = signatures.verify(
            usable.secrets, call.method, call.raw_path, call.body, call.only_header("nodus-signature"), real_now
        )
    except signatures.Unsigned:
        if not usable.is_whole or not usable.secrets:
            raise ApiError(
                401, "signing_secret_unavailable", "The signing secret of this key is not available: rotate the key."
            ) from None
        raise ApiError(
            401,
            "signature_invalid",
            "This key needs a valid Nodus-Signature over method, path and body: sign the exact bytes that are sent.",
        ) from None
    except signatures.Stale as exc:
        side = "behind" if exc.skew_seconds > 0 else "ahead of"
        raise ApiError(
            401,
            "signature_stale",
            f"The signature's time is {abs(exc.skew_seconds)} s {side} this server's, and "
            f"{signatures.TOLERANCE_SECONDS} s are allowed: check the clock.",
            extra={"skew_seconds": exc.skew_seconds},
        ) from None
    if call.method not in _SAFE_METHODS:
        _refuse_replay(plane, call, key, signature, real_now)


def _refuse_replay(plane: Plane, call: Call, key: KeyRecord, signature: str, real_now: float) -> None:
    """Let a signature be used twice only if that changes nothing, because the request is idempotent."""
    idempotency_key = call.idempotency_key()
    if idempotency_key is not None and not is_idempotency_key(idempotency_key):
        idempotency_key = None  # nothing is submitted under it
    first_use = plane.replays.admit(key.id, signature, idempotency_key, real_now)
    if first_use is None or call.method == "DELETE" or call.raw_path.endswith("/cancel"):
        return
    if call.raw_path == "/v1/jobs" and idempotency_key is not None and first_use.idempotency_key == idempotency_key:
        return
    raise ApiError(
        409,
        "signature_replayed",
        "This signature was used before: sign the request afresh.",
        headers={"Retry-After": "1"},
    )
