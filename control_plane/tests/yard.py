"""A control plane whose suppliers have so many GPUs, without a worker: tests claim, and say how things end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import entries
from sqlalchemy import select

from nodus_control.clock import ManualClock
from nodus_control.control_plane import ControlPlane
from nodus_core.lifecycle import Change, JobStatus
from nodus_core.spec import parse_spec
from nodus_core.suppliers_file import SupplierEntry
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.database.schema import attempts, jobs, slots
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.jobs.settlement import AttemptEnd, Step
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind

H100 = "h100_80gb"
MINUTE_MS = 60_000


def supplier(name: str, usd: int, gpus: Mapping[str, int] | None, *, retry_after_loss: int = 2) -> SupplierEntry:
    """Make a supplier that has machines of its own, at one price; without `gpus` one whose engine has a queue."""
    prices = dict.fromkeys(gpus or [H100], usd * 1_000_000)
    return entries.supplier(name, prices, gpus, retry_after_loss=retry_after_loss)


@dataclass
class Yard:
    """Submits, claims and ends jobs, at a time that stands still."""

    control_plane: ControlPlane
    clock: ManualClock
    claims: Claims
    keys: dict[tuple[str, bool], KeyRecord] = field(default_factory=dict)

    def key(self, customer: str, *, is_test: bool = False) -> KeyRecord:
        """Return the one key of a customer of that kind."""
        if (customer, is_test) not in self.keys:
            minted = self.control_plane.keys.mint(
                customer_id=customer, label="", principal_kind=PrincipalKind.HUMAN, now=0, is_test=is_test
            )
            found = self.control_plane.keys.find(minted.api_key)
            assert found is not None
            self.keys[customer, is_test] = found
        return self.keys[customer, is_test]

    def submit(self, customer: str = "acme", gpus: int = 1, *, is_test: bool = False, **changes: Any) -> str:
        """Submit a job, simulated with `is_test`; return its id."""
        spec = parse_spec({"image": "x", "gpu": H100, "gpu_count": gpus, **changes})
        key = self.key(customer, is_test=is_test)
        return self.control_plane.jobs.submit(key, spec, None, self.clock.now()).job.id

    def claim(self, *, unreachable: frozenset[str] = frozenset(), drained: frozenset[str] = frozenset()) -> list[Claim]:
        """Claim until nothing is to be done."""
        found: list[Claim] = []
        while True:
            now = self.clock.now()
            count, claims = self.claims.claim(
                "me", now=now, real_now=now, lease_ms=10**6, limit=64, unreachable=unreachable, drained=drained
            )
            found += claims
            if not count:
                return found

    def places(
        self, *, unreachable: frozenset[str] = frozenset(), drained: frozenset[str] = frozenset()
    ) -> dict[str, str]:
        """Claim, and say where each job that was not claimed before has gone."""
        claims = self.claim(unreachable=unreachable, drained=drained)
        return {claim.job.id: claim.attempt.supplier for claim in claims}

    def end(self, *claims: Claim, outcome: str = "completed", owner: str = "me") -> None:
        """Say how attempts ended; those that are not the job's end put it back into the queue."""
        now = self.clock.now()
        steps = []
        for claim in claims:
            changes = []
            if outcome == "completed":
                changes = [
                    Change(JobStatus.PLACED, now, claim.attempt.supplier, claim.attempt.region, claim.attempt.rate),
                    Change(JobStatus.RUNNING, now),
                    Change(JobStatus.COMPLETED, now),
                ]
            steps.append(Step(claim.job, changes, now, AttemptEnd(outcome, None, now)))
        assert self.claims.finish(owner, steps, now=now) == len(claims)

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass."""
        self.clock.advance_to(self.clock.now() + milliseconds)

    def job(self, job_id: str, customer: str = "acme") -> JobRecord:
        """Read a job."""
        return self.control_plane.jobs.get(customer, job_id)

    def column(self, job_id: str, name: str) -> Any:
        """Read a column of a job."""
        with self.control_plane.database.read() as connection:
            return connection.execute(select(jobs.c[name]).where(jobs.c.id == job_id)).scalar()

    def indices(self, job_id: str) -> list[str | None]:
        """Read which GPUs the attempts of a job were given."""
        with self.control_plane.database.read() as connection:
            query = select(attempts.c.gpu_indices).where(attempts.c.job_id == job_id).order_by(attempts.c.attempt)
            return list(connection.execute(query).scalars())

    def slots(self) -> dict[tuple[str, str, int], str | None]:
        """Read who has what."""
        query = select(slots.c.supplier, slots.c.gpu, slots.c.index, slots.c.job_id)
        with self.control_plane.database.read() as connection:
            return {(name, gpu, index): job for name, gpu, index, job in connection.execute(query)}


def open_yard(database_url: str, suppliers: Iterable[SupplierEntry]) -> Yard:
    """Make a control plane with these suppliers."""
    clock = ManualClock()
    control_plane = ControlPlane(database_url, clock=clock, suppliers=entries.file_of(*suppliers))
    return Yard(control_plane, clock, Claims(control_plane.database, control_plane.catalogue))
