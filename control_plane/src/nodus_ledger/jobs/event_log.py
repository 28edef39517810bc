"""The transitions of jobs, as customers follow them; each has the position of its row in the Trust Ledger.

A transaction that appends to a customer's ledger holds the lock on its head until it commits, so positions become
visible in order on every database: a reader that has reached one has missed nothing before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, bindparam, select

from nodus_core.lifecycle import JobStatus

from ..database.database import Database
from ..database.rows import counts_as_simulated
from ..database.schema import events, jobs
from ..database.trust_schema import heads, newest_size


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A transition: number `seq` of its job, at `position` in its customer's sequence. `at` is in Unix milliseconds."""

    position: int
    job_id: str
    seq: int
    status: str
    at: int
    attempt: int
    supplier: str | None
    region: str | None
    reason: str | None
    simulated: bool | None

    @property
    def is_simulated(self) -> bool:
        """Whether its job is simulated."""
        return counts_as_simulated(self.simulated)

    @property
    def is_terminal(self) -> bool:
        """Whether it is the job's last."""
        return JobStatus(self.status).is_terminal


_EVENT: tuple[Column[Any], ...] = (
    events.c.position,
    events.c.job_id,
    events.c.seq,
    events.c.status,
    events.c.at,
    events.c.attempt,
    events.c.supplier,
    events.c.region,
    events.c.reason,
    jobs.c.simulated,
)
_EVENTS = select(*_EVENT).select_from(events).join(jobs, jobs.c.id == events.c.job_id, isouter=True)
_OF_CUSTOMER = (
    _EVENTS.where(events.c.customer_id == bindparam("customer"), events.c.position > bindparam("after"))
    .order_by(events.c.position)
    .limit(bindparam("at_most"))
)
_OF_JOB = (
    _EVENTS.where(events.c.job_id == bindparam("job"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("at_most"))
)
_HEADS = select(heads.c.customer_id, newest_size(heads.c.customer_id)).where(
    heads.c.customer_id.in_(bindparam("customers", expanding=True))
)


class EventLog:
    """The transitions of all customers' jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def heads(self, customer_ids: Sequence[str]) -> dict[str, int]:
        """Return how far customers' sequences have got: every event committed later has a higher position."""
        with self._database.read() as connection:
            found = {row[0]: row[1] for row in connection.execute(_HEADS, {"customers": customer_ids})}
        return {customer_id: found.get(customer_id, 0) for customer_id in customer_ids}

    def of_customer(self, customer_id: str, *, after: int, limit: int) -> list[EventRecord]:
        """Return the events of a customer's jobs after a position, in order."""
        with self._database.read() as connection:
            parameters = {"customer": customer_id, "after": after, "at_most": limit}
            return [EventRecord(*row) for row in connection.execute(_OF_CUSTOMER, parameters)]

    def of_job(self, job_id: str, *, after: int, limit: int) -> list[EventRecord]:
        """Return the events of a job, of any customer, after a number, in order."""
        with self._database.read() as connection:
            parameters = {"job": job_id, "after": after, "at_most": limit}
            return [EventRecord(*row) for row in connection.execute(_OF_JOB, parameters)]
