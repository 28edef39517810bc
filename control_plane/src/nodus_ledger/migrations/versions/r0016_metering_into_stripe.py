"""Customers, who they are in Stripe, and what has become of each meter event.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add tables and columns: what an exporter had is delivered, the rest is pending, except that zero is nothing."""
    op.create_table(
        "customers",
        sa.Column("customer_id", sa.String(), primary_key=True),
        sa.Column("stripe_customer", sa.String()),
        sa.Column("meter_lease", sa.String()),
        sa.Column("meter_lease_until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("meter_next_at", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("meter_tries", sa.Integer(), nullable=False, server_default="0"),
    )
    op.create_table(
        "stripe_events",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
    )
    op.create_table(
        "meter_gaps",
        sa.Column("stripe_customer", sa.String(), nullable=False),
        sa.Column("meter_name", sa.String(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stripe_customer", "meter_name", "livemode", "minute"),
    )
    op.drop_index("meter_events_pending", table_name="meter_events")
    for column in (
        sa.Column("value", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("state", sa.String(), nullable=False, server_default="pending"),
        sa.Column("stripe_customer", sa.String()),
        sa.Column("meter_name", sa.String()),
        sa.Column("first_sent_at", sa.BigInteger()),
        sa.Column("last_sent_at", sa.BigInteger()),
        sa.Column("next_at", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("meter_events", column)
    is_server = op.get_context().dialect.name == "postgresql"
    value = "(payload::json->>'value')::bigint" if is_server else "CAST(json_extract(payload, '$.value') AS INTEGER)"
    op.execute(f"UPDATE meter_events SET value = {value}")
    op.execute("UPDATE meter_events SET state = 'delivered' WHERE exported_at IS NOT NULL")
    op.execute("UPDATE meter_events SET state = 'nothing' WHERE exported_at IS NULL AND value = 0")
    pending = sa.text("state = 'pending'")
    op.create_index(
        "meter_events_pending",
        "meter_events",
        ["customer_id", "livemode", "timestamp"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    sent = sa.text("stripe_customer IS NOT NULL")
    op.create_index(
        "meter_events_sent", "meter_events", ["stripe_customer", "timestamp"], sqlite_where=sent, postgresql_where=sent
    )
    exported = sa.text("exported_at IS NOT NULL")
    op.create_index(
        "meter_events_exported", "meter_events", ["exported_at"], sqlite_where=exported, postgresql_where=exported
    )
