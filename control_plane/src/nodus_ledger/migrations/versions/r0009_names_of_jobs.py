"""Names of jobs, and an index to find them by.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column: jobs from before have no name."""
    op.add_column("jobs", sa.Column("name", sa.String()))
    named = sa.text("name IS NOT NULL")
    op.create_index(
        "jobs_by_name",
        "jobs",
        ["customer_id", "name", "status", "seq"],
        sqlite_where=named,
        postgresql_where=named,
    )
