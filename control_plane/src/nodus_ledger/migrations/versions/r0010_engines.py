"""What there is of each GPU, who waits for it, and what an engine says of a job beside its status.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_REMOVED_EARLY = "autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_threshold=200, autovacuum_vacuum_cost_delay=0"


def upgrade() -> None:
    """Add tables, columns and indexes. Nothing is counted yet: whoever waits is looked at again, and waits anew."""
    for name, kind in (
        ("waiting_in", sa.String()),
        ("passed_over_at", sa.BigInteger()),
        ("reserves", sa.String()),
        ("phase", sa.String()),
        ("phase_detail", sa.Text()),
    ):
        op.add_column("jobs", sa.Column(name, kind))
    for name, kind in (
        ("engine_ref", sa.String()),
        ("gpu_indices", sa.String()),
        ("unknown_since", sa.BigInteger()),
        ("seen_at", sa.BigInteger()),
        ("progress_at", sa.BigInteger()),
    ):
        op.add_column("attempts", sa.Column(name, kind))
    op.drop_index("jobs_waiting", "jobs")
    op.execute("UPDATE jobs SET due_at = waiting_since, waiting_since = NULL WHERE waiting_since IS NOT NULL")
    _index("jobs_waiting", "jobs", ["gpu", "waiting_in", "created_at", "seq"], "waiting_since IS NOT NULL")
    _index("jobs_passed_over", "jobs", ["gpu", "seq"], "passed_over_at IS NOT NULL")
    op.create_table(
        "slots",
        sa.Column("supplier", sa.String(), nullable=False),
        sa.Column("gpu", sa.String(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String()),
        sa.Column("attempt", sa.Integer()),
        sa.Column("customer_id", sa.String()),
        sa.Column("retired", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.PrimaryKeyConstraint("supplier", "gpu", "index"),
    )
    _index("slots_free", "slots", ["gpu", "supplier", "index"], "job_id IS NULL")
    _index("slots_taken", "slots", ["job_id"], "job_id IS NOT NULL")
    op.create_table("passes", sa.Column("gpu", sa.String(), primary_key=True))
    op.create_table(
        "turns",
        sa.Column("gpu", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("gpu", "customer_id"),
    )
    op.create_index("turns_latest", "turns", ["gpu", "turn"])
    if op.get_bind().dialect.name == "postgresql":
        for table in ("slots", "turns"):
            op.execute(f"ALTER TABLE {table} SET (fillfactor=50, {_REMOVED_EARLY})")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
