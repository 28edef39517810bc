"""What an engine says of a job beside its status, and how an attempt is found there.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns: of what is open, nothing is known but its status."""
    op.add_column("jobs", sa.Column("phase", sa.String()))
    op.add_column("jobs", sa.Column("phase_detail", sa.Text()))
    op.add_column("attempts", sa.Column("engine_ref", sa.String()))
    op.add_column("attempts", sa.Column("gpu_indices", sa.String()))
    op.add_column("attempts", sa.Column("unknown_since", sa.BigInteger()))
    op.add_column("attempts", sa.Column("seen_at", sa.BigInteger()))
    op.add_column("attempts", sa.Column("progress_at", sa.BigInteger()))
