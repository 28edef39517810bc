"""How far every customer's log has got, and whether one that was seen before is still the beginning of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from ..database.database import Database
from ..database.settings import begin_incarnation
from ..database.trust_schema import states
from .log import OPERATOR, Head, append, head_of
from .origin import FIRST_ORIGIN, kept_origin, origin_of
from .tree import DamagedTree, StoredTree

ROLLBACK_ACCEPTED = "operator.rollback_accepted"
_MOST_NAMED = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """A log as it was seen: so many rows under this root."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class WentBack:
    """A log that no longer contains what was seen of it; `present` is 0 where there is none at all."""

    customer_id: str
    seen: int
    present: int

    def __str__(self) -> str:
        if self.present < self.seen:
            return f"the ledger of {self.customer_id} went back from {self.seen} to {self.present} rows"
        return f"the ledger of {self.customer_id} has other rows than before among its first {self.seen}"


class LedgerSizes:
    """The logs of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[str, Seen]:
        """Return every log as it is now, by customer."""
        query = select(states.c.customer_id, states.c.size, states.c.last_hash, states.c.subtrees)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return {row[0]: Seen(row[1], Head(*row[1:]).tree().root()) for row in found if row[1]}

    def went_back(self, seen: Mapping[str, Seen], present: Mapping[str, Seen]) -> list[WentBack]:
        """Find the logs, by customer, that do not begin with what was seen of them."""
        return [
            WentBack(customer_id, before.size, now.size)
            for customer_id, before in sorted(seen.items())
            if not self._continues(customer_id, before, now := present.get(customer_id, Seen(0, b"")))
        ]

    def accept(self, gone: Iterable[WentBack], at: int) -> None:
        """Record in the operator's own log that these were accepted as they are now; the database begins a new life."""
        listed = list(gone)
        with self._database.write() as connection:
            origin = kept_origin(connection) or FIRST_ORIGIN
            ledgers = [
                {"origin": origin_of(origin, each.customer_id), "seen_size": each.seen, "present_size": each.present}
                for each in listed[:_MOST_NAMED]
            ]
            payload = {"ledgers": ledgers, "count": len(listed)}
            append(connection, OPERATOR, kind=ROLLBACK_ACCEPTED, at=at, payload=payload)
            begin_incarnation(connection)

    def _continues(self, customer_id: str, before: Seen, now: Seen) -> bool:
        if now.size <= before.size:
            return now == before
        with self._database.read() as connection:
            if head_of(connection, customer_id).size < before.size:
                return False
            try:
                return StoredTree(connection, customer_id).root(before.size) == before.root
            except DamagedTree:
                return False
