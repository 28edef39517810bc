"""Jobs that wait for a machine that is full, and an index of those that fill it.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and the indexes. No job waits yet."""
    op.add_column("jobs", sa.Column("waiting_since", sa.BigInteger()))
    is_waiting = sa.text("waiting_since IS NOT NULL")
    op.create_index("jobs_waiting", "jobs", ["gpu", "seq"], sqlite_where=is_waiting, postgresql_where=is_waiting)
    is_open = sa.text("open_attempt")
    op.create_index("jobs_open", "jobs", ["gpu"], sqlite_where=is_open, postgresql_where=is_open)
