"""API keys: who calls, for which customer, with which rights.

Of an API key only its SHA-256 is stored. That is enough because the key is 43 characters from `secrets`, over 250
random bits: nobody can run through the candidates, so a slow password hash would protect nothing and cost every
request its time. What a thief of the database gets cannot be turned back into a key.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
import string
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, bindparam, insert, select, update

from . import budgets, key_entries
from .database import Database
from .errors import BudgetFigures
from .key_entries import KeyOwner
from .schema import api_keys
from .sealing import Sealer
from .trust_ledger import append_all

_ALPHABET = string.ascii_letters + string.digits
_KEY_CHARACTERS = 43


class PrincipalKind(str, enum.Enum):
    """Who is behind a key."""

    HUMAN = "human"
    AGENT = "agent"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as it is stored: nothing in it lets anybody call. Secrets are sealed; the cap is in micro-USD."""

    id: str
    customer_id: str
    label: str
    principal_kind: str
    is_test: bool
    signing_required: bool
    signing_secret: bytes | None = field(repr=False)
    previous_signing_secret: bytes | None = field(repr=False)
    previous_signing_secret_until: int | None
    monthly_cap: int | None

    @property
    def sees_only_its_own_jobs(self) -> bool:
        """Whether cancelling and reading logs stop at the jobs that this very key submitted."""
        return self.principal_kind == PrincipalKind.AGENT.value


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key with its secrets, which exist in clear only here."""

    id: str
    api_key: str = field(repr=False)
    signing_secret: str | None = field(repr=False)


_FIELDS: tuple[Column[Any], ...] = (
    api_keys.c.id,
    api_keys.c.customer_id,
    api_keys.c.label,
    api_keys.c.principal_kind,
    api_keys.c.is_test,
    api_keys.c.signing_required,
    api_keys.c.signing_secret,
    api_keys.c.previous_signing_secret,
    api_keys.c.previous_signing_secret_until,
    api_keys.c.monthly_cap,
)
# Sealed afresh every time: they differ even where the secret is the same.
_RESEALED = ("signing_secret", "previous_signing_secret", "previous_signing_secret_until")
_BY_HASH = select(*_FIELDS).where(api_keys.c.key_hash == bindparam("hash"), api_keys.c.revoked_at.is_(None))


class Keys:
    """The keys of all customers."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    def find(self, api_key: str) -> KeyRecord | None:
        """Give the key that a caller presented; None for one that never was or is revoked.

        Reads the database every time, so that a revocation holds from the next request on, whichever process made it.
        """
        with self._database.read() as connection:
            row = connection.execute(_BY_HASH, {"hash": _hash(api_key)}).first()
        return None if row is None else KeyRecord(*row)

    def live(self, key_ids: Sequence[str]) -> set[str]:
        """Give those of some keys that are not revoked."""
        query = select(api_keys.c.id).where(api_keys.c.id.in_(key_ids), api_keys.c.revoked_at.is_(None))
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def signing_secrets(self, key: KeyRecord, real_now: int) -> list[str]:
        """Give the secrets that verify a key's signatures at a real time: its own, and a rotated one for its last day.

        Raises:
            UnusableKey: they were sealed under another key.
        """
        sealed = [key.signing_secret]
        if key.previous_signing_secret_until is not None and real_now < key.previous_signing_secret_until:
            sealed.append(key.previous_signing_secret)
        return [self._sealer.open(secret, _context(key.id)).decode() for secret in sealed if secret is not None]

    def budget(self, key_id: str, now: int) -> BudgetFigures:
        """Give a key's month."""
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
        is_test: bool = False,
    ) -> MintedKey:
        """Make a key. `monthly_cap` is in micro-USD; a signing secret is made where signing is required."""
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
    ) -> None:
        """Store a key that was made elsewhere; where its id exists, its secrets and settings are replaced."""
        values = {
            "customer_id": customer_id,
            "label": label,
            "principal_kind": principal_kind.value,
            "is_test": is_test,
            "key_hash": _hash(minted.api_key),
            "signing_required": signing_required,
            "signing_secret": None
            if minted.signing_secret is None
            else self._sealer.seal(minted.signing_secret.encode(), _context(minted.id)),
            "previous_signing_secret": None,
            "previous_signing_secret_until": None,
            "monthly_cap": monthly_cap,
            "revoked_at": None,
        }
        with self._database.write() as connection:
            before = connection.execute(select(api_keys).where(api_keys.c.id == minted.id)).mappings().first()
            if before is None:
                connection.execute(insert(api_keys).values(id=minted.id, created_at=now, in_flight=0, **values))
            else:
                connection.execute(update(api_keys).where(api_keys.c.id == minted.id).values(values))
            if before is None or any(before[name] != values[name] for name in values if name not in _RESEALED):
                owner = KeyOwner(minted.id, customer_id, principal_kind.value)
                append_all(connection, [key_entries.minted(owner, now, values, is_new=before is None)])

    def revoke(self, key_id: str, now: int) -> bool:
        """End a key for good; False where there is none, or it has ended already."""
        with self._database.write() as connection:
            ended = connection.execute(
                update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None)).values(revoked_at=now)
            )
            owner = key_entries.owner_of(connection, key_id)
            if ended.rowcount == 1 and owner is not None:
                append_all(connection, [key_entries.revoked(owner, now)])
        return ended.rowcount == 1


def new_api_key(*, is_test: bool = False) -> str:
    """Make an API key."""
    return ("nk_test_" if is_test else "nk_live_") + "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_CHARACTERS))


def new_signing_secret() -> str:
    """Make a signing secret."""
    return "sgn_" + secrets.token_hex(32)


def _hash(api_key: str) -> bytes:
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).digest()


def _context(key_id: str) -> str:
    return f"signing secret of {key_id}"
