"""Waking jobs that wait for their key's budget: the oldest first, as far as the headroom goes.

They are woken after the transaction that made room has committed, in one of its own, which locks jobs and no key. So a
job that is about to wait is found: whoever makes room waits for the key's row, which its transaction holds. A woken
job is due, and takes whole what it needs at its placement, or waits again.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, or_, select, update

from ..database.database import Database
from ..database.schema import jobs
from . import budgets

AT_ONCE = 64
"""How many are woken together; those behind them are woken by what these do, or by the next sweep."""

_WAITING = (jobs.c.budget_needs.is_not(None), jobs.c.phase == bindparam("of_phase"))
_KEYS = select(jobs.c.key_id).where(*_WAITING).distinct()
_KEYS_AMONG = _KEYS.where(jobs.c.key_id.in_(bindparam("keys", expanding=True)))
_OLDEST = (
    select(jobs.c.seq, jobs.c.budget_needs)
    .where(*_WAITING, jobs.c.key_id == bindparam("of_key"))
    .order_by(jobs.c.created_at, jobs.c.seq)
    .limit(AT_ONCE)
)
_OLDEST_THAT_FIT = _OLDEST.where(
    or_(jobs.c.budget_needs <= bindparam("headroom"), jobs.c.budget_needs > bindparam("cap"))
)
_DETAILS_OF_KEY = (
    select(jobs.c.id, jobs.c.phase_detail)
    .where(*_WAITING, jobs.c.key_id == bindparam("of_key"))
    .order_by(jobs.c.created_at, jobs.c.seq)
    .limit(AT_ONCE)
)
_LOCK = (
    select(jobs.c.seq)
    .where(*_WAITING, jobs.c.seq.in_(bindparam("seqs", expanding=True)))
    .order_by(jobs.c.seq)
    .with_for_update()
)
_WAKE = (
    update(jobs)
    .where(jobs.c.seq.in_(bindparam("seqs", expanding=True)))
    .values(due_at=bindparam("now"), phase=None, phase_detail=None)
)

WAITING_FOR_BUDGET = "waiting_for_budget"
"""The phase of a queued job that could go somewhere if its key's month had room for the price."""


def of_key(database: Database, key_id: str) -> list[tuple[str, str]]:
    """Return the ids of a key's jobs that wait, the oldest first, each with what it needs, in words.

    They are `AT_ONCE` at most.
    """
    with database.read() as connection:
        found = connection.execute(_DETAILS_OF_KEY, {"of_phase": WAITING_FOR_BUDGET, "of_key": key_id})
        return [(job_id, detail or "") for job_id, detail in found]


def wake(database: Database, now: int, key_ids: Collection[str] | None = None) -> int:
    """Wake jobs of keys, or of all; return how many. One that needs more than the whole cap is woken too, to fail."""
    if key_ids is not None and not key_ids:
        return 0
    with database.read() as connection:
        phase = {"of_phase": WAITING_FOR_BUDGET}
        if key_ids is None:
            found = connection.execute(_KEYS, phase).scalars().all()
        else:
            found = connection.execute(_KEYS_AMONG, {**phase, "keys": sorted(key_ids)}).scalars().all()
    woken = 0
    for key_id in sorted(found):
        with database.write() as connection:
            woken += _wake(connection, key_id, now)
    return woken


def _wake(connection: Connection, key_id: str, now: int) -> int:
    month = budgets.figures(connection, key_id, now)
    of_key = {"of_phase": WAITING_FOR_BUDGET, "of_key": key_id}
    headroom = month.headroom
    if headroom is None:
        seqs = list(connection.execute(_OLDEST, of_key).scalars())
    else:
        seqs = []
        for seq, needs in connection.execute(_OLDEST_THAT_FIT, {**of_key, "headroom": headroom, "cap": month.cap}):
            if needs <= headroom:
                headroom -= needs
            elif needs <= (month.cap or 0):
                continue
            seqs.append(seq)
    if not seqs:
        return 0
    waiting = connection.execute(_LOCK, {"of_phase": WAITING_FOR_BUDGET, "seqs": seqs}).scalars().all()
    if waiting:
        connection.execute(_WAKE, {"seqs": waiting, "now": now})
    return len(waiting)
