"""What customers do with jobs: submit, read, list, cancel."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, or_, select, update

from nodus_core.catalogue import Catalogue
from nodus_core.spec import JobSpec

from ..database.cursors import Cursors
from ..database.database import Database
from ..database.fingerprints import Fingerprints
from ..database.prepared import Prepared
from ..database.rows import JOB_FIELDS, JobRecord
from ..database.schema import attempts, jobs
from ..database.sealing import Sealer
from ..errors import Refused, UnknownJob
from ..keys import waiting_jobs
from ..keys.keys import KeyRecord
from ..keys.thresholds import DEFAULT_FRACTION
from . import outcomes, slots
from .capacity import Layout
from .job_secrets import Secrets, open_secrets
from .listing import ALL, Filters, read_page
from .permissions import require_own
from .quoting import Quoted
from .settlement import cancel_undispatched
from .submission import JobIds, Submissions, Submitted
from .supplier_eligibility import SupplierEligibility, owner_of

UNKNOWN = "unknown"
"""The phase of a job of which nobody can say whether it runs."""

_IDS_AT_ONCE = 500

_BY_ID = select(*JOB_FIELDS).where(jobs.c.id == bindparam("job"), jobs.c.customer_id == bindparam("customer"))
_ONE_BY_ID = Prepared(_BY_ID)
_LOCKED_BY_ID = _BY_ID.with_for_update()
_PLACEMENT = select(
    attempts.c.job_id,
    attempts.c.attempt,
    attempts.c.supplier,
    attempts.c.region,
    attempts.c.placed_at,
    attempts.c.ended_at,
    jobs.c.simulated,
    attempts.c.rate,
).join(jobs, jobs.c.id == attempts.c.job_id)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, newest first; `next_cursor` is None on the last one."""

    jobs: list[JobRecord]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PlacementFacts:
    """Which attempt ran where, and when, in Unix milliseconds; `ended_at` is None while it is open.

    `simulated` is whether nothing ran, as the job's row says; None where that was not recorded. `rate` is in micro-USD
    per GPU-hour.
    """

    job_id: str
    attempt: int
    supplier: str
    region: str
    placed_at: int
    ended_at: int | None
    simulated: bool | None = None
    rate: int = 0


_NEVER_BEGUN = (outcomes.REFUSED, outcomes.NOT_STARTED)


