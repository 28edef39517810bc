"""Rate limits of keys, and when keys expire.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns: keys from before have the control plane's limit, and do not expire."""
    op.add_column("api_keys", sa.Column("rate_per_second", sa.Integer()))
    op.add_column("api_keys", sa.Column("rate_burst", sa.Integer()))
    op.add_column("api_keys", sa.Column("expires_at", sa.BigInteger()))
