"""Several workers place and claim at once: nothing is given twice, and nobody is forgotten."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from patience import PATIENCE_SECONDS
from servers.engines import POSTGRESQL
from sqlalchemy import func, select
from yard import H100, Yard, open_yard, supplier

from nodus_core.lifecycle import JobStatus
from nodus_ledger.database.schema import attempts, jobs, slots
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.verification.verify import verify

WORKERS = 4
TOTAL = {"lab": 4, "rack": 8}


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Yard]:
    """Two suppliers with few GPUs."""
    opened = open_yard(database_url, [supplier(name, 1, {H100: gpus}) for name, gpus in TOTAL.items()])
    yield opened
    opened.control_plane.close()


class InUse:
    """Which GPUs the attempts have that were claimed and are not yet known to be over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], str] = {}
        self.most: Counter[str] = Counter()
        self.given_twice: list[tuple[str, str]] = []

    def begin(self, claim: Claim, indices: list[str]) -> None:
        """Note what an attempt has been given."""
        with self._lock:
            for index in indices:
                place = (claim.attempt.supplier, index)
                if place in self._held:
                    self.given_twice.append(place)
                self._held[place] = claim.job.id
            for name, count in Counter(name for name, _ in self._held).items():
                self.most[name] = max(self.most[name], count)

    def end(self, claim: Claim) -> None:
        """Note that it is about to give it back."""
        with self._lock:
            self._held = {place: job for place, job in self._held.items() if job != claim.job.id}


def work(yard: Yard, name: str, in_use: InUse, deadline: float) -> None:
    """Claim, and end what was claimed, until all jobs are over. One attempt in seven is lost."""
    claims = Claims(yard.control_plane.database, yard.control_plane.catalogue)
    held: list[Claim] = []
    while time.monotonic() < deadline:
        now = yard.clock.now()
        _, found = claims.claim(name, now=now, real_now=now, lease_ms=10**9, limit=3)
        for claim in found:
            in_use.begin(claim, (claim.attempt.gpu_indices or "").split(","))
        held += found
        if not held and are_over(yard):
            return
        for claim in held[:2]:
            in_use.end(claim)
            is_lost = (claim.job.seq + claim.attempt.attempt) % 7 == 0
            end(yard, claims, name, claim, "lost" if is_lost else "completed")
        held = held[2:]


def end(yard: Yard, claims: Claims, owner: str, claim: Claim, outcome: str) -> None:
    """Write how an attempt ended."""
    replace(yard, claims=claims).end(claim, outcome=outcome, owner=owner)


def are_over(yard: Yard) -> bool:
    """Say whether every job is."""
    with yard.control_plane.database.read() as connection:
        return connection.execute(select(func.count()).where(jobs.c.finished_at.is_(None))).scalar() == 0


@pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
def test_many_workers_give_no_gpu_twice_and_place_every_job(yard: Yard) -> None:
    """Of three customers, of one to eight GPUs, while some are cancelled; the ledger adds up in the end."""
    made = [(f"customer {number % 3}", number % 8 + 1 if number % 5 == 0 else 1) for number in range(60)]
    submitted = [(customer, yard.submit(customer, gpus)) for customer, gpus in made]
    in_use = InUse()
    deadline = time.monotonic() + PATIENCE_SECONDS
    threads = [
        threading.Thread(target=work, args=(yard, f"worker {number}", in_use, deadline)) for number in range(WORKERS)
    ]
    for thread in threads:
        thread.start()
    for customer, job_id in submitted[::10]:
        yard.control_plane.jobs.request_cancel(yard.key(customer), job_id, yard.clock.now())
    for thread in threads:
        thread.join()

    statuses = Counter(yard.job(job_id, customer).status for customer, job_id in submitted)
    with yard.control_plane.database.read() as connection:
        taken = connection.execute(select(func.count()).where(slots.c.job_id.is_not(None))).scalar()
        open_attempts = connection.execute(select(func.count()).where(attempts.c.outcome.is_(None))).scalar()
    assert set(statuses) <= {JobStatus.COMPLETED.value, JobStatus.CANCELLED.value}, statuses
    assert statuses[JobStatus.COMPLETED.value] >= 54
    assert in_use.given_twice == []
    assert all(in_use.most[name] <= total for name, total in TOTAL.items())
    assert (taken, open_attempts) == (0, 0)
    assert verify(yard.control_plane.database).is_sound
