"""Adding everything up again: what the ledger says of jobs, keys and money, against what the other tables say.

Pure, but for the queries' text: rows go in, faults come out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nodus_core.money import cost_micros
from nodus_core.spec import STORED, columns_of
from nodus_core.times import timestamp
from nodus_core.usage import day_of

from ..jobs.meter_events import EVENT_NAME, payload_of
from ..trust import job_entries, key_entries
from .logs import Fault, Row


class JobRow(NamedTuple):
    """What the jobs' table says of a job; `spec` are the columns of what was submitted."""

    spec: tuple[Any, ...]
    seq: int
    id: str
    customer_id: str
    key_id: str
    principal_kind: str
    gpu: str
    created_at: int
    reserved: int
    reserved_rate: int
    reserved_at: int | None
    simulated: bool | None
    status: str
    events: int
    supplier: str | None
    region: str | None
    rate: int | None
    finished_at: int | None
    finished_day: int | None
    error_code: str | None
    duration_ms: int | None
    cost: int | None
    retail: int | None
    ledger_seq: int | None
    ledger_hash: bytes | None

    @classmethod
    def read(cls, row: Sequence[Any]) -> JobRow:
        """Take a row of `JOBS`."""
        return cls(tuple(row[: len(STORED)]), *row[len(STORED) :])


class KeyRow(NamedTuple):
    """What the tables of keys and of their reservations say of a key."""

    id: str
    customer_id: str
    principal_kind: str
    label: str
    is_test: bool
    signing_required: bool
    monthly_cap: int | None
    in_flight: int | None
    revoked_at: int | None


class MeterRow(NamedTuple):
    """What a meter event says."""

    identifier: str
    customer_id: str
    event_name: str
    timestamp: int
    livemode: bool
    payload: str
    value: int
    state: str


JOBS = f"SELECT {', '.join((*STORED, *JobRow._fields[1:]))} FROM jobs ORDER BY seq"
KEYS = f"SELECT {', '.join(KeyRow._fields)} FROM api_keys LEFT JOIN reservations ON key_id = id ORDER BY id, changes"
ATTEMPTS = "SELECT job_id, COUNT(*) FROM attempts WHERE supplier <> '' GROUP BY job_id"
SPEND = "SELECT key_id, month, realised FROM monthly_spend ORDER BY key_id, month"
_DECODER = json.JSONDecoder()
METER = f"SELECT {', '.join(MeterRow._fields)} FROM meter_events ORDER BY identifier"


@dataclass(slots=True)
class _Job:
    """What the ledger says of a job."""

    customer_id: str
    spec: tuple[Any, ...] | None = None
    settlement: tuple[Any, ...] | None = None
    status: str | None = None
    transitions: int = 0
    attempts: int = 0
    terminal: tuple[int, bytes] | None = None
    livemodes: tuple[object, ...] = ()
    reserved: int = 0
    reserved_at: str = ""
    limit_ms: int | None = None


@dataclass(slots=True)
class _Key:
    """What the ledger says of a key."""

    owner: tuple[str, str | None]
    label: object = None
    cap: object = None
    is_test: object = None
    signing_required: object = None
    is_revoked: bool = False


