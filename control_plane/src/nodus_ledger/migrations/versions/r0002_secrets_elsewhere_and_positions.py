"""Signing secrets that are kept in Redis, thresholds of keys, used signatures, and events in a customer's sequence.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEPT = ("id", "customer_id", "job_id", "seq", "status", "at", "attempt", "supplier", "region", "reason")

# The n-th transition of a job is the n-th row about it that records one.
_POSITIONS = (
    "SELECT customer_id, job_id, seq AS position, "
    "ROW_NUMBER() OVER (PARTITION BY customer_id, job_id ORDER BY seq) AS number "
    "FROM ledger WHERE kind IN ('job.submitted', 'job.transition')"
)
_SAME = (
    "recorded.customer_id = {events}.customer_id AND recorded.job_id = {events}.job_id "
    "AND recorded.number = {events}.seq"
)


def upgrade() -> None:
    """Add the columns and the table; give every event the position of its row in the Trust Ledger."""
    op.add_column("api_keys", sa.Column("signing_secret_hash", sa.LargeBinary()))
    op.add_column("api_keys", sa.Column("previous_signing_secret_hash", sa.LargeBinary()))
    op.add_column("api_keys", sa.Column("threshold_millionths", sa.Integer()))
    op.create_table(
        "signature_uses",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("signature_hash", sa.LargeBinary(), nullable=False),
        sa.Column("idempotency_key", sa.String()),
        sa.Column("forget_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "signature_hash"),
    )
    op.create_index("signature_uses_over", "signature_uses", ["forget_at"])
    if op.get_bind().dialect.name == "postgresql":
        _number_events_on_postgresql()
    else:
        _number_events_on_sqlite()


def _number_events_on_postgresql() -> None:
    op.add_column("events", sa.Column("position", sa.BigInteger()))
    op.execute(
        f"UPDATE events SET position = recorded.position FROM ({_POSITIONS}) AS recorded "
        f"WHERE {_SAME.format(events='events')}"
    )
    op.alter_column("events", "position", nullable=False)
    op.create_unique_constraint("events_customer_id_position_key", "events", ["customer_id", "position"])


def _number_events_on_sqlite() -> None:
    """SQLite cannot add a constraint to a table: another takes its place."""
    op.rename_table("events", "events_before")
    op.create_table(
        "events",
        sa.Column("id", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("supplier", sa.String()),
        sa.Column("region", sa.String()),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "seq"),
        sa.UniqueConstraint("customer_id", "position"),
    )
    columns = ", ".join(_KEPT)
    op.execute(
        f"INSERT INTO events ({columns}, position) SELECT {', '.join(f'before.{name}' for name in _KEPT)}, "
        f"recorded.position FROM events_before AS before LEFT JOIN ({_POSITIONS}) AS recorded "
        f"ON {_SAME.format(events='before')}"
    )
    op.drop_table("events_before")
