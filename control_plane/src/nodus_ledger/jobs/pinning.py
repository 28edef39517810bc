"""Having a supplier's engine replaced by another, where an operator says so."""

from __future__ import annotations

from sqlalchemy import and_, select

from ..database.database import Database
from ..database.schema import IS_OPEN, attempts, jobs
from ..database.settings import forget_engine

_MOST_NAMED = 10
OPEN_JOBS = (
    select(jobs.c.id)
    .join(attempts, and_(attempts.c.job_id == jobs.c.id, attempts.c.attempt == jobs.c.attempt))
    .where(IS_OPEN, attempts.c.outcome.is_(None))
    .order_by(jobs.c.seq)
    .limit(_MOST_NAMED)
)


class EngineInUse(Exception):
    """The engine of a supplier has open attempts; the message names their jobs."""


def repin(database: Database, supplier: str) -> None:
    """Forget which engine a supplier's is: the next one that a worker reaches under its name is that from then on.

    Raises:
        EngineInUse: something is open there, which another engine would know nothing of.
    """
    with database.write() as connection:
        found = connection.execute(OPEN_JOBS.where(attempts.c.supplier == supplier)).scalars().all()
        if found:
            raise EngineInUse(f"supplier {supplier} has open jobs, such as {', '.join(found)}: let them end first")
        forget_engine(connection, supplier)
