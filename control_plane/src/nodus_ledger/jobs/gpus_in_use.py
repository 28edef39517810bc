"""How many GPUs the open attempts of each supplier hold."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import func, select, text

from ..database.database import Database
from ..database.schema import attempts, jobs

_IN_USE = (
    select(attempts.c.supplier, jobs.c.gpu, func.sum(jobs.c.gpu_count))
    .join(jobs, jobs.c.id == attempts.c.job_id)
    .where(text("jobs.open_attempt"), attempts.c.outcome.is_(None))  # the first as the index says it
    .group_by(attempts.c.supplier, jobs.c.gpu)
)


class GpusInUse:
    """Counts them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_supplier(self) -> Mapping[tuple[str, str], int]:
        """Return how many are held, by supplier and GPU model; those of which none is held are left out."""
        with self._database.read() as connection:
            return {(supplier, gpu): int(count) for supplier, gpu, count in connection.execute(_IN_USE)}
