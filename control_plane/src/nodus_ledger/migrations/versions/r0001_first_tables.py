"""The tables as they were before revisions were kept.

Revision ID: 0001
Revises:
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite numbers rows by itself only in a column of exactly this type.
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_APPEND_ONLY = "the trust ledger is append-only"


def _only(rows: str) -> dict[str, Any]:
    """Say which rows an index holds."""
    return {"sqlite_where": sa.text(rows), "postgresql_where": sa.text(rows)}


def upgrade() -> None:
    """Make the tables, and the triggers that let nobody change what the Trust Ledger holds."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("principal_kind", sa.String(), nullable=False),
        sa.Column("is_test", sa.Boolean(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("signing_required", sa.Boolean(), nullable=False),
        sa.Column("signing_secret", sa.LargeBinary()),
        sa.Column("previous_signing_secret", sa.LargeBinary()),
        sa.Column("previous_signing_secret_until", sa.BigInteger()),
        sa.Column("monthly_cap", sa.BigInteger()),
        sa.Column("in_flight", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_hash"),
    )
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("supplier", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False),
        sa.Column("placed_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("outcome", sa.String()),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt"),
    )
    op.create_table(
        "budget_thresholds",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("fraction_millionths", sa.Integer(), nullable=False),
        sa.Column("reached_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "month", "fraction_millionths"),
    )
    op.create_table(
        "events",
        sa.Column("id", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("supplier", sa.String()),
        sa.Column("region", sa.String()),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job_id", "seq"),
    )
    op.create_table(
        "jobs",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("principal_kind", sa.String(), nullable=False),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("idempotency_key", sa.String()),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("image", sa.String(), nullable=False),
        sa.Column("gpu", sa.String(), nullable=False),
        sa.Column("gpu_count", sa.Integer(), nullable=False),
        sa.Column("max_runtime_seconds", sa.Integer(), nullable=False),
        sa.Column("require_tiers", sa.String(), nullable=False),
        sa.Column("prefer_region", sa.String()),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("reserved_rate", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("placements", sa.Integer(), nullable=False),
        sa.Column("supplier", sa.String()),
        sa.Column("region", sa.String()),
        sa.Column("rate", sa.BigInteger()),
        sa.Column("placed_at", sa.BigInteger()),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("error_code", sa.String()),
        sa.Column("error_message", sa.Text()),
        sa.Column("duration_ms", sa.BigInteger()),
        sa.Column("cost", sa.BigInteger()),
        sa.Column("retail", sa.BigInteger()),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("open_attempt", sa.Boolean(), nullable=False),
        sa.Column("cancel_requested_at", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String()),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("ledger_seq", sa.BigInteger()),
        sa.Column("ledger_hash", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("customer_id", "endpoint", "idempotency_key"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("jobs_by_customer", "jobs", ["customer_id", "seq"])
    op.create_index(
        "jobs_due",
        "jobs",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "ledger",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("job_id", sa.String()),
        sa.Column("key_id", sa.String()),
        sa.Column("principal_kind", sa.String()),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.Text(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ledger_by_job",
        "ledger",
        ["customer_id", "job_id", "seq"],
        sqlite_where=sa.text("job_id IS NOT NULL"),
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.create_table(
        "ledger_checkpoints",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "size"),
    )
    op.create_table(
        "ledger_heads",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_hash", sa.LargeBinary(), nullable=False),
        sa.Column("subtrees", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id"),
    )
    op.create_table(
        "ledger_nodes",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "level", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meter_events",
        sa.Column("identifier", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("event_name", sa.String(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("livemode", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("exported_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("identifier"),
    )
    op.create_index(
        "meter_events_pending",
        "meter_events",
        ["timestamp"],
        sqlite_where=sa.text("exported_at IS NULL"),
        postgresql_where=sa.text("exported_at IS NULL"),
    )
    op.create_table(
        "monthly_spend",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("realised", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "month"),
    )
    op.create_table(
        "outages",
        sa.Column("supplier", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("supplier"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.String()),
        sa.PrimaryKeyConstraint("delivery_id", "number"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("endpoint_id", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String()),
        sa.Column("lease_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("webhook_deliveries_by_endpoint", "webhook_deliveries", ["endpoint_id", "seq"])
    op.create_index(
        "webhook_deliveries_due",
        "webhook_deliveries",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger()),
        sa.Column("deleted_at", sa.BigInteger()),
        sa.Column("idempotency_key", sa.String()),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("customer_id", "idempotency_key"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("webhook_endpoints_by_customer", "webhook_endpoints", ["customer_id", "seq"])
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String()),
        sa.Column("key_id", sa.String()),
        sa.Column("principal_kind", sa.String()),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("endpoint_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("signs_until", sa.BigInteger()),
        sa.PrimaryKeyConstraint("endpoint_id", "number"),
    )
    if op.get_bind().dialect.name == "postgresql":
        _protect_on_postgresql()
    else:
        _protect_on_sqlite()


def _protect_on_sqlite() -> None:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
    for table in ("ledger", "ledger_nodes", "ledger_checkpoints"):
        for action in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} {refuse}")
    # REPLACE would take the place of a row without a DELETE that triggers see.
    op.execute(
        "CREATE TRIGGER ledger_no_replace BEFORE INSERT ON ledger WHEN EXISTS "
        f"(SELECT 1 FROM ledger WHERE customer_id = NEW.customer_id AND seq = NEW.seq) {refuse}"
    )
    op.execute(f"CREATE TRIGGER ledger_heads_no_delete BEFORE DELETE ON ledger_heads {refuse}")
    op.execute(
        "CREATE TRIGGER ledger_heads_only_grow BEFORE UPDATE ON ledger_heads "
        f"WHEN NEW.customer_id <> OLD.customer_id OR NEW.size <= OLD.size {refuse}"
    )


def _protect_on_postgresql() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION nodus_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$"
    )
    refuse = "EXECUTE FUNCTION nodus_append_only()"
    for table in ("ledger", "ledger_nodes", "ledger_checkpoints"):
        op.execute(f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {refuse}")
    for table in ("ledger", "ledger_nodes", "ledger_checkpoints", "ledger_heads"):
        op.execute(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}")
    op.execute(f"CREATE TRIGGER ledger_heads_no_delete BEFORE DELETE ON ledger_heads FOR EACH ROW {refuse}")
    op.execute(
        "CREATE TRIGGER ledger_heads_only_grow BEFORE UPDATE ON ledger_heads FOR EACH ROW "
        f"WHEN (NEW.customer_id <> OLD.customer_id OR NEW.size <= OLD.size) {refuse}"
    )
