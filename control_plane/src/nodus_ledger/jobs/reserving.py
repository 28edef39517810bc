"""What placements take of their keys' months, or give back: the difference to what is reserved for the job already.

A placement that needs what is reserved touches no key. Any other locks its key's row before it takes a slot, and
decides with what that says. Whoever changes several keys in one transaction locks them all at once, by id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, update

from nodus_core.routing import Decision, least_needed, least_over_budget
from nodus_core.shown_money import dollars

from ..database.rows import JobRecord
from ..database.schema import jobs
from ..errors import BudgetFigures
from ..keys import budget_events, budgets
from ..keys.keys import read_key
from ..keys.waiting_jobs import WAITING_FOR_BUDGET
from ..trust import job_entries
from ..trust.log import Entry
from ..webhooks import outbox, payloads

_WAIT = (
    update(jobs)
    .where(jobs.c.seq == bindparam("of_seq"))
    .values(
        reserved=0,
        reserved_at=bindparam("at"),
        estimated=bindparam("to_estimated"),
        budget_needs=bindparam("needs"),
        waiting_since=None,
        waiting_in=None,
        passed_over_at=None,
        reserves=None,
        lease_owner=None,
        lease_until=None,
        phase=WAITING_FOR_BUDGET,
        phase_detail=bindparam("detail"),
        due_at=bindparam("again_at"),
    )
)


class Months:
    """The months of the keys whose rows one transaction has locked, as it changes them.

    Attributes:
        released: the keys of which less is in flight than before.
    """

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._figures: dict[str, BudgetFigures] = {}
        self._grown: dict[str, str] = {}
        self._waiting: list[dict[str, Any]] = []
        self._told: list[outbox.WebhookEvent] = []
        self._entries: list[Entry] = []
        self.released: set[str] = set()

    def lock(self, key_ids: Iterable[str]) -> None:
        """Lock the rows of keys, in the order of their ids."""
        for key_id in sorted(set(key_ids) - self._figures.keys()):
            self._figures[key_id] = budgets.figures(self._connection, key_id, self._now, lock=True)

    def is_anothers(self, key_id: str) -> bool:
        """Say whether other keys are locked than this one."""
        return bool(self._figures) and key_id not in self._figures

    def within(self, job: JobRecord, decision: Decision, again: Callable[[int], Decision]) -> Decision:
        """Return a decision that the budget allows, of a job whose key is locked where its reservation changes.

        `again` decides with so much headroom.
        """
        headroom = self._headroom(job)
        if needed(decision) <= job.reserved or headroom is None or needed(decision) <= headroom:
            return decision
        return again(headroom)

    def change(self, job: JobRecord, reserved: int) -> None:
        """Reserve another amount for a job than is reserved now."""
        amount = reserved - job.reserved
        if amount == 0:
            return
        present = self._figures[job.key_id]
        budgets.change(self._connection, job.key_id, amount)
        self._figures[job.key_id] = replace(present, in_flight=present.in_flight + amount)
        if amount > 0:
            self._grown[job.key_id] = job.id
        else:
            self.released.add(job.key_id)

    def have_wait(self, job: JobRecord, decision: Decision) -> None:
        """Have a job wait for budget, which holds none meanwhile. Its key is locked."""
        month = self._figures[job.key_id]
        needs = least_needed(decision)
        now_needs = least_over_budget(decision)
        assert needs is not None  # what is over budget is possible
        assert now_needs is not None
        again_at = month.resets_at if job.queue_deadline is None else min(month.resets_at, job.queue_deadline)
        if needs > (month.cap or 0):
            again_at = self._now  # it will be found to need more than there ever is
        self._waiting.append(
            {
                "of_seq": job.seq,
                "at": self._now,
                "to_estimated": job.estimate,
                "needs": needs,
                "detail": f"It needs at least {dollars(now_needs)} of its key's month, and less is left: it goes on "
                "when other jobs of the key end, its cap is raised, or the next month begins.",
                "again_at": again_at,
            }
        )
        if job.reserved:
            self.change(job, 0)
            self._entries.append(job_entries.reserved(job, 0, self._now))
        if job.budget_needs is None:
            self._told.append(payloads.waits_for_budget(job, month, now_needs, self._now))

    @property
    def waiting(self) -> int:
        """How many jobs have begun to wait, or wait on."""
        return len(self._waiting)

    def write(self, default_fraction: float) -> list[Entry]:
        """Write which jobs wait, and tell what is to be told; return entries of the ledger that are to be written."""
        connection = self._connection
        if self._waiting:
            connection.execute(_WAIT, self._waiting)
        entries = list(self._entries)
        for key_id, job_id in sorted(self._grown.items()):
            month = self._figures[key_id]
            if month.cap is not None:
                key = read_key(connection, key_id)
                entries += budget_events.crossed(connection, key, month, job_id, default_fraction, self._now)
        outbox.publish(connection, self._told)
        return entries

    def _headroom(self, job: JobRecord) -> int | None:
        """Return the most that can be reserved for a job, what is reserved already included; None for any amount.

        What it has it may keep, also where a cap has been lowered since.
        """
        month = self._figures.get(job.key_id)
        if month is None or month.cap is None:
            return None
        return max(month.cap - month.month_to_date + job.reserved, job.reserved)


def needed(decision: Decision) -> int:
    """Return what is reserved for a job where it was decided that it goes, in micro-USD."""
    assert decision.chosen is not None
    return decision.requirements.reservation(decision.chosen)