@dataclass
class Tally:
    """Takes the rows of all logs, then holds the other tables against them."""

    _jobs: dict[str, _Job] = field(default_factory=dict)
    _keys: dict[str, _Key] = field(default_factory=dict)
    _spend: Counter[tuple[str, str]] = field(default_factory=Counter)
    _in_flight: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, payload: str) -> Iterator[Fault]:
        """Take in a row that is sound; `payload` is the text of what it records."""
        take = _TAKERS.get(row.kind)
        if take is None:
            return
        try:
            recorded, end = _DECODER.raw_decode(payload)
            if end != len(payload):
                raise ValueError("more than one JSON value")
            yield from take(self, row, recorded)
        except (AttributeError, KeyError, TypeError, ValueError):
            yield Fault(row.customer_id, row.seq, f"its payload is not that of {row.kind}")

    def compare_job(self, job: JobRow, attempts: int, metered: MeterRow | None) -> Iterator[Fault]:
        """Hold a job's row against the ledger; `attempts` are those on record, `metered` is its meter event."""
        said = self._jobs.pop(job.id, None)
        if said is None:
            yield Fault(job.customer_id, None, f"job {job.id} is not in the ledger")
            return
        for what in _job_faults(job, said, attempts, metered):
            yield Fault(job.customer_id, None, f"job {job.id}: {what}")

    def compare_key(self, key: KeyRow) -> Iterator[Fault]:
        """Hold a key's row against the ledger."""
        said = self._keys.pop(key.id, None)
        if said is None:
            yield Fault(key.customer_id, None, f"key {key.id} is not in the ledger")
            return
        reserved = self._in_flight.pop(key.id, 0)
        checks = (
            ("its owner is", said.owner == (key.customer_id, key.principal_kind)),
            ("its label is", said.label == key.label),
            ("its monthly cap is", said.cap == key.monthly_cap),
            ("whether it is a test key is", said.is_test == key.is_test),
            ("whether it must sign is", said.signing_required == key.signing_required),
            ("whether it is revoked is", said.is_revoked == (key.revoked_at is not None)),
        )
        for what, holds in checks:
            if not holds:
                yield Fault(key.customer_id, None, f"key {key.id}: {what} not what the ledger says")
        if reserved != key.in_flight:
            what = f"{key.in_flight!r} micro-USD are in flight, and the ledger's open reservations are {reserved}"
            yield Fault(key.customer_id, None, f"key {key.id}: {what}")

    def compare_spend(self, key_id: str, month: str, realised: object, customer_id: str) -> Iterator[Fault]:
        """Hold a key's realised spend of a month against the ledger's settlements."""
        settled = self._spend.pop((key_id, month), 0)
        if settled != realised:
            what = f"{realised!r} micro-USD are realised, and the ledger's settlements are {settled}"
            yield Fault(customer_id, None, f"key {key_id} in {month}: {what}")

    def compare_rest(self) -> Iterator[Fault]:
        """Say what is in the ledger alone, once all else was compared."""
        for job_id, job in self._jobs.items():
            yield Fault(job.customer_id, None, f"job {job_id} is in the ledger alone")
        for key_id, key in self._keys.items():
            yield Fault(key.owner[0], None, f"key {key_id} is in the ledger alone")
        for (key_id, month), settled in self._spend.items():
            if settled:
                what = f"the ledger's settlements of {settled} micro-USD are not in its realised spend"
                yield Fault("", None, f"key {key_id} in {month}: {what}")

    def _submitted(self, row: Row, recorded: dict[str, Any]) -> Iterator[Fault]:
        job = self._job(row)
        if job.spec is not None:
            yield Fault(row.customer_id, row.seq, f"job {row.job_id} is submitted twice")
            return
        job.spec = (
            row.customer_id,
            row.key_id,
            row.principal_kind,
            columns_of(recorded),
            row.at,
            recorded["reserved_micros_per_gpu_hour"],
            recorded.get("simulated"),
        )
        job.reserved, job.reserved_at = recorded["reserved_micros"], row.at
        job.status = recorded["status"]
        job.transitions = 1
        self._in_flight[str(row.key_id)] += recorded["reserved_micros"]

    def _transition(self, row: Row, recorded: dict[str, Any]) -> Iterator[Fault]:
        job = self._job(row)
        job.transitions += 1
        if recorded["number"] != job.transitions:
            yield Fault(row.customer_id, row.seq, f"transition {job.transitions} of job {row.job_id} is missing")
            job.transitions = recorded["number"]
        job.status = recorded["status"]
        job.terminal = (row.seq, row.leaf_hash)

    def _attempted(self, row: Row, recorded: dict[str, Any]) -> Iterator[Fault]:
        job = self._job(row)
        job.attempts += 1
        job.limit_ms = recorded.get("limit_ms")
        if "reserved_micros" in recorded:  # it stayed what it was, before it could change
            yield from self._reserved(row, recorded)

    def _reserved(self, row: Row, recorded: dict[str, Any]) -> Iterator[Fault]:
        """Take in what is reserved for a job from now on."""
        job = self._job(row)
        if job.settlement is not None:
            yield Fault(row.customer_id, row.seq, f"something is reserved for job {row.job_id}, which is settled")
        self._in_flight[str(row.key_id)] += recorded["reserved_micros"] - job.reserved
        job.reserved, job.reserved_at = recorded["reserved_micros"], row.at

    def _settled(self, row: Row, recorded: dict[str, Any]) -> Iterator[Fault]:
        job = self._job(row)
        if job.settlement is not None:
            yield Fault(row.customer_id, row.seq, f"job {row.job_id} is settled twice")
            return
        cost = recorded["cost_micros"]
        job.settlement = (
            recorded["status"],
            recorded["error_code"],
            recorded["supplier"],
            recorded["region"],
            recorded["micros_per_gpu_hour"],
            recorded["duration_ms"],
            cost,
            recorded["retail_micros"],
            row.at,
        )
        if cost != cost_micros(recorded["micros_per_gpu_hour"] or 0, recorded["gpu_count"], recorded["duration_ms"]):
            yield Fault(row.customer_id, row.seq, "its cost is not rate × GPUs × time")
        if cost > recorded["released_micros"]:
            yield Fault(row.customer_id, row.seq, "its cost is above what was reserved")
        if recorded["released_micros"] != job.reserved:
            yield Fault(row.customer_id, row.seq, "what it releases is not what was reserved last")
        if job.limit_ms is not None and recorded["duration_ms"] > job.limit_ms:
            yield Fault(row.customer_id, row.seq, "it ran for longer than its limit")
        if "simulated" in recorded:
            job.livemodes = (not recorded["simulated"],)
        elif (key := self._keys.get(str(row.key_id))) is not None:
            # Before that was recorded, the key decided; what was still to be sent has been made a test since.
            job.livemodes = (not key.is_test, False)
        self._in_flight[str(row.key_id)] -= recorded["released_micros"]
        self._spend[str(row.key_id), max(row.at, job.reserved_at)[:7]] += cost

    def _key_event(self, row: Row, recorded: dict[str, Any]) -> Iterator[Fault]:
        key_id = str(row.key_id)
        if row.kind in (key_entries.MINTED, key_entries.REPLACED):
            owner = (row.customer_id, row.principal_kind)
            self._keys[key_id] = _Key(
                owner,
                recorded["label"],
                recorded["monthly_cap_micros"],
                recorded["is_test"],
                recorded["signing_required"],
            )
            return
        key = self._keys.get(key_id)
        if key is None:
            yield Fault(row.customer_id, row.seq, f"key {key_id} was never minted")
        elif row.kind == key_entries.REVOKED:
            key.is_revoked = True
        else:
            key.cap = recorded["monthly_cap_micros"]

    def _job(self, row: Row) -> _Job:
        job_id = str(row.job_id)
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = _Job(row.customer_id)
        return job


