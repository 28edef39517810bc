"""Whose a supplier is that takes one customer, who reaches it, and what a job needs, and retail was, at its placement.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add a table and columns.

    Whoever had all suppliers to themselves keeps those that have had their jobs; the others are free. Whether a job has
    a command its row of the ledger tells, which is read where the job is not over; what retail was when an attempt was
    placed nobody wrote down.
    """
    op.create_table(
        "owners",
        sa.Column("supplier", sa.String(), primary_key=True),
        sa.Column("customer_id", sa.String(), nullable=False),
    )
    op.execute(
        "INSERT INTO owners (supplier, customer_id) SELECT DISTINCT attempts.supplier, jobs.customer_id FROM attempts "
        "JOIN jobs ON jobs.id = attempts.job_id JOIN settings ON settings.value = jobs.customer_id "
        "WHERE settings.name = 'sole customer' AND attempts.supplier <> ''"
    )
    op.execute("DELETE FROM settings WHERE name = 'sole customer'")
    op.add_column("jobs", sa.Column("has_command", sa.Boolean()))
    op.execute(
        'UPDATE jobs SET has_command = (SELECT ledger.leaf LIKE \'%"command_hmac":"%\' OR ledger.leaf LIKE '
        '\'%"command_sha256":"%\' FROM ledger WHERE ledger.customer_id = jobs.customer_id '
        "AND ledger.job_id = jobs.id AND ledger.kind = 'job.submitted') "
        "WHERE finished_at IS NULL"
    )
    op.add_column("workers", sa.Column("unreachable", sa.Text()))
    op.add_column("attempts", sa.Column("retail_rate", sa.BigInteger()))
