"""On which day jobs ended, and an index with all that usage asks for.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column, and fill it for jobs that have ended."""
    op.add_column("jobs", sa.Column("finished_day", sa.Integer()))
    op.execute("UPDATE jobs SET finished_day = finished_at / 86400000 WHERE finished_at IS NOT NULL")
    ended = sa.text("finished_day IS NOT NULL")
    op.create_index(
        "jobs_by_day",
        "jobs",
        [
            "customer_id",
            "finished_day",
            "principal_kind",
            "key_id",
            "supplier",
            "region",
            "gpu",
            "status",
            "simulated",
            "finished_at",
            "gpu_count",
            "duration_ms",
            "cost",
            "retail",
        ],
        sqlite_where=ended,
        postgresql_where=ended,
    )
