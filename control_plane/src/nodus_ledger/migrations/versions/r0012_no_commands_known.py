"""Whether a job has a command is asked of nobody any more.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Drop the column."""
    op.drop_column("jobs", "has_command")