class Jobs:
    """The jobs of all customers."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        fingerprints: Fingerprints,
        catalogue: Catalogue,
        ids: JobIds,
        *,
        threshold: float = DEFAULT_FRACTION,
        eligibility: SupplierEligibility | None = None,
        layout: Layout | None = None,
    ) -> None:
        """`threshold` is the fraction of a key's cap at which subscribers are notified; `eligibility`: which
        suppliers can run what; `layout`: what there is of each GPU model, as those know who place jobs.

        Test keys submit to simulated suppliers, live keys to all others.
        """
        self._eligibility = eligibility or SupplierEligibility()
        self._database = database
        self._sealer = sealer
        self._cursors = Cursors(sealer, "jobs")
        self._catalogue = catalogue
        self._submissions = Submissions(
            database,
            sealer,
            fingerprints,
            catalogue,
            ids,
            self._eligibility,
            threshold=threshold,
            layout=layout or Layout(),
        )

    def submit(self, key: KeyRecord, spec: JobSpec, idempotency_key: str | None, now: int) -> Submitted:
        """Accept a job (its row, reservation and first event, in one transaction), or return the earlier one.

        Raises:
            IdempotencyKeyReused: the key was used with another spec before.
            NoSuchOffer, SimulationsOnly, NothingSimulated, NoSupplier, CannotRun, MaxCostTooLow, BudgetExceeded:
                nothing was accepted, and the idempotency key is still free.
        """
        return self._submissions.submit(key, spec, idempotency_key, now)

    def submit_all(
        self, key: KeyRecord, submissions: Sequence[tuple[JobSpec, str]], now: int
    ) -> Sequence[Submitted | Refused]:
        """Accept or find several jobs in one transaction, each by itself and in order: a spec and its idempotency key.

        In place of a job that is not accepted stands what `submit` would have raised.

        Raises:
            DatabaseUnavailable: nothing was accepted, unless it says otherwise.
        """
        return self._submissions.submit_all(key, submissions, now)

    def quote(self, key: KeyRecord, spec: JobSpec, now: int) -> Quoted:
        """Say what a submission would meet now. Nothing is reserved or written.

        Raises:
            NoSuchOffer, SimulationsOnly, NothingSimulated, CannotRun, MaxCostTooLow: as for `submit`.
        """
        return self._submissions.quote(key, spec, now)

    def get(self, customer_id: str, job_id: str) -> JobRecord:
        """Return a job.

        Raises:
            UnknownJob: this customer has none of that id.
        """
        return _require(self._database.first(_ONE_BY_ID, {"job": job_id, "customer": customer_id}))

    def list(self, customer_id: str, filters: Filters = ALL, *, limit: int, cursor: str | None = None) -> Page:
        """Return a page of a customer's jobs, newest first.

        Raises:
            UnusableCursor: no page of the same listing, by the same filters, gave this cursor.
        """
        told = filters.canonical()
        after = None if cursor is None else self._cursors.read(customer_id, cursor, told)
        with self._database.read() as connection:
            found = read_page(connection, customer_id, filters, limit=limit + 1, after=after)
        page = found[:limit]
        return Page(page, self._cursors.make(customer_id, page[-1].seq, told) if len(found) > limit else None)

    def request_cancel(self, key: KeyRecord, job_id: str, now: int) -> JobRecord:
        """Cancel a job that no driver has yet; request the end of one that a driver may have; ignore a terminal one.

        Raises:
            UnknownJob: this customer has none of that id.
            ForbiddenPrincipal: the key is an agent's, and another key submitted the job; or the key is a test key, and
                the job is not simulated.
        """
        with self._database.write() as connection:
            job = _require(connection.execute(_LOCKED_BY_ID, {"job": job_id, "customer": key.customer_id}).first())
            require_own(key, job)
            if job.is_terminal or job.cancel_requested_at is not None:
                return job
            if not job.open_attempt:
                cancel_undispatched(connection, job, now, self._catalogue)
            else:
                connection.execute(
                    update(jobs).where(jobs.c.seq == job.seq).values(cancel_requested_at=now, due_at=now)
                )
            after = _require(connection.execute(_BY_ID, {"job": job_id, "customer": key.customer_id}).first())
        if after.is_terminal:
            waiting_jobs.wake(self._database, now, [after.key_id])
        return after

    def request_cancel_all(self, now: int) -> None:
        """Request the end of every job, of all customers: for a control plane whose memory ends with it."""
        with self._database.write() as connection:
            connection.execute(
                update(jobs)
                .where(or_(jobs.c.due_at.is_not(None), jobs.c.waiting_since.is_not(None)))
                .values(cancel_requested_at=now, due_at=now, waiting_since=None)
            )

    def is_anothers(self, supplier: str, customer_id: str) -> bool:
        """Say whether a supplier runs no jobs of this customer, because it belongs to another one."""
        if supplier not in self._eligibility.one_customer:
            return False
        with self._database.read() as connection:
            return owner_of(connection, supplier) not in (None, customer_id)

    def decision(self, job_id: str, attempt: int | None = None) -> dict[str, Any] | None:
        """Return the latest placement decision of a job, or that of an attempt; None if there is none.

        It is as the router judged it, with the number of the attempt.
        """
        query = select(attempts.c.attempt, attempts.c.decision).where(attempts.c.job_id == job_id)
        query = query.order_by(attempts.c.attempt.desc()).limit(1)
        if attempt is not None:
            query = query.where(attempts.c.attempt == attempt)
        with self._database.read() as connection:
            found = connection.execute(query).first()
        return None if found is None else {"attempt": found.attempt, **json.loads(found.decision)}

    def latest_placement(self, job_id: str) -> PlacementFacts | None:
        """Return the last placement that a supplier began with; None before the first."""
        query = (
            _PLACEMENT.where(attempts.c.job_id == job_id, func.coalesce(attempts.c.outcome, "").not_in(_NEVER_BEGUN))
            .order_by(attempts.c.attempt.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else PlacementFacts(*row)

    def last_seen(self, of: Sequence[JobRecord]) -> dict[str, int]:
        """Return the last proof of life of those whose phase is `unknown`, by job id. Unix milliseconds."""
        unknown = [job for job in of if job.phase == UNKNOWN and not job.is_terminal]
        if not unknown:
            return {}
        query = select(attempts.c.job_id, attempts.c.seen_at).where(
            attempts.c.job_id.in_([job.id for job in unknown]), attempts.c.outcome.is_(None)
        )
        with self._database.read() as connection:
            seen = {row.job_id: row.seen_at for row in connection.execute(query)}
        return {job.id: seen.get(job.id) or job.started_at or 0 for job in unknown}

    def is_over(self, job_id: str) -> bool:
        """Say whether a job, of any customer, is terminal or gone."""
        query = select(jobs.c.finished_at).where(jobs.c.id == job_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return row is None or row.finished_at is not None

    def placements(self, wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], PlacementFacts]:
        """Return what is known of attempts, by job id and number; nothing of those that do not exist."""
        job_ids = sorted({job_id for job_id, _ in wanted})
        found: dict[tuple[str, int], PlacementFacts] = {}
        with self._database.read() as connection:
            for first in range(0, len(job_ids), _IDS_AT_ONCE):
                query = _PLACEMENT.where(attempts.c.job_id.in_(job_ids[first : first + _IDS_AT_ONCE]))
                for facts in (PlacementFacts(*row) for row in connection.execute(query)):
                    found[facts.job_id, facts.attempt] = facts
        return found

    def held_by_what_ended(self, suppliers: Sequence[str]) -> Sequence[tuple[str, int]]:
        """Return the attempts at suppliers that are over, but not confirmed to be: they have kept their GPUs."""
        with self._database.read() as connection:
            return slots.held_by_what_ended(connection, suppliers)

    def confirm_ends(self, ended: Sequence[tuple[str, int]]) -> None:
        """Give back the GPUs of attempts, by job id and number: their engine has confirmed that they are over."""
        if ended:
            with self._database.write() as connection:
                slots.free(connection, ended)

    def placement_of(self, job_id: str, attempt: int) -> tuple[JobRecord, PlacementFacts] | None:
        """Return a job, of any customer, with one of its attempts; None if there is none."""
        by_attempt = _PLACEMENT.where(attempts.c.job_id == job_id, attempts.c.attempt == attempt)
        with self._database.read() as connection:
            job = connection.execute(select(*JOB_FIELDS).where(jobs.c.id == job_id)).first()
            placement = connection.execute(by_attempt).first()
        return None if job is None or placement is None else (JobRecord(*job), PlacementFacts(*placement))

    def open_secrets(self, job: JobRecord) -> Secrets:
        """Open a job's sealed command and env, for the driver only; of a terminal job, what steered its simulation."""
        return open_secrets(self._sealer, job)


def _require(row: Any) -> JobRecord:
    if row is None:
        raise UnknownJob
    return JobRecord(*row)
