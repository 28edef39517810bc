"""The endpoints that customers register, and the secrets that deliveries to them are signed with.

A secret is shown when it is made, and never again; the database holds it sealed, because every delivery needs it. So
does it hold a URL with values in its query, which may be tokens, and which nobody is shown again either.
When one is made in the place of another, the older one goes on signing beside it for 24 hours of the control plane's
clock, so that the receiver can change over in its own time. So does each of several: who lost the answer to a rotation
and rotates again has not lost the secret that its receiver knows.
"""

from __future__ import annotations

import hmac
import json
import secrets as random_source
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, or_, select, update

from nodus_core.endpoint_health import EndpointHealth
from nodus_core.shown_urls import without_query_values

from ..database.database import Database
from ..database.fingerprints import Fingerprints
from ..database.sealing import Sealer
from ..database.webhook_schema import deliveries, endpoints, secrets
from ..errors import IdempotencyKeyReused, Refused

MAX_ENDPOINTS = 16
"""How many endpoints a customer may have."""

OLD_SECRET_SIGNS_MS = 24 * 3600 * 1000
GONE = "gone"
FAILING = "failing"
"""Why an endpoint is disabled: it answered 410, or accepted nothing for days."""

MAX_SECRETS = 5
"""How many secrets sign at once: a header with more signatures is malformed."""


class UnknownWebhook(Refused):
    """This customer has no such endpoint."""


class TooManyWebhooks(Refused):
    """The customer has as many endpoints as it may have."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it is shown. Times are Unix milliseconds.

    Attributes:
        id: `wh_…`.
        customer_id: whose it is.
        url: without the values in its query, which may be tokens.
        events: what it subscribed to, by comma.
        created_at: when it was registered.
        disabled_at: since when nothing is delivered to it; None while it is live.
        disabled_reason: `gone` if it answered 410, `failing` if it accepted nothing for days; None while it is live.
        failing_since: since when every attempt has failed; None if the last one succeeded.
        held_until: nothing is attempted before, because it did not answer; None where nothing holds it.
    """

    id: str
    customer_id: str
    url: str
    events: str
    created_at: int
    disabled_at: int | None = None
    disabled_reason: str | None = None
    failing_since: int | None = None
    held_until: int | None = None

    @property
    def event_types(self) -> list[str]:
        """What it subscribed to."""
        return self.events.split(",")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an endpoint's deliveries go, and what signs them: the present secret first, none if it was deleted."""

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Registered:
    """An endpoint after its registration; `secret` is None where an idempotency key gave an earlier one again."""

    endpoint: Endpoint
    secret: str | None = field(repr=False)


_FIELDS = (
    endpoints.c.id,
    endpoints.c.customer_id,
    endpoints.c.url,
    endpoints.c.events,
    endpoints.c.created_at,
    endpoints.c.disabled_at,
    endpoints.c.disabled_reason,
    endpoints.c.failing_since,
    endpoints.c.held_until,
)
_OF_CUSTOMER = (endpoints.c.customer_id == bindparam("customer"), endpoints.c.deleted_at.is_(None))
_ALL = select(*_FIELDS).where(*_OF_CUSTOMER).order_by(endpoints.c.seq)
_ONE = select(*_FIELDS).where(*_OF_CUSTOMER, endpoints.c.id == bindparam("endpoint"))


