"""What one customer could have now: what is free, by the rule of who places jobs, and which suppliers are closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import select

from ..database.database import Database
from ..database.schema import jobs
from .capacity import Layout, free_in
from .heartbeats import unreachable_now
from .outages import outages_now
from .slots import Slots
from .supplier_eligibility import Program, SupplierEligibility, anothers

_RESERVED = select(jobs.c.gpu, jobs.c.reserves, jobs.c.gpu_count).where(
    jobs.c.passed_over_at.is_not(None), jobs.c.reserves.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Available:
    """How things stand for one customer.

    Attributes:
        free: how many GPUs a new job could have, by supplier and model; only where they are counted.
        outages: the suppliers that are out.
        unreachable: those that no worker reaches.
        anothers: those that belong to another customer.
    """

    free: Mapping[tuple[str, str], int]
    outages: frozenset[str] = frozenset()
    unreachable: frozenset[str] = frozenset()
    anothers: frozenset[str] = frozenset()

    @property
    def closed(self) -> frozenset[str]:
        """The suppliers that give a new job nothing now, whatever is free."""
        return self.outages | self.unreachable | self.anothers


class Availability:
    """Looks that up."""

    def __init__(self, database: Database, layout: Layout, eligibility: SupplierEligibility) -> None:
        self._database = database
        self._layout = layout
        self._eligibility = eligibility
        self._slots = Slots(database, layout)

    def now(self, customer_id: str, gpus: Collection[str], *, real_now: int) -> Available:
        """Say what a customer could have of these models; `real_now` is the real time, in Unix milliseconds."""
        counted = {model for _, model in self._layout.gpus}.intersection(gpus)
        with self._database.read() as connection:
            outages = frozenset(outages_now(connection))
            unreachable = unreachable_now(connection, real_now)
            of_others = anothers(self._eligibility.owners(connection), customer_id)
            rooms = self._slots.rooms(connection, counted) if counted else {}
            kept = {(row.reserves, row.gpu): row.gpu_count for row in connection.execute(_RESERVED)} if counted else {}
        free = {
            (supplier, gpu): free_in(room, pool, kept.get((pool, gpu), 0))
            for gpu, room in rooms.items()
            for supplier, pool in self._layout.pools.items()
            if pool in room.free
        }
        return Available(free, outages, unreachable, of_others)

    def unable(self, program: Program) -> frozenset[str]:
        """Return the suppliers that can never run a program, whoever's it is."""
        return frozenset(self._eligibility.unable(program))
