"""Having a supplier's engine replaced by another, where an operator says so."""

from __future__ import annotations

from sqlalchemy import and_, select, text

from ..database.database import Database
from ..database.schema import attempts, jobs
from ..database.settings import forget_engine

_MOST_NAMED = 10
_OPEN = (
    select(jobs.c.id)
    .join(attempts, and_(attempts.c.job_id == jobs.c.id, attempts.c.attempt == jobs.c.attempt))
    .where(text("jobs.open_attempt"), attempts.c.outcome.is_(None))  # as the index says it
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
        found = connection.execute(_OPEN.where(attempts.c.supplier == supplier)).scalars().all()
        if found:
            raise EngineInUse(f"supplier {supplier} has open jobs, such as {', '.join(found)}: let them end first")
        forget_engine(connection, supplier)