class Webhooks:
    """The endpoints of all customers."""

    def __init__(self, database: Database, sealer: Sealer, fingerprints: Fingerprints) -> None:
        self._database = database
        self._sealer = sealer
        self._fingerprints = fingerprints

    def earlier_or_room(
        self, customer_id: str, url: str, events: Sequence[str], idempotency_key: str | None
    ) -> Registered | None:
        """Return the endpoint that the idempotency key made before; None if a new one may be registered.

        Raises:
            IdempotencyKeyReused: the key came with another URL or other events before.
            TooManyWebhooks: there are 16.
        """
        with self._database.read() as connection:
            return _earlier_or_room(connection, customer_id, self._fingerprint(url, events), idempotency_key)

    def register(
        self, customer_id: str, url: str, events: Sequence[str], idempotency_key: str | None, now: int
    ) -> Registered:
        """Register an endpoint; or give the earlier one, without its secret, where the idempotency key made it.

        Raises:
            IdempotencyKeyReused: the key came with another URL or other events before.
            TooManyWebhooks: there are 16.
        """
        fingerprint = self._fingerprint(url, events)
        shown = without_query_values(url)
        endpoint = Endpoint("wh_" + random_source.token_hex(16), customer_id, shown, ",".join(events), now)
        secret = new_secret()
        with self._database.write() as connection:
            self._database.lock_name(connection, f"webhooks of {customer_id}")
            earlier = _earlier_or_room(connection, customer_id, fingerprint, idempotency_key)
            if earlier is not None:
                return earlier
            connection.execute(
                insert(endpoints).values(
                    id=endpoint.id,
                    customer_id=customer_id,
                    url=shown,
                    sealed_url=None if shown == url else self._sealer.seal(url.encode(), _url_context(endpoint.id)),
                    events=endpoint.events,
                    created_at=now,
                    idempotency_key=idempotency_key,
                    fingerprint=fingerprint,
                )
            )
            connection.execute(insert(secrets).values(self._sealed(endpoint.id, 1, secret)))
        return Registered(endpoint, secret)

    def of_customer(self, customer_id: str) -> list[Endpoint]:
        """Return a customer's endpoints, the oldest first."""
        with self._database.read() as connection:
            return [Endpoint(*row) for row in connection.execute(_ALL, {"customer": customer_id})]

    def get(self, customer_id: str, endpoint_id: str) -> Endpoint:
        """Return an endpoint.

        Raises:
            UnknownWebhook: this customer has none of that id.
        """
        with self._database.read() as connection:
            return _require(connection, customer_id, endpoint_id)

    def delete(self, customer_id: str, endpoint_id: str, now: int) -> None:
        """Remove an endpoint: its secrets are forgotten, and nothing more is delivered to it.

        Raises:
            UnknownWebhook: this customer has none of that id.
        """
        with self._database.write() as connection:
            _require(connection, customer_id, endpoint_id)
            connection.execute(
                update(endpoints)
                .where(endpoints.c.id == endpoint_id)
                .values(deleted_at=now, idempotency_key=None, sealed_url=None)
            )
            connection.execute(delete(secrets).where(secrets.c.endpoint_id == endpoint_id))
            give_up_all(connection, endpoint_id)

    def rotate(self, customer_id: str, endpoint_id: str, now: int) -> str:
        """Give an endpoint a new secret; the old one signs beside it for 24 hours more.

        Raises:
            UnknownWebhook: this customer has none of that id.
        """
        secret = new_secret()
        with self._database.write() as connection:
            _require(connection, customer_id, endpoint_id, lock=True)
            last: int = connection.execute(
                select(func.max(secrets.c.number)).where(secrets.c.endpoint_id == endpoint_id)
            ).scalar_one()
            connection.execute(
                update(secrets)
                .where(secrets.c.endpoint_id == endpoint_id, secrets.c.number == last)
                .values(signs_until=now + OLD_SECRET_SIGNS_MS)
            )
            connection.execute(insert(secrets).values(self._sealed(endpoint_id, last + 1, secret)))
            connection.execute(
                delete(secrets).where(
                    secrets.c.endpoint_id == endpoint_id,
                    or_(secrets.c.number <= last + 1 - MAX_SECRETS, secrets.c.signs_until <= now),
                )
            )
        return secret

    def enable(self, customer_id: str, endpoint_id: str) -> Endpoint:
        """Let events be delivered to an endpoint again, from now on, with nothing remembered of its failures.

        What failed while it was disabled stays failed, and can be replayed.

        Raises:
            UnknownWebhook: this customer has none of that id.
        """
        with self._database.write() as connection:
            _require(connection, customer_id, endpoint_id, lock=True)
            connection.execute(
                update(endpoints)
                .where(endpoints.c.id == endpoint_id)
                .values(disabled_at=None, disabled_reason=None, **asdict(EndpointHealth()))
            )
            return _require(connection, customer_id, endpoint_id)

    def destination(self, endpoint_id: str, now: int) -> Destination:
        """Return where deliveries to an endpoint go, and the secrets that sign them now.

        Raises:
            UnusableKey: they were sealed under another key.
        """
        of_endpoint = select(endpoints.c.url, endpoints.c.sealed_url).where(endpoints.c.id == endpoint_id)
        signing = (
            select(secrets.c.number, secrets.c.sealed)
            .where(secrets.c.endpoint_id == endpoint_id)
            .where(or_(secrets.c.signs_until.is_(None), secrets.c.signs_until > now))
            .order_by(secrets.c.number.desc())
        )
        with self._database.read() as connection:
            found = connection.execute(of_endpoint).first()
            rows = connection.execute(signing).all()
        if found is None:
            return Destination("", ())
        url, sealed_url = found
        if sealed_url is not None:
            url = self._sealer.open(sealed_url, _url_context(endpoint_id)).decode()
        opened = (self._sealer.open(sealed, _context(endpoint_id, number)).decode() for number, sealed in rows)
        return Destination(url, tuple(opened))

    def seal_urls(self) -> None:
        """Seal the URLs that an earlier version stored as they were given, and strip those of deleted endpoints."""
        query = select(endpoints.c.id, endpoints.c.url, endpoints.c.deleted_at).where(
            endpoints.c.sealed_url.is_(None), endpoints.c.url.contains("?")
        )
        with self._database.read() as connection:
            found = connection.execute(query).all()
        if all(without_query_values(url) == url for _, url, _ in found):
            return
        with self._database.write() as connection:
            for endpoint_id, url, deleted_at in found:
                shown = without_query_values(url)
                is_needed = shown != url and deleted_at is None
                sealed = self._sealer.seal(url.encode(), _url_context(endpoint_id)) if is_needed else None
                connection.execute(
                    update(endpoints).where(endpoints.c.id == endpoint_id).values(url=shown, sealed_url=sealed)
                )

    def live(self) -> list[Endpoint]:
        """Return all customers' endpoints, for the playground's inbox, which must know whose deliveries it gets."""
        with self._database.read() as connection:
            query = select(*_FIELDS).where(endpoints.c.deleted_at.is_(None)).order_by(endpoints.c.seq)
            return [Endpoint(*row) for row in connection.execute(query)]

    def _fingerprint(self, url: str, events: Sequence[str]) -> bytes:
        return self._fingerprints.of(json.dumps(["webhook", url, *events]).encode())

    def _sealed(self, endpoint_id: str, number: int, secret: str) -> dict[str, Any]:
        sealed = self._sealer.seal(secret.encode(), _context(endpoint_id, number))
        return {"endpoint_id": endpoint_id, "number": number, "sealed": sealed}


