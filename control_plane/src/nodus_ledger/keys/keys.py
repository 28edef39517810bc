"""API keys: who is calling, for which customer, with which rights.

Only the SHA-256 of an API key is stored. That is enough, because the key is 43 random characters from `secrets`, 256
bits: nobody can try all candidates, so a slow password hash would protect nothing, and would cost every request time. A
thief of the database cannot turn the hashes back into keys.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import secrets
import string
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, bindparam, insert, or_, select, update

from nodus_core.rate_limits import OwnLimit, RateLimit

from ..database.database import Database
from ..database.prepared import Prepared
from ..database.redis_store import RedisUnavailable
from ..database.schema import api_keys, reservations
from ..errors import BudgetFigures
from ..trust import key_entries
from ..trust.key_entries import KeyOwner
from ..trust.log import append_all
from . import budgets, waiting_jobs
from .customers import set_stripe_customer
from .signing_secrets import KeptSecret, SigningSecrets, UsableSecrets
from .thresholds import millionths

OLD_SECRET_VERIFIES_MS = 24 * 3_600_000
"""How long, in real time, a signing secret verifies after it was rotated."""

_ALPHABET = string.ascii_letters + string.digits
_KEY_CHARACTERS = 43


class PrincipalKind(str, enum.Enum):
    """The kinds of principal that use a key."""

    HUMAN = "human"
    AGENT = "agent"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is stored, which does not suffice to call the API. The cap is in micro-USD."""

    id: str
    customer_id: str
    label: str
    principal_kind: str
    is_test: bool
    signing_required: bool
    signing_secret: bytes | None = field(repr=False)
    signing_secret_hash: bytes | None = field(repr=False)
    previous_signing_secret: bytes | None = field(repr=False)
    previous_signing_secret_hash: bytes | None = field(repr=False)
    previous_signing_secret_until: int | None
    monthly_cap: int | None
    threshold_millionths: int | None
    created_at: int
    revoked_at: int | None
    rate_per_second: int | None
    rate_burst: int | None
    expires_at: int | None

    def has_expired(self, now: int) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at

    @property
    def rate_limit(self) -> OwnLimit | None:
        """Its own rate limit; None for the control plane's."""
        if self.rate_per_second is None:
            return None
        return OwnLimit(RateLimit(self.rate_per_second, self.rate_burst or 1) if self.rate_per_second else None)

    @property
    def sees_only_its_own_jobs(self) -> bool:
        """Whether it may cancel, and read the logs and ledger rows of, only the jobs that it submitted itself."""
        return self.principal_kind == PrincipalKind.AGENT.value

    @property
    def idempotency_scope(self) -> str:
        """Among whose submissions its idempotency keys are unique: an agent's own, else its customer's (empty).

        So an agent can never take a key that a person is about to use.
        """
        return self.id if self.principal_kind == PrincipalKind.AGENT.value else ""

    @property
    def threshold(self) -> float | None:
        """The fraction of its cap at which subscribers are notified; None for the control plane's default."""
        return None if self.threshold_millionths is None else self.threshold_millionths / 1_000_000

    @property
    def owner(self) -> KeyOwner:
        """Whose key it is, as rows of the Trust Ledger name it."""
        return KeyOwner(self.id, self.customer_id, self.principal_kind)

    @property
    def kept_secret(self) -> KeptSecret:
        """Its signing secret, as it is kept."""
        return KeptSecret(self.signing_secret, self.signing_secret_hash)

    @property
    def previous_kept_secret(self) -> KeptSecret:
        """The signing secret before that."""
        return KeptSecret(self.previous_signing_secret, self.previous_signing_secret_hash)


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key and its secrets, which exist in the clear only here."""

    id: str
    api_key: str = field(repr=False)
    signing_secret: str | None = field(repr=False)


_FIELDS: list[Column[Any]] = [
    api_keys.c.id,
    api_keys.c.customer_id,
    api_keys.c.label,
    api_keys.c.principal_kind,
    api_keys.c.is_test,
    api_keys.c.signing_required,
    api_keys.c.signing_secret,
    api_keys.c.signing_secret_hash,
    api_keys.c.previous_signing_secret,
    api_keys.c.previous_signing_secret_hash,
    api_keys.c.previous_signing_secret_until,
    api_keys.c.monthly_cap,
    api_keys.c.threshold_millionths,
    api_keys.c.created_at,
    api_keys.c.revoked_at,
    api_keys.c.rate_per_second,
    api_keys.c.rate_burst,
    api_keys.c.expires_at,
]
# Sealed afresh every time: they differ even where the secret is the same.
_RESEALED = (
    "signing_secret",
    "signing_secret_hash",
    "previous_signing_secret",
    "previous_signing_secret_hash",
    "previous_signing_secret_until",
)
_BY_ID = select(*_FIELDS).where(api_keys.c.id == bindparam("key"))
_BY_HASH = Prepared(select(*_FIELDS).where(api_keys.c.key_hash == bindparam("hash"), api_keys.c.revoked_at.is_(None)))
_LOCKED_LIVE = (
    select(*_FIELDS).where(api_keys.c.id == bindparam("key"), api_keys.c.revoked_at.is_(None)).with_for_update()
)
_CHANGE = update(api_keys).where(api_keys.c.id == bindparam("of_key"))


class UnknownKey(Exception):
    """There is no key with this id, or it is revoked."""


class KeyDoesNotSign(Exception):
    """The key was minted without a signing secret."""


class Keys:
    """The keys of all customers."""

    def __init__(self, database: Database, secrets: SigningSecrets, *, are_tests: bool = False) -> None:
        """`are_tests`: whether the suppliers here are simulated, and so take test keys only."""
        self._database = database
        self._secrets = secrets
        self._are_tests = are_tests

    def find(self, api_key: str) -> KeyRecord | None:
        """Return the key that a caller presented; None if it is unknown or revoked.

        Reads the database for every request, or for several that have come together, so that a revocation holds from
        the next request on, whichever process made it.
        """
        key_hash = _hash(api_key)
        return self._database.once(("key", key_hash), lambda: self._find(key_hash))

    def _find(self, key_hash: bytes) -> KeyRecord | None:
        row = self._database.first(_BY_HASH, {"hash": key_hash})
        return None if row is None else KeyRecord(*row)

    def live(self, key_ids: Sequence[str], now: int) -> set[str]:
        """Return which of these keys are neither revoked nor expired."""
        query = select(api_keys.c.id).where(
            api_keys.c.id.in_(key_ids),
            api_keys.c.revoked_at.is_(None),
            or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now),
        )
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def signing_secrets(self, key: KeyRecord, real_now: int) -> UsableSecrets:
        """Return the secrets that verify a key's signatures at a real time: its own, and for a day the rotated one.

        Raises:
            RedisUnavailable: they are in Redis, which does not answer.
        """
        kept = [key.kept_secret]
        if key.previous_signing_secret_until is not None and real_now < key.previous_signing_secret_until:
            kept.append(key.previous_kept_secret)
        return self._secrets.open(key.id, kept)

    def all(self, customer_id: str | None = None) -> list[KeyRecord]:
        """Return every key, revoked ones included, of one customer or of all, in the order of their making."""
        query = select(*_FIELDS).order_by(api_keys.c.customer_id, api_keys.c.created_at, api_keys.c.id)
        if customer_id is not None:
            query = query.where(api_keys.c.customer_id == customer_id)
        with self._database.read() as connection:
            return [KeyRecord(*row) for row in connection.execute(query)]

    def budget(self, key_id: str, now: int) -> BudgetFigures:
        """Return a key's month."""
        with self._database.read() as connection:
            return budgets.figures(connection, key_id, now)

    def mint(
        self,
        *,
        customer_id: str,
        label: str,
        principal_kind: PrincipalKind,
        now: int,
        monthly_cap: int | None = None,
        signing_required: bool = False,
        is_test: bool | None = None,
        threshold: float | None = None,
        rate_limit: OwnLimit | None = None,
        expires_at: int | None = None,
        stripe_customer: str | None = None,
    ) -> MintedKey:
        """Make a key. `monthly_cap` is in micro-USD; a signing secret is made where signing is required.

        Unless `is_test` says what it is for, it is of the kind that the suppliers here take. Without a `rate_limit` of
        its own, the control plane's holds. `expires_at` is in Unix milliseconds. `stripe_customer` is who the customer
        is in Stripe.

        Raises:
            OtherStripeCustomer: the customer is another in Stripe already; nothing was made.
            RedisUnavailable: the secret is to be kept in Redis, which does not answer; nothing was made.
        """
        is_test = self._are_tests if is_test is None else is_test
        minted = MintedKey(
            id=str(uuid.uuid4()),
            api_key=new_api_key(is_test=is_test),
            signing_secret=new_signing_secret() if signing_required else None,
        )
        self.put(
            minted,
            customer_id=customer_id,
            label=label,
            principal_kind=principal_kind,
            now=now,
            monthly_cap=monthly_cap,
            signing_required=signing_required,
            is_test=is_test,
            threshold=threshold,
            rate_limit=rate_limit,
            expires_at=expires_at,
            stripe_customer=stripe_customer,
        )
        return minted

    def put(
        self,
        minted: MintedKey,
        *,
        customer_id: str,
        label: str,
        principal_kind: PrincipalKind,
        now: int,
        monthly_cap: int | None,
        signing_required: bool,
        is_test: bool,
        threshold: float | None = None,
        rate_limit: OwnLimit | None = None,
        expires_at: int | None = None,
        stripe_customer: str | None = None,
    ) -> None:
        """Store a key that was made elsewhere; where its id exists, its secrets and settings are replaced."""
        kept = KeptSecret(None, None)
        if minted.signing_secret is not None:
            kept = self._secrets.keep(minted.id, minted.signing_secret)
        values = {
            "customer_id": customer_id,
            "label": label,
            "principal_kind": principal_kind.value,
            "is_test": is_test,
            "key_hash": _hash(minted.api_key),
            "signing_required": signing_required,
            "signing_secret": kept.sealed,
            "signing_secret_hash": kept.digest,
            "previous_signing_secret": None,
            "previous_signing_secret_hash": None,
            "previous_signing_secret_until": None,
            "monthly_cap": monthly_cap,
            "threshold_millionths": None if threshold is None else millionths(threshold),
            "revoked_at": None,
            **_rate_columns(rate_limit),
            "expires_at": expires_at,
        }
        with self._database.write() as connection:
            entries = []
            if stripe_customer is not None:
                entries = set_stripe_customer(connection, customer_id, stripe_customer, now, replace=False)
            before = connection.execute(select(api_keys).where(api_keys.c.id == minted.id)).mappings().first()
            if before is None:
                connection.execute(insert(api_keys).values(id=minted.id, created_at=now, **values))
                connection.execute(insert(reservations).values(key_id=minted.id, changes=0, in_flight=0))
            else:
                connection.execute(update(api_keys).where(api_keys.c.id == minted.id).values(values))
            if before is None or any(before[name] != values[name] for name in values if name not in _RESEALED):
                owner = KeyOwner(minted.id, customer_id, principal_kind.value)
                entries.append(key_entries.minted(owner, now, values, is_new=before is None))
            if entries:
                append_all(connection, entries)

    def revoke(self, key_id: str, now: int) -> bool:
        """End a key for good; False where it has ended already.

        Raises:
            UnknownKey: there is no key with this id.
            RedisUnavailable: it has ended, but Redis, which does not answer, still has its secrets.
        """
        with self._database.write() as connection:
            query = select(*_FIELDS).where(api_keys.c.id == key_id).with_for_update()
            row = connection.execute(query).first()
            if row is None:
                raise UnknownKey(key_id)
            key = KeyRecord(*row)
            if key.revoked_at is not None:
                return False
            connection.execute(_CHANGE.values(revoked_at=now), {"of_key": key_id})
            append_all(connection, [key_entries.revoked(key.owner, now)])
        for kept in (key.kept_secret, key.previous_kept_secret):
            self._secrets.forget(key_id, kept)
        return True

    def rotate(self, key_id: str, now: int, real_now: int) -> str:
        """Give a key a new signing secret, and return it; the previous one verifies for 24 h more, older ones do not.

        Raises:
            UnknownKey: there is no key with this id, or it is revoked.
            KeyDoesNotSign: it has no signing secret.
            RedisUnavailable: the secret is to be kept in Redis, which does not answer; nothing was changed.
        """
        secret = new_signing_secret()
        with self._database.write() as connection:
            key = _require_live(connection, key_id)
            if not key.signing_required:
                raise KeyDoesNotSign(key_id)
            kept = self._secrets.keep(key_id, secret)
            connection.execute(
                _CHANGE.values(
                    signing_secret=kept.sealed,
                    signing_secret_hash=kept.digest,
                    previous_signing_secret=key.signing_secret,
                    previous_signing_secret_hash=key.signing_secret_hash,
                    previous_signing_secret_until=real_now + OLD_SECRET_VERIFIES_MS,
                ),
                {"of_key": key_id},
            )
            append_all(connection, [key_entries.rotated(key.owner, now)])
        # The row is what counts; Redis only need not keep longer what the row no longer lets verify.
        with contextlib.suppress(RedisUnavailable):
            self._secrets.forget(key_id, key.kept_secret, after_ms=OLD_SECRET_VERIFIES_MS)
            self._secrets.forget(key_id, key.previous_kept_secret)
        return secret

    def set_cap(self, key_id: str, cap: int | None, now: int) -> None:
        """Give a key another monthly cap, in micro-USD, from the next submission on; None for no cap.

        Raises:
            UnknownKey: there is no key with this id, or it is revoked.
        """
        with self._database.write() as connection:
            key = _require_live(connection, key_id)
            if key.monthly_cap == cap:
                return
            connection.execute(_CHANGE.values(monthly_cap=cap), {"of_key": key_id})
            append_all(connection, [key_entries.cap_set(key.owner, now, cap, key.monthly_cap)])
        waiting_jobs.wake(self._database, now, [key_id])


