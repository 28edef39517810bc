"""What customers do with jobs: submit, read, list, cancel."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, insert, or_, select, union_all, update

from nodus_core import routing
from nodus_core.catalogue import Catalogue
from nodus_core.ids import RandomBits, uuid7
from nodus_core.lifecycle import JobStatus
from nodus_core.money import cost_micros
from nodus_core.seeded_random import stream
from nodus_core.spec import JobSpec

from ..database.cursors import Cursors
from ..database.database import Database
from ..database.fingerprints import Fingerprints
from ..database.prepared import Prepared
from ..database.rows import JOB_FIELDS, JobRecord, new_record
from ..database.schema import attempts, events, jobs
from ..database.sealing import Sealer
from ..errors import (
    BudgetExceeded,
    ForbiddenPrincipal,
    IdempotencyKeyReused,
    NoSuchOffer,
    NoSupplier,
    NothingSimulated,
    SimulationsOnly,
    UnknownJob,
)
from ..keys import budget_events, budgets
from ..keys.keys import KeyRecord
from ..keys.thresholds import DEFAULT_FRACTION
from ..trust import job_entries, log
from ..webhooks import outbox, payloads
from .admission import Admission, sole_customer
from .outages import outages_now
from .settlement import cancel_undispatched

SUBMIT_ENDPOINT = "POST /v1/jobs"

_BY_ID = select(*JOB_FIELDS).where(jobs.c.id == bindparam("job"), jobs.c.customer_id == bindparam("customer"))
_ONE_BY_ID = Prepared(_BY_ID)
_LOCKED_BY_ID = _BY_ID.with_for_update()
_BY_IDEMPOTENCY_KEY = Prepared(
    select(*JOB_FIELDS).where(
        jobs.c.customer_id == bindparam("customer"),
        # An agent's own, and those from before there were scopes, when everybody's stood in the empty one.
        jobs.c.idempotency_scope.in_((bindparam("scope"), "")),
        or_(jobs.c.idempotency_scope == bindparam("scope"), jobs.c.key_id == bindparam("of_key")),
        jobs.c.endpoint == bindparam("at_endpoint"),
        jobs.c.idempotency_key == bindparam("key"),
    )
)
_LAST_SEQ = Prepared(select(func.max(jobs.c.seq)))
_PLACEMENT = select(
    attempts.c.job_id,
    attempts.c.attempt,
    attempts.c.supplier,
    attempts.c.region,
    attempts.c.placed_at,
    attempts.c.ended_at,
)
_INSERT_JOB = Prepared(insert(jobs))
_INSERT_EVENT = Prepared(insert(events))
_STEERING = "NODUS_SIM_"
# `json.dumps` would make one at every call.
_ENCODER = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job of a submission; `replayed` if the idempotency key matched an earlier one."""

    job: JobRecord
    replayed: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, newest first; `next_cursor` is None on the last one."""

    jobs: list[JobRecord]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PlacementFacts:
    """Which attempt ran where, and when, in Unix milliseconds; `ended_at` is None while it is open."""

    job_id: str
    attempt: int
    supplier: str
    region: str
    placed_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Secrets:
    """The sealed part of a spec, opened."""

    command: tuple[str, ...] | None = field(repr=False)
    env: Mapping[str, str] = field(repr=False)


class JobIds:
    """Makes the ids of new jobs: random ones, or, from a seed, the same ones for the same submissions."""

    def __init__(self, random_bits: RandomBits, seed: int | None = None) -> None:
        self._random_bits = random_bits
        self._seed = seed
        self.passed_over = 0
        """How many submissions the seed's sequence has skipped at its start."""

    def begin(self, seed: int, passed_over: int) -> None:
        """Start over from a seed, as if so many jobs had been submitted before; random ids stay random."""
        if self._seed is not None:
            self._seed, self.passed_over = seed, passed_over

    def new(self, now: int, ordinal: Callable[[], int]) -> str:
        """Make the id of a job; `ordinal` tells how many jobs there were before it."""
        if self._seed is None:
            return str(uuid7(now, self._random_bits))
        return str(uuid7(now, stream(self._seed, "job", self.passed_over + ordinal()).getrandbits))


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
        simulated: bool = True,
        threshold: float = DEFAULT_FRACTION,
        admission: Admission | None = None,
    ) -> None:
        """`threshold` is the fraction of a key's cap at which subscribers are notified; `admission`: what is taken.

        Where suppliers are `simulated`, only test keys may submit; elsewhere, only live ones.
        """
        self._admission = admission or Admission()
        self._database = database
        self._sealer = sealer
        self._fingerprints = fingerprints
        self._cursors = Cursors(sealer, "jobs")
        self._catalogue = catalogue
        self._ids = ids
        self._simulated = simulated
        self._threshold = threshold

    def submit(self, key: KeyRecord, spec: JobSpec, idempotency_key: str | None, now: int) -> Submitted:
        """Accept a job (its row, reservation and first event, in one transaction), or return the earlier one.

        Raises:
            IdempotencyKeyReused: the key was used with another spec before.
            NoSuchOffer, SimulationsOnly, NothingSimulated, NoSupplier, CannotRun, BudgetExceeded: nothing was accepted,
                and the idempotency key is still free.
        """
        submitted = self._database.run(
            lambda connection: self._submit(connection, key, spec, idempotency_key, now), group_key=key.id
        )
        if isinstance(submitted, BudgetExceeded):
            raise submitted
        return submitted

    def _submit(
        self, connection: Connection, key: KeyRecord, spec: JobSpec, idempotency_key: str | None, now: int
    ) -> Submitted | BudgetExceeded:
        """Do that inside a transaction. An exceeded budget is returned, not raised, so that its record is committed."""
        fingerprint = self._fingerprints.of(spec.canonical())
        month = None
        if key.monthly_cap is not None:
            # Before looking for an earlier submission: of two with one idempotency key, the one that waits here then
            # finds the other's job, rather than a budget that this very job has used up.
            month = budgets.figures(connection, key.id, now, lock=True)
        if idempotency_key is not None:
            earlier = _by_idempotency_key(connection, key, idempotency_key)
            if earlier is not None:
                if not hmac.compare_digest(earlier.fingerprint, fingerprint):
                    raise IdempotencyKeyReused
                return Submitted(earlier, replayed=True)
        if key.is_test is not self._simulated:
            raise SimulationsOnly if self._simulated else NothingSimulated
        rate = self._reserved_rate(connection, spec)
        self._admission.require(connection, key.customer_id, spec)
        reserved = cost_micros(rate, spec.gpu_count, spec.max_runtime_seconds * 1000)
        try:
            month = budgets.reserve(connection, key.id, reserved, now, month)
        except BudgetExceeded as exc:
            budget_events.refused(connection, key, exc, now)
            return exc
        self._admission.settle(connection, key.customer_id)
        job_id = self._ids.new(now, lambda: _count(connection))
        steering = {name: value for name, value in spec.env.items() if self._simulated and name.startswith(_STEERING)}
        values: dict[str, Any] = {
            "id": job_id,
            "customer_id": key.customer_id,
            "key_id": key.id,
            "principal_kind": key.principal_kind,
            "idempotency_scope": key.idempotency_scope,
            "endpoint": SUBMIT_ENDPOINT,
            "idempotency_key": idempotency_key,
            "fingerprint": fingerprint,
            **spec.columns(),
            "sealed": self._seal(job_id, {"command": spec.command, "env": dict(spec.env)}),
            "steering": self._seal(job_id, {"command": None, "env": steering}) if steering else None,
            "created_at": now,
            "reserved": reserved,
            "reserved_rate": rate,
            "simulated": self._simulated,
            "status": JobStatus.QUEUED.value,
            "placements": 0,
            "events": 1,
            "attempt": 0,
            "open_attempt": False,
            "due_at": now,
            "generation": 0,
        }
        seq = _INSERT_JOB.insert(connection, values)
        outbox.publish(connection, [payloads.placed(values)])
        command_hmac = self._fingerprints.of_command(key.customer_id, spec.command)
        position = log.append_all(connection, [job_entries.submitted(values, spec, command_hmac)])[0]
        _INSERT_EVENT.change(
            connection,
            {
                "customer_id": key.customer_id,
                "job_id": job_id,
                "position": position.seq,
                "seq": 1,
                "status": JobStatus.QUEUED.value,
                "at": now,
                "attempt": 0,
            },
        )
        if month is not None:
            budget_events.reserved(connection, key, month, job_id, self._threshold, now)
        return Submitted(new_record({**values, "seq": seq}), replayed=False)

    def get(self, customer_id: str, job_id: str) -> JobRecord:
        """Return a job.

        Raises:
            UnknownJob: this customer has none of that id.
        """
        return _require(self._database.first(_ONE_BY_ID, {"job": job_id, "customer": customer_id}))

    def list(
        self,
        customer_id: str,
        *,
        limit: int,
        cursor: str | None,
        statuses: Sequence[JobStatus],
        matching: Mapping[str, object] | None = None,
    ) -> Page:
        """Return a page of a customer's jobs, newest first; `statuses` and `matching` as in `listing`.

        Raises:
            UnusableCursor: no page of the same listing, by the same filters, gave this cursor.
        """
        filters: dict[str, object] = dict(matching or {})
        if statuses:
            filters["status"] = sorted({status.value for status in statuses})
        after = None if cursor is None else self._cursors.read(customer_id, cursor, filters)
        query = listing(customer_id, limit=limit + 1, after=after, statuses=statuses, matching=matching)
        with self._database.read() as connection:
            found = [JobRecord(*row) for row in connection.execute(query)]
        page = found[:limit]
        return Page(page, self._cursors.make(customer_id, page[-1].seq, filters) if len(found) > limit else None)

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
            return _require(connection.execute(_BY_ID, {"job": job_id, "customer": key.customer_id}).first())

    def request_cancel_all(self, now: int) -> None:
        """Request the end of every job, of all customers: for a control plane whose memory ends with it."""
        with self._database.write() as connection:
            connection.execute(
                update(jobs)
                .where(or_(jobs.c.due_at.is_not(None), jobs.c.waiting_since.is_not(None)))
                .values(cancel_requested_at=now, due_at=now, waiting_since=None)
            )

    def is_anothers(self, customer_id: str) -> bool:
        """Say whether jobs of this customer are not run, because the engine belongs to another one."""
        if not self._admission.one_customer:
            return False
        with self._database.read() as connection:
            return sole_customer(connection) not in (None, customer_id)

    def decision(self, job_id: str) -> dict[str, Any] | None:
        """Return the latest placement decision of a job, as the router judged it; None before the first."""
        query = (
            select(attempts.c.decision).where(attempts.c.job_id == job_id).order_by(attempts.c.attempt.desc()).limit(1)
        )
        with self._database.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else json.loads(found)

    def latest_placement(self, job_id: str) -> PlacementFacts | None:
        """Return the last placement that a supplier did not turn down; None before the first."""
        query = (
            _PLACEMENT.where(attempts.c.job_id == job_id, func.coalesce(attempts.c.outcome, "") != "refused")
            .order_by(attempts.c.attempt.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else PlacementFacts(*row)

    def is_over(self, job_id: str) -> bool:
        """Say whether a job, of any customer, is terminal or gone."""
        query = select(jobs.c.finished_at).where(jobs.c.id == job_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return row is None or row.finished_at is not None

    def placement_of(self, job_id: str, attempt: int) -> tuple[JobRecord, PlacementFacts] | None:
        """Return a job, of any customer, with one of its attempts; None if there is none."""
        by_attempt = _PLACEMENT.where(attempts.c.job_id == job_id, attempts.c.attempt == attempt)
        with self._database.read() as connection:
            job = connection.execute(select(*JOB_FIELDS).where(jobs.c.id == job_id)).first()
            placement = connection.execute(by_attempt).first()
        return None if job is None or placement is None else (JobRecord(*job), PlacementFacts(*placement))

    def open_secrets(self, job: JobRecord) -> Secrets:
        """Open a job's sealed command and env, for the driver only; of a terminal job, what steered its simulation."""
        sealed = job.sealed or job.steering
        if not sealed:
            return Secrets(command=None, env={})
        opened = json.loads(self._sealer.open(sealed, _context(job.id)))
        command = opened["command"]
        return Secrets(command=None if command is None else tuple(command), env=opened["env"])

    def _reserved_rate(self, connection: Connection, spec: JobSpec) -> int:
        offers = self._catalogue.offers(spec.gpu)
        rate = routing.ceiling_micros(offers, spec.require_tiers)
        if rate is None:
            raise NoSuchOffer
        out = outages_now(connection)
        if out and all(offer.supplier in out for offer in routing.eligible(offers, spec.require_tiers)):
            raise NoSupplier
        return rate

    def _seal(self, job_id: str, secret: Mapping[str, object]) -> bytes:
        return self._sealer.seal(_ENCODER.encode(secret).encode(), _context(job_id))


def listing(
    customer_id: str,
    *,
    limit: int,
    after: int | None,
    statuses: Sequence[JobStatus],
    matching: Mapping[str, object] | None = None,
) -> Select[tuple[Any, ...]]:
    """Return the query of a page, newest first, which reads no more rows than it returns for each status.

    Args:
        customer_id: whose jobs.
        limit: the most rows.
        after: the row after which it begins; None for the newest.
        statuses: only these; empty for all.
        matching: only jobs whose columns of these names, filters of `nodus_core.spec`, have these values.
    """
    own = select(*JOB_FIELDS).where(jobs.c.customer_id == customer_id).order_by(jobs.c.seq.desc()).limit(limit)
    if after is not None:
        own = own.where(jobs.c.seq < after)
    if not statuses and not matching:
        return own
    own = own.where(*(jobs.c[name] == value for name, value in (matching or {}).items()))
    # Of several statuses at once an index gives no order: so the newest of each are found, and of those the newest.
    # Each filter has an index by status too, so that neither alone can match many rows in vain.
    wanted = dict.fromkeys(statuses or JobStatus)
    newest = [select(own.where(jobs.c.status == status.value).subquery()) for status in wanted]
    found = union_all(*newest).subquery()
    return select(found).order_by(found.c.seq.desc()).limit(limit)


def require_own(key: KeyRecord, job: JobRecord) -> None:
    """Restrict an agent's key to the jobs that it submitted, and a test key to simulated ones.

    Raises:
        ForbiddenPrincipal: another key submitted this job, or it is not simulated.
    """
    if (key.sees_only_its_own_jobs and job.key_id != key.id) or (key.is_test and not job.is_simulated):
        raise ForbiddenPrincipal


def _by_idempotency_key(connection: Connection, key: KeyRecord, idempotency_key: str) -> JobRecord | None:
    wanted = {
        "customer": key.customer_id,
        "scope": key.idempotency_scope,
        "of_key": key.id,
        "at_endpoint": SUBMIT_ENDPOINT,
        "key": idempotency_key,
    }
    row = _BY_IDEMPOTENCY_KEY.first(connection, wanted)
    return None if row is None else JobRecord(*row)


def _require(row: Any) -> JobRecord:
    if row is None:
        raise UnknownJob
    return JobRecord(*row)


def _count(connection: Connection) -> int:
    row = _LAST_SEQ.first(connection, {})
    return 0 if row is None else row[0] or 0


def _context(job_id: str) -> str:
    return f"job {job_id}"
