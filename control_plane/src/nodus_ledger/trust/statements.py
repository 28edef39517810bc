"""Statements: the rows of a customer's log from the first to the last of a month, with the proof that these are all.

`at` says when something happened, which may be long before it is written: an engine that was out of reach tells late
how a job ended, and clocks are set. So rows of a month may stand among those of the next, no search by halves finds
the last of them, and every row's `at` is looked at, in pieces. That costs a second for about a million rows, once a
statement.

Rows never change, so a statement needs no snapshot: it is of the rows that its checkpoint covers, and reads them a page
at a time, each in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, func, select

from nodus_core.months import Month
from nodus_core.times import timestamp

from ..database.database import Database
from ..database.schema import IS_OPEN, attempts, jobs
from ..database.trust_schema import ledger
from .reader import SignedCheckpoint, TrustLedger
from .statement_lines import Span, Totals, header_line, leaf_lines, trailer_line
from .tree import DamagedTree, StoredTree

PAGE_ROWS = 1000
SEARCHED_ROWS = 20_000

WRITTEN_AFTER_MS = 60_000
"""How long after it happened something may still be written: clocks differ by seconds, and writers wait for locks."""

_IN_PIECE = and_(
    ledger.c.customer_id == bindparam("customer"), ledger.c.seq.between(bindparam("first"), bindparam("last"))
)
_SPAN = select(func.min(ledger.c.seq), func.max(ledger.c.seq)).where(
    _IN_PIECE, ledger.c.at >= bindparam("start"), ledger.c.at < bindparam("end")
)
_ROWS = select(ledger.c.at, ledger.c.kind, ledger.c.leaf).where(_IN_PIECE).order_by(ledger.c.seq)
# An attempt that nobody has heard of since then may have ended before.
_UNHEARD_OF = (
    select(jobs.c.seq)
    .join(attempts, and_(attempts.c.job_id == jobs.c.id, attempts.c.attempt == jobs.c.attempt))
    .where(
        jobs.c.customer_id == bindparam("customer"),
        IS_OPEN,
        func.coalesce(attempts.c.seen_at, attempts.c.placed_at) < bindparam("end"),
    )
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that is to be written: whose, of which month, and of the rows that this checkpoint covers.

    `is_final`: no row will come any more whose `at` lies in the month.
    """

    customer_id: str
    month: Month
    is_final: bool
    signed: SignedCheckpoint


class Statements:
    """Writes statements."""

    def __init__(self, database: Database, trust_ledger: TrustLedger) -> None:
        self._database = database
        self._trust_ledger = trust_ledger

    def begin(self, customer_id: str, month: Month, now: int) -> Statement:
        """Attest the customer's log as it is now, to write a statement of it."""
        # First this, then the checkpoint: what was written in between is in the statement, and no more will come.
        is_final = now >= month.end + WRITTEN_AFTER_MS and self._all_were_heard_of(customer_id, month)
        return Statement(customer_id, month, is_final, self._trust_ledger.checkpoint(customer_id))

    def written(self, statement: Statement) -> Iterator[bytes]:
        """Write a statement, in parts of whole lines. Each step blocks for a bounded time, and may yield nothing.

        Raises:
            DamagedTree: rows are missing that must be there.
        """
        size, month = statement.signed.checkpoint.size, statement.month
        span: Span | None = None
        for first in range(1, size + 1, SEARCHED_ROWS):
            found = self._found(statement, first, min(first + SEARCHED_ROWS - 1, size))
            if found is not None:
                span = found if span is None else Span(span.first, found.last)
            yield b""
        yield header_line(statement.signed.checkpoint.origin, statement.customer_id, month.name, span)
        totals = Totals()
        if span is not None:
            start, end = timestamp(month.start), timestamp(month.end)
            for first in range(span.first, span.last + 1, PAGE_ROWS):
                leaves = []
                for at, kind, leaf in self._rows(statement, first, min(first + PAGE_ROWS - 1, span.last)):
                    if start <= at < end:
                        totals.add(kind, leaf)
                    leaves.append(leaf)
                yield leaf_lines(leaves)
        proofs = None
        if span is not None:
            with self._database.read() as connection:
                tree = StoredTree(connection, statement.customer_id)
                proofs = tree.inclusion(span.first, size), tree.inclusion(span.last, size)
        yield trailer_line(
            statement.signed.checkpoint, statement.signed.note, proofs, totals, is_final=statement.is_final
        )

    def _all_were_heard_of(self, customer_id: str, month: Month) -> bool:
        with self._database.read() as connection:
            return connection.execute(_UNHEARD_OF, {"customer": customer_id, "end": month.end}).first() is None

    def _found(self, statement: Statement, first: int, last: int) -> Span | None:
        """Find the rows of the month in a piece of the log."""
        month = statement.month
        within = {"start": timestamp(month.start), "end": timestamp(month.end)}
        with self._database.read() as connection:
            asked = {"customer": statement.customer_id, "first": first, "last": last, **within}
            lowest, highest = connection.execute(_SPAN, asked).one()
        return None if lowest is None else Span(lowest, highest)

    def _rows(self, statement: Statement, first: int, last: int) -> list[tuple[str, str, str]]:
        asked = {"customer": statement.customer_id, "first": first, "last": last}
        with self._database.read() as connection:
            rows = [(at, kind, leaf) for at, kind, leaf in connection.execute(_ROWS, asked)]
        if len(rows) != last - first + 1:
            raise DamagedTree(f"the ledger of {statement.customer_id} lacks rows from {first} to {last}")
        return rows
