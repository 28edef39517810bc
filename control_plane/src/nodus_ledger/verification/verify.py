"""Verifies the whole ledger: every row, chain, head and tree, every checkpoint given out, and every sum.

It reads what is stored as it is stored, below SQLAlchemy's types, in one snapshot, and needs no secret. What it cannot
detect is a history that was rewritten as a whole, with a key of the forger's: only a client that kept a checkpoint can.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy.exc
from sqlalchemy import Connection

from nodus_core.notes import Checkpoint

from ..database.database import Database
from ..database.dialects import raw_rows
from ..errors import DatabaseUnavailable
from ..jobs.meter_events import identifier_of
from ..trust.origin import FIRST_ORIGIN, kept_origin, origin_of
from ..trust.signing import open_checkpoint, public_key
from . import billing, sums
from .billing import Billing, BillingTally, GapRow
from .labels import LABELS, IndexedLabels
from .logs import MAX_FAULTS_PER_LOG, Fault, LogWalk, Row, StoredState
from .sums import JobRow, KeyRow, MeterRow, Tally
from .times import TimeWalk

_CHUNK = 2000
_ROWS = f"SELECT {', '.join(Row._fields)} FROM ledger ORDER BY customer_id, seq"
_HEADS = "SELECT customer_id FROM ledger_heads"
_STATES = f"SELECT {', '.join(StoredState._fields)} FROM ledger_states ORDER BY customer_id, size"
_NODES = "SELECT customer_id, level, position, hash FROM ledger_nodes"
_CHECKPOINTS = "SELECT customer_id, size, root, note FROM ledger_checkpoints ORDER BY customer_id, size"


@dataclass
class Report:
    """What was verified.

    Attributes:
        rows: how many rows there are.
        roots: customer → size and root of each log that is there.
        checkpoints: how many checkpoints were held against the rows.
        faults: everything that is wrong; none for a sound ledger.
        remarks: rows whose times are not those of one clock. That makes no ledger unsound.
        billings: customer → what is billed of its live spend, with each difference. Nor do these.
    """

    rows: int = 0
    roots: dict[str, tuple[int, str]] = field(default_factory=dict)
    checkpoints: int = 0
    faults: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)
    billings: dict[str, Billing] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def verify(database: Database, *, now: int | None = None) -> Report:
    """Verify the ledger of a database, all customers' logs in it, and the tables that it accounts for.

    Rows that are ahead of `now`, in Unix milliseconds of the control plane's clock, are remarked on where it is given.
    """
    try:
        with database.snapshot() as connection:
            return _verify(connection, now)
    except (DatabaseUnavailable, sqlite3.DatabaseError, sqlalchemy.exc.DatabaseError) as exc:
        return Report(faults=[Fault("", None, f"the database cannot be read: {exc}")])


def _verify(connection: Connection, now: int | None) -> Report:
    try:
        return _Verification(connection, now).run()
    except sqlite3.OperationalError:
        # A changed byte may have made some text invalid UTF-8; reading that takes longer.
        with _whatever_it_holds(connection):
            return _Verification(connection, now).run()


class _Verification:
    def __init__(self, connection: Connection, now: int | None) -> None:
        self._connection = connection
        self._now = now
        self._report = Report()
        self._tally = Tally()
        self._billing = BillingTally()
        self._heads = {customer_id for (customer_id,) in self._rows(_HEADS)}
        self._states: defaultdict[str, list[StoredState]] = defaultdict(list)
        for state in map(StoredState._make, self._rows(_STATES)):
            self._states[state.customer_id].append(state)
        self._nodes: defaultdict[str, dict[tuple[Any, Any], Any]] = defaultdict(dict)
        for customer_id, level, position, root in self._rows(_NODES):
            self._nodes[customer_id][level, position] = root
        self._checkpoints: defaultdict[str, list[tuple[Any, Any, Any]]] = defaultdict(list)
        for customer_id, size, root, note in self._rows(_CHECKPOINTS):
            self._checkpoints[customer_id].append((size, root, note))
        self._public_key = public_key(connection)
        self._origin = kept_origin(connection) or FIRST_ORIGIN

    def run(self) -> Report:
        walk: LogWalk | None = None
        faults: list[Fault] = []
        times = TimeWalk()
        for row in map(Row._make, self._rows(_ROWS)):
            if walk is None or row.customer_id != walk.customer_id:
                self._finish(walk, faults)
                self._remark(walk, times)
                walk, faults, times = self._begin(row.customer_id), [], TimeWalk()
            times.step(row)
            payload, found = walk.step(row)
            if payload is not None:
                found.extend(self._tally.add(row, payload))
                if row.kind in billing.KINDS:
                    found.extend(self._named(row, payload))
            if found and len(faults) < MAX_FAULTS_PER_LOG:
                faults.extend(found)
        self._finish(walk, faults)
        self._remark(walk, times)
        for customer_id in {*self._heads, *self._states, *self._nodes, *self._checkpoints}:
            self._finish(self._begin(customer_id), [])
        self._report.faults.extend(self._sums())
        return self._report

    def _begin(self, customer_id: str) -> LogWalk:
        sizes = frozenset(size for size, _, _ in self._checkpoints.get(customer_id, ()) if type(size) is int)
        return LogWalk(customer_id, sizes)

    def _remark(self, walk: LogWalk | None, times: TimeWalk) -> None:
        if walk is None:
            return
        if self._now is not None:
            times.end(self._now)
        self._report.remarks.extend(Fault(walk.customer_id, seq, what) for seq, what in times.remarks)

    def _finish(self, walk: LogWalk | None, faults: list[Fault]) -> None:
        """Compare a log that was walked through with its head, its tree and its checkpoints."""
        if walk is None:
            return
        customer_id = walk.customer_id
        faults.extend(walk.compare_head(customer_id in self._heads, self._states.pop(customer_id, [])))
        self._heads.discard(customer_id)
        faults.extend(walk.compare_nodes(self._nodes.pop(customer_id, {})))
        for size, root, note in self._checkpoints.pop(customer_id, ()):
            self._report.checkpoints += 1
            fault = self._checkpoint_fault(walk, size, root, note)
            if fault is not None:
                faults.append(Fault(customer_id, None, f"the checkpoint of {size!r} rows {fault}"))
        self._report.rows += walk.size
        self._report.roots[customer_id] = (walk.size, walk.root().hex())
        self._report.faults.extend(faults)

    def _checkpoint_fault(self, walk: LogWalk, size: Any, root: Any, note: Any) -> str | None:
        if self._public_key is None:
            return "cannot be verified: the public key is missing or damaged"
        try:
            origin = origin_of(str(self._origin), walk.customer_id)
            signed = open_checkpoint(str(note), origin, self._public_key)
        except ValueError as exc:
            return f"does not verify: {exc}"
        if signed != Checkpoint(origin, size, root):
            return "is not what its note says"
        if walk.root_at(size) is None:
            return f"was given out, and there are {walk.size} rows"
        if walk.root_at(size) != root:
            return "was given out, and the rows are others now"
        return None

    def _sums(self) -> Iterator[Fault]:
        attempts = dict(self._rows(sums.ATTEMPTS))
        metered = {row.identifier: row for row in map(MeterRow._make, self._rows(sums.METER))}
        labels = IndexedLabels(self._rows(LABELS))
        for job in map(JobRow.read, self._rows(sums.JOBS)):
            yield from labels.compare_job(job)
            row = metered.pop(identifier_of(job.id), None)
            yield from self._tally.compare_job(job, attempts.get(job.id, 0), row)
            if row is not None:
                yield from self._billed(row)
        yield from labels.compare_rest()
        for row in metered.values():
            yield from self._billed(row)
            yield Fault(row.customer_id, None, f"the meter event {row.identifier} is of no settled job")
        owners = {}
        for key in map(KeyRow._make, self._rows(sums.KEYS)):
            owners[key.id] = key.customer_id
            yield from self._tally.compare_key(key)
        for key_id, month, realised in self._rows(sums.SPEND):
            yield from self._tally.compare_spend(key_id, month, realised, owners.get(key_id, ""))
        yield from self._tally.compare_rest()
        for gap in map(GapRow._make, self._rows(billing.GAPS)):
            yield from self._billing.gap(gap)
        yield from self._billing.rest()
        self._report.billings = self._billing.billings()

    def _named(self, row: Row, payload: str) -> list[Fault]:
        try:
            return list(self._billing.add(row, json.loads(payload)))
        except (AttributeError, KeyError, TypeError, ValueError):
            return [Fault(row.customer_id, row.seq, f"its payload is not that of {row.kind}")]

    def _billed(self, row: MeterRow) -> Iterator[Fault]:
        return self._billing.event(row.customer_id, row.identifier, row.state, row.value, is_live=bool(row.livemode))

    def _rows(self, query: str) -> Iterator[Any]:
        """Run a query; return its rows as the driver reads them, some thousands in memory at a time."""
        return raw_rows(self._connection, query, at_once=_CHUNK)


@contextmanager
def _whatever_it_holds(connection: Connection) -> Iterator[None]:
    """Also read text that is not UTF-8, inside the block: SQLite stores whatever it was given."""
    driver: Any = connection.connection.dbapi_connection
    before = driver.text_factory
    driver.text_factory = _decode
    try:
        yield
    finally:
        driver.text_factory = before


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
