"""Jobs by status, workers' signs of life, and no env or command of a job that has ended.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


_OFTEN_UPDATED = {"api_keys": 50, "monthly_spend": 50, "ledger_heads": 50, "jobs": 80}
_REMOVED_EARLY = "autovacuum_vacuum_scale_factor=0.01, autovacuum_vacuum_threshold=200, autovacuum_vacuum_cost_delay=0"


def upgrade() -> None:
    """Add the index, the column and the table; erase what is sealed of jobs that are over."""
    op.create_index("jobs_by_status", "jobs", ["customer_id", "status", "seq"])
    op.add_column("jobs", sa.Column("steering", sa.LargeBinary()))
    empty = "'\\x'::bytea" if op.get_bind().dialect.name == "postgresql" else "x''"
    op.execute(f"UPDATE jobs SET sealed = {empty} WHERE finished_at IS NOT NULL")
    op.create_table(
        "workers",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table, fillfactor in _OFTEN_UPDATED.items():
            op.execute(f"ALTER TABLE {table} SET (fillfactor={fillfactor}, {_REMOVED_EARLY})")
