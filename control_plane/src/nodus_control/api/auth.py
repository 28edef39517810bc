"""Who is calling, and whether they are allowed to: checks the bearer key, then the signature, then the rate limit."""

from __future__ import annotations

import time
from typing import Protocol

from nodus_core.spec import is_idempotency_key
from nodus_ledger.database.redis_store import RedisUnavailable
from nodus_ledger.keys.keys import KeyRecord, Keys
from nodus_ledger.keys.replay_protection import ReplayProtection

from ..access import signatures
from ..access.rate_limiter import RateLimiter
from ..access.recent_callers import Callers, bearer_key
from ..clock import Clock
from ..errors import ApiError
from .requests import ApiRequest

_SAFE_METHODS = ("GET", "HEAD")
_QUOTES = "/v1/quotes"
_SUBMISSIONS = ("/v1/jobs", "/v1/jobs/batch")
_REDIS_RETRY_SECONDS = 2


class Parts(Protocol):
    """What of a control plane tells who is calling."""

    callers: Callers
    clock: Clock
    keys: Keys
    limits: RateLimiter
    replay_protection: ReplayProtection


def authenticate(parts: Parts, call: ApiRequest, *, tokens: int = 1) -> KeyRecord:
    """Return the key of a request, after verifying the signature if the key requires one.

    What fails here counts in the bucket of the client's address; what passes takes `tokens` from the key's.

    Raises:
        ApiError: 401 `invalid_api_key`, `key_expired`, `signature_invalid`, `signature_stale` or
            `signing_secret_unavailable`; 409 `signature_replayed`; 422 `batch_too_large`; 429 `rate_limited`;
            503 `signatures_unavailable`.
    """
    try:
        key = _find(parts, call)
        if key.signing_required:
            _require_signature(parts, call, key)
    except ApiError as exc:
        if exc.status < 500:
            parts.limits.count_failure(call.address)
        raise
    parts.limits.admit(key, tokens)
    return key


def _require_signature(parts: Parts, call: ApiRequest, key: KeyRecord) -> None:
    try:
        _check_signature(parts, call, key)
    except RedisUnavailable:
        # Nothing passes unverified; keys that need not sign never get here.
        raise ApiError(
            503,
            "signatures_unavailable",
            "Signatures cannot be verified right now, because the store of signing secrets does not answer. "
            "Nothing was done: try again.",
            headers={"Retry-After": str(_REDIS_RETRY_SECONDS)},
        ) from None


def _find(parts: Parts, call: ApiRequest) -> KeyRecord:
    api_key = bearer_key(call.header("authorization"))
    key = None
    if api_key is not None:
        # Looked up a moment ago, if this is the first request with it.
        key, call.found = call.found or parts.keys.find(api_key), None
        if key is None:
            parts.callers.forget(api_key)
        else:
            parts.callers.remember(api_key, key, parts.limits.of_key(key), call.caller)
    if key is None:
        raise ApiError(
            401,
            "invalid_api_key",
            "The API key is missing, unknown or revoked: send `Authorization: Bearer nk_…`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if key.has_expired(parts.clock.now()):
        raise ApiError(
            401,
            "key_expired",
            "The API key has expired: ask whoever made it for another.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return key


def _check_signature(parts: Parts, call: ApiRequest, key: KeyRecord) -> None:
    real_now = time.time()
    usable = parts.keys.signing_secrets(key, int(real_now * 1000))
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
        _refuse_replay(parts, call, key, signature, real_now)


def _refuse_replay(parts: Parts, call: ApiRequest, key: KeyRecord, signature: str, real_now: float) -> None:
    """Let a signature be used twice only if that changes nothing, because the request is idempotent."""
    idempotency_key = call.idempotency_key()
    if idempotency_key is not None and not is_idempotency_key(idempotency_key):
        idempotency_key = None  # nothing is submitted under it
    first_use = parts.replay_protection.admit(key.id, signature, idempotency_key, real_now)
    if first_use is None or call.method == "DELETE" or call.raw_path == _QUOTES or call.raw_path.endswith("/cancel"):
        return
    is_submission = call.raw_path in _SUBMISSIONS
    if is_submission and idempotency_key is not None and first_use.idempotency_key == idempotency_key:
        return
    raise ApiError(
        409,
        "signature_replayed",
        "This signature was used before: sign the request afresh.",
        headers={"Retry-After": "1"},
    )
