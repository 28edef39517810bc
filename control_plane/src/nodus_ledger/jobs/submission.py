"""Taking a job in: its row, reservation, rows of the ledger and first event, in one transaction."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, or_, select

from nodus_core import routing
from nodus_core.catalogue import Catalogue
from nodus_core.ids import RandomBits, uuid7
from nodus_core.lifecycle import JobStatus
from nodus_core.routing import Requirements
from nodus_core.seeded_random import stream
from nodus_core.spec import JobSpec

from ..database.database import Database
from ..database.fingerprints import Fingerprints
from ..database.prepared import Prepared
from ..database.rows import JOB_FIELDS, JobRecord, new_record
from ..database.savepoints import alone
from ..database.schema import events, jobs
from ..database.sealing import Sealer
from ..errors import (
    BudgetExceeded,
    BudgetFigures,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    NoSuchOffer,
    NothingSimulated,
    Refused,
    SimulationsOnly,
)
from ..keys import budget_events, budgets
from ..keys.keys import KeyRecord
from ..trust import job_entries, log
from ..webhooks import outbox, payloads
from . import labels
from .capacity import Layout, free_in
from .job_secrets import seal_secrets
from .outages import outages_now
from .quoting import AdmissionQuestion, Quoted, require_admission
from .slots import Slots
from .supplier_eligibility import Program, SupplierEligibility
from .wants import of_new_job

SUBMIT_ENDPOINT = "POST /v1/jobs"

_BY_IDEMPOTENCY_KEY = select(*JOB_FIELDS).where(
    jobs.c.customer_id == bindparam("customer"),
    jobs.c.endpoint == bindparam("at_endpoint"),
    jobs.c.idempotency_key == bindparam("key"),
)
_OF_CUSTOMER = Prepared(_BY_IDEMPOTENCY_KEY.where(jobs.c.idempotency_scope == bindparam("scope")))
_OF_AGENT = Prepared(
    _BY_IDEMPOTENCY_KEY.where(
        # Its own, and those from before there were scopes, when everybody's stood in the empty one.
        jobs.c.idempotency_scope.in_((bindparam("scope"), "")),
        or_(jobs.c.idempotency_scope == bindparam("scope"), jobs.c.key_id == bindparam("of_key")),
    )
)
_LAST_SEQ = Prepared(select(func.max(jobs.c.seq)))
_INSERT_JOB = Prepared(insert(jobs))
_INSERT_EVENT = Prepared(insert(events))
_STEERING = "NODUS_SIM_"


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job of a submission; `replayed` if the idempotency key matched an earlier one."""

    job: JobRecord
    replayed: bool


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


