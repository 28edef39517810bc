"""Having a supplier's engine replaced by another, or given to another customer, where an operator says so."""

from __future__ import annotations

from sqlalchemy import Connection, and_, delete, select

from ..database.database import Database
from ..database.schema import IS_OPEN, attempts, jobs, owners
from ..database.settings import forget_engine
from .slots import held_by_what_ended

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
        _require_unused(connection, supplier)
        forget_engine(connection, supplier)


def release(database: Database, supplier: str) -> str | None:
    """Have a supplier that takes one customer take the next one; return whose it was, None where it was nobody's.

    Raises:
        EngineInUse: something of its customer is open there, or may still run.
    """
    with database.write() as connection:
        # Nobody places jobs there by whose it is until this transaction ends.
        customer: str | None = connection.execute(
            select(owners.c.customer_id).where(owners.c.supplier == supplier).with_for_update()
        ).scalar()
        if customer is None:
            return None  # No row of it can be held, and somebody may be about to be its first.
        _require_unused(connection, supplier)
        held = sorted({job_id for job_id, _ in held_by_what_ended(connection, [supplier])})
        if held:
            raise EngineInUse(
                f"supplier {supplier} has not confirmed the end of jobs such as {', '.join(held[:_MOST_NAMED])}: let a "
                "worker reach it first"
            )
        connection.execute(delete(owners).where(owners.c.supplier == supplier))
    return customer


def _require_unused(connection: Connection, supplier: str) -> None:
    found = connection.execute(OPEN_JOBS.where(attempts.c.supplier == supplier)).scalars().all()
    if found:
        raise EngineInUse(f"supplier {supplier} has open jobs, such as {', '.join(found)}: let them end first")
