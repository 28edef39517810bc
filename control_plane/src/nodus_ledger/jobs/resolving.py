"""An operator's word on an attempt of which no engine will ever say anything again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import select, update

from nodus_core.catalogue import Catalogue

from ..database.database import Database
from ..database.rows import ATTEMPT_FIELDS, JOB_FIELDS, AttemptRecord, JobRecord
from ..database.schema import attempts, jobs
from ..errors import UnknownJob
from ..keys import waiting_jobs
from ..trust.log import OPERATOR, Entry
from .claiming import Claim
from .settlement import Step, write_steps

RESOLVED = "operator.attempt_resolved"


class NotUnknown(Exception):
    """The job's attempt is not one of which nothing is known; the message says what is."""


def resolve(
    database: Database,
    catalogue: Catalogue,
    job_id: str,
    *,
    never_ran: bool,
    step_of: Callable[[Claim], Step],
    now: int,
) -> JobRecord:
    """End the attempt of a job, of any customer, that is unknown; return the job afterwards.

    Whoever holds the job meanwhile finds another generation, and writes nothing. The operator's log records it.

    Args:
        database: where the job is.
        catalogue: the retail prices, if the job ends with it.
        job_id: of the job.
        never_ran: whether the operator says that its program never ran, rather than that it has ended.
        step_of: decides what becomes of it.
        now: Unix milliseconds.

    Raises:
        UnknownJob: there is none of that id.
        NotUnknown: it is not unknown; or it is said that it never ran, and it was seen to run.
    """
    with database.write() as connection:
        found = connection.execute(select(*JOB_FIELDS).where(jobs.c.id == job_id).with_for_update()).first()
        if found is None:
            raise UnknownJob
        job = JobRecord(*found)
        query = select(*ATTEMPT_FIELDS).where(attempts.c.job_id == job_id, attempts.c.outcome.is_(None))
        row = connection.execute(query).first() if job.open_attempt else None
        attempt = None if row is None else AttemptRecord(*row)
        if attempt is None or attempt.unknown_since is None:
            raise NotUnknown(f"job {job_id} is {job.status}, and nothing about it is unknown")
        if never_ran and job.started_at is not None:
            raise NotUnknown(f"job {job_id} was seen to run at {attempt.supplier}: say that it has ended, if it has")
        generation = job.generation + 1
        connection.execute(update(jobs).where(jobs.c.seq == job.seq).values(generation=generation))
        job = replace(job, generation=generation)
        payload = {
            "job_id": job.id,
            "attempt": attempt.attempt,
            "supplier": attempt.supplier,
            "region": attempt.region,
            "said": "never_ran" if never_ran else "ended",
        }
        step = step_of(Claim(job, attempt, supplier_is_out=False))
        write_steps(connection, [step], catalogue, [Entry(OPERATOR, RESOLVED, now, payload)])
        after = JobRecord(*connection.execute(select(*JOB_FIELDS).where(jobs.c.id == job_id)).one())
    if after.is_terminal:
        waiting_jobs.wake(database, now, [after.key_id])
    return after