_TAKERS = {
    job_entries.SUBMITTED: Tally._submitted,
    job_entries.TRANSITION: Tally._transition,
    job_entries.ATTEMPTED: Tally._attempted,
    job_entries.RESERVED: Tally._reserved,
    job_entries.SETTLED: Tally._settled,
    key_entries.MINTED: Tally._key_event,
    key_entries.REPLACED: Tally._key_event,
    key_entries.REVOKED: Tally._key_event,
    key_entries.CAP_SET: Tally._key_event,
}


def _job_faults(job: JobRow, said: _Job, attempts: int, metered: MeterRow | None) -> Iterator[str]:
    if said.spec != (
        job.customer_id,
        job.key_id,
        job.principal_kind,
        job.spec,
        _time(job.created_at),
        job.reserved_rate,
        job.simulated,
    ):
        yield "it is not what the ledger says was submitted"
    if said.reserved != job.reserved:
        yield f"{job.reserved!r} micro-USD are reserved for it, in the ledger {said.reserved}"
    if (said.status, said.transitions) != (job.status, job.events):
        yield f"it is {job.status!r} after {job.events!r} transitions, in the ledger {said.status!r} after " + str(
            said.transitions
        )
    day = day_of(job.finished_at) if type(job.finished_at) is int else None
    if job.finished_day != day:
        yield f"usage counts it on day {job.finished_day!r} since 1970, and it ended on {day!r}"
    if said.attempts != attempts:
        yield f"it has {attempts} placement attempts, in the ledger {said.attempts}"
    if said.settlement is None:
        if job.finished_at is not None or job.cost is not None:
            yield "it is over, and the ledger has no settlement"
        return
    if said.settlement != (
        job.status,
        job.error_code,
        job.supplier,
        job.region,
        job.rate,
        job.duration_ms,
        job.cost,
        job.retail,
        _time(job.finished_at),
    ):
        yield "it is not what the ledger says was settled"
    if said.terminal != (job.ledger_seq, job.ledger_hash):
        yield "it does not point to its terminal row in the ledger"
    if metered is None:
        yield "it has no meter event"
    elif metered.livemode not in said.livemodes or metered[1:] != (
        said.customer_id,
        EVENT_NAME,
        job.finished_at // 1000 if type(job.finished_at) is int else None,
        metered.livemode,
        payload_of(job, said.settlement[6]),
        said.settlement[6],
        metered.state,
    ):
        yield "its meter event is not what the ledger says was settled"


def _time(milliseconds: object) -> str | None:
    if type(milliseconds) is not int:
        return None
    try:
        return timestamp(milliseconds)
    except (OverflowError, ValueError, OSError):
        return None