def new_secret() -> str:
    """Make the secret of an endpoint."""
    return "whsec_" + random_source.token_hex(32)


def lock_in_order(connection: Connection, *which: ColumnElement[bool]) -> None:
    """Lock deliveries in the order of their `seq`, as everybody does who is about to change several."""
    connection.execute(select(deliveries.c.seq).where(*which).order_by(deliveries.c.seq).with_for_update())


def disable(connection: Connection, endpoint_id: str, reason: str, now: int) -> None:
    """Let nothing more be delivered to an endpoint, for a reason (`GONE`, `FAILING`); what waits for it fails."""
    connection.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint_id, endpoints.c.disabled_at.is_(None))
        .values(disabled_at=now, disabled_reason=reason, held_until=None)
    )
    give_up_all(connection, endpoint_id)


def give_up_all(connection: Connection, endpoint_id: str) -> None:
    """End every delivery to an endpoint that is still to be made."""
    lock_in_order(connection, deliveries.c.endpoint_id == endpoint_id, deliveries.c.due_at.is_not(None))
    connection.execute(
        update(deliveries)
        .where(deliveries.c.endpoint_id == endpoint_id, deliveries.c.due_at.is_not(None))
        .values(status="failed", due_at=None, lease_owner=None, lease_until=None)
    )


def _earlier_or_room(
    connection: Connection, customer_id: str, fingerprint: bytes, idempotency_key: str | None
) -> Registered | None:
    if idempotency_key is not None:
        earlier = _by_idempotency_key(connection, customer_id, idempotency_key, fingerprint)
        if earlier is not None:
            return Registered(earlier, None)
    count: int = connection.execute(
        select(func.count()).select_from(endpoints).where(*_OF_CUSTOMER), {"customer": customer_id}
    ).scalar_one()
    if count >= MAX_ENDPOINTS:
        raise TooManyWebhooks
    return None


def _by_idempotency_key(
    connection: Connection, customer_id: str, idempotency_key: str, fingerprint: bytes
) -> Endpoint | None:
    row = connection.execute(
        select(*_FIELDS, endpoints.c.fingerprint).where(
            endpoints.c.customer_id == customer_id, endpoints.c.idempotency_key == idempotency_key
        )
    ).first()
    if row is None:
        return None
    *values, earlier = row
    if not hmac.compare_digest(earlier, fingerprint):
        raise IdempotencyKeyReused
    return Endpoint(*values)


def _require(connection: Connection, customer_id: str, endpoint_id: str, *, lock: bool = False) -> Endpoint:
    query = _ONE.with_for_update() if lock else _ONE
    row = connection.execute(query, {"customer": customer_id, "endpoint": endpoint_id}).first()
    if row is None:
        raise UnknownWebhook
    return Endpoint(*row)


def _url_context(endpoint_id: str) -> str:
    return f"webhook url of {endpoint_id}"


def _context(endpoint_id: str, number: int) -> str:
    return f"webhook secret {number} of {endpoint_id}"