class Submissions:
    """Takes jobs in, for all customers.

    Attributes:
        ids: what makes the ids of new jobs.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        fingerprints: Fingerprints,
        catalogue: Catalogue,
        ids: JobIds,
        eligibility: SupplierEligibility,
        *,
        threshold: float,
        layout: Layout,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._fingerprints = fingerprints
        self._catalogue = catalogue
        self._eligibility = eligibility
        self._threshold = threshold
        self._layout = layout
        self._slots = Slots(database, layout)
        self.ids = ids

    def submit(self, key: KeyRecord, spec: JobSpec, idempotency_key: str | None, now: int) -> Submitted:
        """Accept a job, or return the earlier one; raises what `Jobs.submit` does."""
        submitted = self._database.run(
            lambda connection: self._submit(connection, key, spec, idempotency_key, now), group_key=key.id
        )
        if isinstance(submitted, BudgetExceeded):
            raise submitted
        return submitted

    def submit_all(
        self, key: KeyRecord, submissions: Sequence[tuple[JobSpec, str]], now: int
    ) -> list[Submitted | Refused]:
        """Accept jobs in one transaction, each with its idempotency key; see `Jobs.submit_all`."""

        def submit_each(connection: Connection) -> list[Submitted | Refused]:
            return [self._submit_alone(connection, key, spec, own_key, now) for spec, own_key in submissions]

        return self._database.run(submit_each, group_key=key.id)

    def _submit_alone(
        self, connection: Connection, key: KeyRecord, spec: JobSpec, idempotency_key: str, now: int
    ) -> Submitted | Refused:
        try:
            return alone(connection, lambda within: self._submit(within, key, spec, idempotency_key, now))
        except DatabaseUnavailable:
            raise
        except Refused as exc:
            return exc

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
            earlier = _earlier(connection, key, idempotency_key)
            if earlier is not None:
                if not hmac.compare_digest(earlier.fingerprint, fingerprint):
                    raise IdempotencyKeyReused
                return Submitted(earlier, replayed=True)
        question = self._question(connection, key, spec, month)
        try:
            admitted = require_admission(question, month)
            month = budgets.reserve(connection, key.id, admitted.reserved, now, month)
        except BudgetExceeded as exc:
            exc.largest_fitting = question.largest_fitting(exc.figures.headroom)
            budget_events.refused(connection, key, exc, now)
            return exc
        job_id = self.ids.new(now, lambda: _count(connection))
        steering = {name: value for name, value in spec.env.items() if key.is_test and name.startswith(_STEERING)}
        waits = self._layout.takes_turns(spec.gpu)
        unable = self._eligibility.unable(_program(spec)) if waits else ()
        offers = self._catalogue.offers_for(spec.gpu, simulated=key.is_test)
        wants = of_new_job(key.customer_id, spec, offers, simulated=key.is_test, unable=unable)
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
            "sealed": seal_secrets(self._sealer, job_id, spec.command, spec.env),
            "steering": seal_secrets(self._sealer, job_id, None, steering) if steering else None,
            "created_at": now,
            "reserved": admitted.reserved,
            "reserved_rate": admitted.rate,
            "simulated": key.is_test,
            "status": JobStatus.QUEUED.value,
            "placements": 0,
            "events": 1,
            "attempt": 0,
            "open_attempt": False,
            "due_at": now,
            # It stands in its queue at once: those who claim what is due may have much to do before.
            "waiting_since": now if waits else None,
            "waiting_in": wants.queue if waits else None,
            "generation": 0,
        }
        seq = _INSERT_JOB.insert(connection, values)
        labels.insert_rows(connection, key.customer_id, seq, spec.labels)
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

    def quote(self, key: KeyRecord, spec: JobSpec, now: int) -> Quoted:
        """Say what a submission would meet now; see `Jobs.quote`."""
        with self._database.read() as connection:
            month = None if key.monthly_cap is None else budgets.figures(connection, key.id, now)
            question = self._question(connection, key, spec, month)
        retail = self._catalogue.retail_micros_per_gpu_hour(spec.gpu, simulated=key.is_test)
        return Quoted.of(question, month, retail)

    def _question(
        self, connection: Connection, key: KeyRecord, spec: JobSpec, month: BudgetFigures | None
    ) -> AdmissionQuestion:
        """Ask where the job would go now, and so what is reserved for it; `month` is that of a capped key."""
        if not (self._catalogue.has_simulated if key.is_test else self._catalogue.has_real):
            raise NothingSimulated if key.is_test else SimulationsOnly
        offers = self._catalogue.offers_for(spec.gpu, simulated=key.is_test)
        eligible = routing.eligible(offers, spec.require_tiers, spec.gpu_count)
        if not eligible:
            is_too_many = bool(routing.eligible(offers, spec.require_tiers))
            raise NoSuchOffer(spec.gpu, self._catalogue.gpus_for(simulated=key.is_test), is_too_many=is_too_many)
        owners = self._eligibility.owners(connection)
        unable = self._eligibility.require(eligible, owners, key.customer_id, _program(spec))
        requirements = Requirements(
            require_tiers=spec.require_tiers,
            gpu_count=spec.gpu_count,
            prefer_region=spec.prefer_region,
            outages=self._database.once("outages", lambda: outages_now(connection)),
            max_runtime_seconds=spec.max_runtime_seconds,
            max_cost_micros=spec.max_cost_micros,
            headroom_micros=None if month is None else month.headroom,
            full=self._full(connection, spec),
            cannot_run=unable,
        )
        return AdmissionQuestion(offers, requirements)

    def _full(self, connection: Connection, spec: JobSpec) -> frozenset[str]:
        """Return the suppliers that have no room for the job now; nothing is read where nobody counts this model."""
        if not any(gpu == spec.gpu for _, gpu in self._layout.gpus):
            return frozenset()
        room = self._slots.room(connection, spec.gpu)
        pools = self._layout.pools.items()
        return frozenset(
            supplier for supplier, pool in pools if pool in room.free and free_in(room, pool) < spec.gpu_count
        )


def _earlier(connection: Connection, key: KeyRecord, idempotency_key: str) -> JobRecord | None:
    scope = key.idempotency_scope
    wanted = {"customer": key.customer_id, "scope": scope, "at_endpoint": SUBMIT_ENDPOINT, "key": idempotency_key}
    row = _OF_AGENT.first(connection, {**wanted, "of_key": key.id}) if scope else _OF_CUSTOMER.first(connection, wanted)
    return None if row is None else JobRecord(*row)


def _program(spec: JobSpec) -> Program:
    return Program(spec.image, spec.command, spec.env)


def _count(connection: Connection) -> int:
    row = _LAST_SEQ.first(connection, {})
    return 0 if row is None else row[0] or 0
