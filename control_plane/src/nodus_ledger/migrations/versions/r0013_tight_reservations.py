"""Ceilings and queue timeouts of jobs, reservations that change, and jobs that wait for budget.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add columns and an index. Jobs keep what is reserved for them until their next placement.

    When they were placed and lost last their attempts tell.

    The names of queues say something else from now on: who waits in one is looked at again, and queues anew.
    """
    op.add_column("jobs", sa.Column("max_cost_micros", sa.BigInteger()))
    op.add_column("jobs", sa.Column("queue_timeout_seconds", sa.Integer()))
    op.add_column("jobs", sa.Column("reserved_at", sa.BigInteger()))
    op.add_column("jobs", sa.Column("estimated", sa.BigInteger()))
    op.add_column("jobs", sa.Column("queued_at", sa.BigInteger()))
    op.add_column("jobs", sa.Column("budget_needs", sa.BigInteger()))
    op.execute(
        "UPDATE jobs SET reserved_at = (SELECT MAX(attempts.placed_at) FROM attempts "
        "WHERE attempts.job_id = jobs.id AND attempts.supplier <> ''), "
        "queued_at = (SELECT MAX(attempts.ended_at) FROM attempts "
        "WHERE attempts.job_id = jobs.id AND attempts.outcome IN ('lost', 'outage'))"
    )
    waiting = sa.text("budget_needs IS NOT NULL")
    op.create_index(
        "jobs_waiting_for_budget",
        "jobs",
        ["key_id", "created_at", "seq"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.execute(
        "UPDATE jobs SET due_at = waiting_since, waiting_since = NULL, waiting_in = NULL, passed_over_at = NULL, "
        "reserves = NULL WHERE waiting_since IS NOT NULL"
    )
