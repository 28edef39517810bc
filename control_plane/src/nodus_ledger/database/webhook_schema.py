"""The tables of webhooks: endpoints and their secrets, the outbox of events, deliveries and their attempts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    text,
)

from .trust_schema import metadata as metadata

# SQLite numbers rows by itself only in a column of exactly this type.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("customer_id", String, nullable=False),
    Column("url", Text, nullable=False),  # as it is shown: without the values in its query
    Column("sealed_url", LargeBinary),  # the whole of it; None where nothing was left out
    Column("events", Text, nullable=False),  # by comma
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("disabled_reason", String),  # gone (it answered 410), or failing (for days)
    Column("deleted_at", BigInteger),
    # See `endpoint_health`.
    Column("failed", Integer, nullable=False, server_default="0"),  # attempts since it last accepted an event
    Column("unanswered", Integer, nullable=False, server_default="0"),  # times in a row that no answer came
    Column("failing_since", BigInteger),
    Column("held_until", BigInteger),  # nothing is attempted before
    Column("idempotency_key", String),
    Column("fingerprint", LargeBinary, nullable=False),  # HMAC of what was registered
    UniqueConstraint("customer_id", "idempotency_key"),
)
Index("webhook_endpoints_by_customer", endpoints.c.customer_id, endpoints.c.seq)
Index(
    "webhook_endpoints_held",
    endpoints.c.held_until,
    sqlite_where=text("held_until IS NOT NULL"),
    postgresql_where=text("held_until IS NOT NULL"),
)

secrets = Table(
    "webhook_secrets",
    metadata,
    Column("endpoint_id", String, nullable=False),
    Column("number", Integer, nullable=False),  # from 1; the highest is the present one
    Column("sealed", LargeBinary, nullable=False),
    Column("signs_until", BigInteger),  # None for the present one
    PrimaryKeyConstraint("endpoint_id", "number"),
)

outbox = Table(
    "webhook_events",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("type", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("job_id", String),
    Column("key_id", String),
    Column("principal_kind", String),
    Column("body", Text, nullable=False),  # what is sent, to the byte
)

deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("seq", _Sequence, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("event_id", String, nullable=False),
    Column("endpoint_id", String, nullable=False),
    Column("status", String, nullable=False),  # pending, delivered, failed
    Column("tries", Integer, nullable=False),  # attempts since it was first due, or last replayed
    Column("due_at", BigInteger),  # None once delivered or failed
    Column("generation", Integer, nullable=False),
    Column("lease_owner", String),
    Column("lease_until", BigInteger),  # real time
)
Index("webhook_deliveries_by_endpoint", deliveries.c.endpoint_id, deliveries.c.seq)
Index(
    "webhook_deliveries_due",
    deliveries.c.due_at,
    sqlite_where=text("due_at IS NOT NULL"),
    postgresql_where=text("due_at IS NOT NULL"),
)
Index(
    "webhook_deliveries_pending",
    deliveries.c.endpoint_id,
    deliveries.c.due_at,
    deliveries.c.seq,
    sqlite_where=text("due_at IS NOT NULL"),
    postgresql_where=text("due_at IS NOT NULL"),
)

attempts = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", String, nullable=False),
    Column("number", Integer, nullable=False),  # from 1
    Column("at", BigInteger, nullable=False),
    Column("status_code", Integer),
    Column("latency_ms", BigInteger, nullable=False),  # real time
    Column("error", String),
    PrimaryKeyConstraint("delivery_id", "number"),
)

thresholds = Table(
    "budget_thresholds",
    metadata,
    Column("key_id", String, nullable=False),
    Column("month", String, nullable=False),  # "2026-11", UTC
    Column("fraction_millionths", Integer, nullable=False),
    Column("reached_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("key_id", "month", "fraction_millionths"),
)

_ALL = (endpoints, secrets, outbox, deliveries, attempts, thresholds)


def empty(connection: Connection) -> None:
    """Take everything out: for a playground that begins anew."""
    for table in _ALL:
        connection.execute(delete(table))
