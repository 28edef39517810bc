"""Labels of jobs, and indexes to find jobs by them, and by the time at which they were submitted.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add a column, a table and indexes: jobs from before have no labels."""
    op.add_column("jobs", sa.Column("labels", sa.Text()))
    op.create_table(
        "job_labels",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "key", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("job_labels_by_value", "job_labels", ["customer_id", "key", "value", "seq"])
    op.create_index("jobs_by_time", "jobs", ["customer_id", "created_at", "seq"])