def new_api_key(*, is_test: bool = False) -> str:
    """Make an API key."""
    return ("nk_test_" if is_test else "nk_live_") + "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_CHARACTERS))


def new_signing_secret() -> str:
    """Make a signing secret."""
    return "sgn_" + secrets.token_hex(32)


def _rate_columns(rate_limit: OwnLimit | None) -> dict[str, int | None]:
    """Return a key's own limit as it is stored: 0 a second is none at all."""
    if rate_limit is None:
        return {"rate_per_second": None, "rate_burst": None}
    if rate_limit.value is None:
        return {"rate_per_second": 0, "rate_burst": None}
    return {"rate_per_second": int(rate_limit.value.per_second), "rate_burst": int(rate_limit.value.burst)}


def _hash(api_key: str) -> bytes:
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()


def read_key(connection: Connection, key_id: str) -> KeyRecord:
    """Return a key, live or not, inside a transaction."""
    return KeyRecord(*connection.execute(_BY_ID, {"key": key_id}).one())


def _require_live(connection: Connection, key_id: str) -> KeyRecord:
    """Read a key that has not ended, and hold its row's lock."""
    row = connection.execute(_LOCKED_LIVE, {"key": key_id}).first()
    if row is None:
        raise UnknownKey(key_id)
    return KeyRecord(*row)
