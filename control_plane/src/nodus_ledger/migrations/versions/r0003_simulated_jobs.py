"""Whether a job is simulated. Every job from before counts as such: its supplier and its price were.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column, empty for the jobs from before; nothing that they cost is billed any more."""
    op.add_column("jobs", sa.Column("simulated", sa.Boolean()))
    op.execute(sa.text("UPDATE meter_events SET livemode = :no WHERE exported_at IS NULL").bindparams(no=False))
