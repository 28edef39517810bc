"""The rows of what there is: laid out from what suppliers have, taken by placements, freed by confirmed ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, and_, bindparam, delete, exists, func, insert, select, update

from ..database.database import Database
from ..database.schema import IS_OPEN, attempts, jobs, slots
from .capacity import PLACES, Layout, Room, Share

_KEY = and_(
    slots.c.supplier == bindparam("of_supplier"), slots.c.gpu == bindparam("of_gpu"), slots.c.index == bindparam("at")
)
_FREE = (
    select(slots.c.index)
    .where(
        slots.c.supplier == bindparam("of_supplier"),
        slots.c.gpu == bindparam("of_gpu"),
        slots.c.job_id.is_(None),
        slots.c.retired.is_(False),
    )
    .order_by(slots.c.index)
    .limit(bindparam("count", type_=Integer()))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(slots)
    .where(_KEY)
    .values(job_id=bindparam("to_job"), attempt=bindparam("to_attempt"), customer_id=bindparam("to_customer"))
)
# Not by its place alone: since it was read, somebody else may have freed it and given it to another job.
_FREE_EACH = (
    update(slots)
    .where(_KEY, slots.c.job_id == bindparam("of_job"), slots.c.attempt == bindparam("of_attempt"))
    .values(job_id=None, attempt=None, customer_id=None)
)
_RETIRE = update(slots).where(_KEY).values(retired=True)
_BRING_BACK = update(slots).where(_KEY).values(retired=False)
_REMOVE = delete(slots).where(_KEY, slots.c.job_id.is_(None))
HOW_MANY_FREE = (
    select(slots.c.gpu, slots.c.supplier, func.count().label("free"))
    .where(slots.c.gpu.in_(bindparam("gpus", expanding=True)), slots.c.job_id.is_(None), slots.c.retired.is_(False))
    .group_by(slots.c.gpu, slots.c.supplier)
)
_HELD = (
    select(slots.c.customer_id, slots.c.supplier, func.count().label("held"))
    .where(slots.c.gpu == bindparam("of_gpu"), slots.c.job_id.is_not(None))
    .group_by(slots.c.customer_id, slots.c.supplier)
)
_ROWS = select(
    slots.c.supplier, slots.c.gpu, slots.c.index.label("at"), slots.c.job_id, slots.c.attempt, slots.c.retired
)
_OF_JOBS = _ROWS.where(slots.c.job_id.in_(bindparam("job_ids", expanding=True))).order_by(
    slots.c.supplier, slots.c.gpu, slots.c.index
)
_HELD_BY_ENDED = (
    select(slots.c.job_id, slots.c.attempt)
    .distinct()
    .join(attempts, and_(attempts.c.job_id == slots.c.job_id, attempts.c.attempt == slots.c.attempt))
    .where(attempts.c.outcome.is_not(None), attempts.c.supplier.in_(bindparam("suppliers", expanding=True)))
)
WITHOUT_SLOTS = (
    select(jobs.c.id, jobs.c.customer_id, jobs.c.gpu, jobs.c.gpu_count, attempts.c.attempt, attempts.c.supplier)
    .join(attempts, and_(attempts.c.job_id == jobs.c.id, attempts.c.attempt == jobs.c.attempt))
    .where(
        IS_OPEN,
        attempts.c.outcome.is_(None),
        attempts.c.supplier.in_(bindparam("suppliers", expanding=True)),
        ~exists().where(slots.c.job_id == jobs.c.id, slots.c.attempt == jobs.c.attempt),
    )
    .order_by(jobs.c.seq)
)
# The rows of the jobs alone: nobody else ends one of them before it has its slots.
_LOCKED_WITHOUT_SLOTS = WITHOUT_SLOTS.with_for_update(of=jobs)


class Slots:
    """What there is, as rows."""

    def __init__(self, database: Database, layout: Layout) -> None:
        self._database = database
        self._layout = layout

    def lay_out(self, may_place: Callable[[Connection], bool] = lambda _: True) -> None:
        """Bring the rows to what there is. One that there is no more, and that an attempt has, goes once it is free.

        Nothing is changed where `may_place` says that other suppliers are the accepted ones by now.

        An attempt that is open where nothing was counted before takes what it uses, as far as there is enough.
        """
        with self._database.read() as connection:
            present = {(row.supplier, row.gpu, row.at): row for row in connection.execute(_ROWS)}
            is_right = set(present) == set(self._layout.slots()) and not any(row.retired for row in present.values())
            if is_right and not self._unrecorded(connection, WITHOUT_SLOTS):
                return
        with self._database.write() as connection:
            if not may_place(connection):
                return
            self._database.lock_name(connection, "slots")
            # Jobs before slots: see the order of locks.
            unrecorded = self._unrecorded(connection, _LOCKED_WITHOUT_SLOTS)
            self._correct(connection)
            for row in unrecorded:
                self._take_what_there_is(connection, row)

    def _correct(self, connection: Connection) -> None:
        query = _ROWS.order_by(slots.c.supplier, slots.c.gpu, slots.c.index).with_for_update()
        present = {(row.supplier, row.gpu, row.at): row for row in connection.execute(query)}
        wanted = set(self._layout.slots())
        new = [
            {"supplier": supplier, "gpu": gpu, "index": index}
            for supplier, gpu, index in sorted(wanted - present.keys())
        ]
        surplus = sorted(present.keys() - wanted)
        for statement, rows in (
            (insert(slots), new),
            (_BRING_BACK, [_key(*key) for key in sorted(wanted & present.keys()) if present[key].retired]),
            (_RETIRE, [_key(*key) for key in surplus if present[key].job_id is not None]),
            (_REMOVE, [_key(*key) for key in surplus if present[key].job_id is None]),
        ):
            if rows:
                connection.execute(statement, rows)

    def _unrecorded(self, connection: Connection, query: Any) -> Sequence[Any]:
        suppliers = sorted(self._layout.pools)
        return connection.execute(query, {"suppliers": suppliers}).all() if suppliers else []

    def _take_what_there_is(self, connection: Connection, row: Any) -> None:
        pool = self._layout.pools[row.supplier]
        wanted = {row.gpu: row.gpu_count} if (pool, row.gpu) in self._layout.gpus else {}
        if pool in self._layout.places:
            wanted[PLACES] = 1
        for gpu, count in wanted.items():
            found = connection.execute(_FREE, {"of_supplier": pool, "of_gpu": gpu, "count": count}).scalars().all()
            _take(connection, pool, gpu, found, row.customer_id, row.id, row.attempt)

    def room(self, connection: Connection, gpu: str) -> Room:
        """Return what is free of a GPU model."""
        return self.rooms(connection, [gpu])[gpu]

    def rooms(self, connection: Connection, gpus: Collection[str]) -> dict[str, Room]:
        """Return what is free of each of some GPU models."""
        found = connection.execute(HOW_MANY_FREE, {"gpus": [*gpus, PLACES]})
        free = {(row.gpu, row.supplier): row.free for row in found}
        layout = self._layout
        places = {pool: free.get((PLACES, pool), 0) for pool in layout.places}
        return {
            gpu: Room(
                free={pool: free.get((gpu, pool), 0) for pool, model in layout.gpus if model == gpu},
                total={pool: total for (pool, model), total in layout.gpus.items() if model == gpu},
                places=places,
            )
            for gpu in gpus
        }

    def held(self, connection: Connection, gpu: str) -> dict[Share, int]:
        """Return how many GPUs of a model each customer holds, simulated and real ones apart."""
        found: dict[Share, int] = {}
        for row in connection.execute(_HELD, {"of_gpu": gpu}):
            share = Share(row.customer_id, row.supplier in self._layout.simulated)
            found[share] = found.get(share, 0) + row.held
        return found

    def take(
        self, connection: Connection, pool: str, gpu: str, count: int, *, customer_id: str, job_id: str, attempt: int
    ) -> tuple[int, ...] | None:
        """Take so many GPUs, and a place where those are counted, or none of them; return the indices of the GPUs."""
        wanted = {gpu: count, **({PLACES: 1} if pool in self._layout.places else {})}
        found = {
            model: connection.execute(_FREE, {"of_supplier": pool, "of_gpu": model, "count": n}).scalars().all()
            for model, n in wanted.items()
        }
        if any(len(found[model]) < n for model, n in wanted.items()):
            return None
        for model, indices in found.items():
            _take(connection, pool, model, indices, customer_id, job_id, attempt)
        return tuple(found[gpu])


def held_by_what_ended(connection: Connection, suppliers: Sequence[str]) -> list[tuple[str, int]]:
    """Return the attempts at suppliers that are over here and have kept what they had, by job id and number."""
    found = connection.execute(_HELD_BY_ENDED, {"suppliers": list(suppliers)})
    return [(row.job_id, row.attempt) for row in found]


def free(connection: Connection, ended: Iterable[tuple[str, int]]) -> None:
    """Give back what attempts had, by job id and number: their supplier has confirmed that they are over."""
    over = set(ended)
    if not over:
        return
    found = connection.execute(_OF_JOBS, {"job_ids": sorted({job_id for job_id, _ in over})})
    theirs = [row for row in found if (row.job_id, row.attempt) in over]
    if theirs:
        connection.execute(
            _FREE_EACH,
            [
                {**_key(row.supplier, row.gpu, row.at), "of_job": row.job_id, "of_attempt": row.attempt}
                for row in theirs
            ],
        )
    if gone := [_key(row.supplier, row.gpu, row.at) for row in theirs if row.retired]:
        connection.execute(_REMOVE, gone)


def clear(connection: Connection) -> None:
    """Free everything: for a control plane that was emptied."""
    connection.execute(delete(slots).where(slots.c.retired))
    connection.execute(update(slots).values(job_id=None, attempt=None, customer_id=None))


def _take(
    connection: Connection,
    pool: str,
    gpu: str,
    indices: Sequence[int],
    customer_id: str,
    job_id: str,
    attempt: int,
) -> None:
    values = {"to_job": job_id, "to_attempt": attempt, "to_customer": customer_id}
    if indices:
        connection.execute(_TAKE, [{**_key(pool, gpu, index), **values} for index in indices])


def _key(supplier: str, gpu: str, index: int) -> Mapping[str, Any]:
    return {"of_supplier": supplier, "of_gpu": gpu, "at": index}
