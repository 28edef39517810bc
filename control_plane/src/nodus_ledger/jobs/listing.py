"""Pages of a customer's jobs: by which filters, and by which index each of them is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import CTE, ColumnElement, Connection, Select, and_, exists, func, select, union_all

from nodus_core.lifecycle import JobStatus

from ..database.rows import JOB_FIELDS, JobRecord
from ..database.schema import job_labels, jobs
from .submission import SUBMIT_ENDPOINT

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, slots=True)
class Filters:
    """What the jobs of a listing have in common; whatever is None or empty lets every job through.

    Attributes:
        statuses: these alone.
        name: this one exactly.
        labels: all of these, each a key with its value, or with None for any value.
        idempotency_key: submitted under this one, by whichever key of the customer.
        created_after: then or later; Unix milliseconds.
        created_before: earlier; Unix milliseconds.
    """

    statuses: Sequence[JobStatus] = ()
    name: str | None = None
    labels: Sequence[tuple[str, str | None]] = ()
    idempotency_key: str | None = None
    created_after: int | None = None
    created_before: int | None = None

    def canonical(self) -> dict[str, object]:
        """Return what equal filters have in common, however they were written: a cursor is of these alone."""
        labels = [list(label) for label in sorted(set(self.labels), key=_with_values_first)]
        given: dict[str, object] = {
            "status": sorted({status.value for status in self.statuses}),
            "name": self.name,
            "label": labels,
            "idempotency_key": self.idempotency_key,
            "created_after": self.created_after,
            "created_before": self.created_before,
        }
        return {name: value for name, value in given.items() if value is not None and value != []}

    @property
    def by_time(self) -> bool:
        """Whether the time of submission counts."""
        return self.created_after is not None or self.created_before is not None


ALL = Filters()


def read_page(
    connection: Connection, customer_id: str, filters: Filters = ALL, *, limit: int, after: int | None
) -> list[JobRecord]:
    """Return the newest jobs that pass the filters, at most `limit`, that are older than the one numbered `after`."""
    first, last = None, None if after is None else after - 1
    if filters.by_time:
        first, newest = tuple(connection.execute(span(customer_id, filters)).one())
        if first is None:
            return []
        last = newest if last is None else min(last, newest)
    query = listing(customer_id, filters, limit=limit, first=first, last=last)
    return [JobRecord(*row) for row in connection.execute(query)]


def span(customer_id: str, filters: Filters) -> Select[Unpack[tuple[Any, ...]]]:
    """Return the query of the lowest and the highest number among the jobs of a time.

    Numbers and times nearly have one order, and not quite: clocks of several processes differ, and one may be put back.
    An index has both, so nothing else is read. All else can be found by number then, in the order in which it is shown.
    """
    # The number as a sum, so that it is not looked for in the order of numbers, among those of all times.
    number = jobs.c.seq + 0
    return select(func.min(number), func.max(number)).where(
        jobs.c.customer_id == customer_id, *_times(filters, jobs.c.created_at)
    )


def listing(
    customer_id: str,
    filters: Filters = ALL,
    *,
    limit: int,
    first: int | None = None,
    last: int | None = None,
) -> Select[tuple[Any, ...]]:
    """Return the query of a page, newest first.

    By statuses, name or one label it reads about as many rows as it returns, or as many for each status. By several of
    them it may read as many more as have the name, or the label that is looked up first, or, of those that live, the
    status.

    Args:
        customer_id: whose jobs.
        filters: which of them.
        limit: the most rows.
        first: the lowest number to look at; None for all.
        last: the highest.
    """
    own = select(*JOB_FIELDS).where(jobs.c.customer_id == customer_id, *_between(jobs.c.seq, first, last))
    # The time as a sum, so that no index over it is chosen: what it bounds is bounded by number already.
    own = own.where(*_times(filters, jobs.c.created_at + 0)).order_by(jobs.c.seq.desc()).limit(limit)
    labels = sorted(set(filters.labels), key=_with_values_first)
    labelled = [_has_label(customer_id, *label) for label in labels]
    statuses = list(dict.fromkeys(filters.statuses))
    if filters.name is not None:
        own = own.where(jobs.c.name == filters.name)
    if filters.idempotency_key is not None:
        own = own.where(
            jobs.c.idempotency_scope.in_(select(_scopes(customer_id).c.scope)),
            jobs.c.endpoint == SUBMIT_ENDPOINT,
            jobs.c.idempotency_key == filters.idempotency_key,
            *labelled,
        )
        # There are few, and to sort them is nothing: an index that has their order would be searched for them in vain.
        own = own.order_by(None).order_by((jobs.c.seq + 0).desc())
        return own.where(jobs.c.status.in_([status.value for status in statuses])) if statuses else own
    if filters.name is None and labels:
        # Few jobs live at any time, so those are looked at for the labels; of all others those that have the first.
        lived = [status.value for status in statuses if status.is_terminal]
        branches = _by_status(own.where(*labelled), [status for status in statuses if not status.is_terminal])
        if lived or not statuses:
            by_label = own.where(*labelled[1:]).join(job_labels, job_labels.c.seq == jobs.c.seq)
            by_label = by_label.where(_is_label(customer_id, *labels[0]), *_between(job_labels.c.seq, first, last))
            by_label = by_label.order_by(None).order_by(job_labels.c.seq.desc())
            branches.append(by_label.where(jobs.c.status.in_(lived)) if lived else by_label)
        return _newest_of(branches, limit)
    if filters.name is None and not statuses:
        return own
    # Each filter has an index by status too, so that neither alone can match many rows in vain.
    return _newest_of(_by_status(own.where(*labelled), statuses or list(JobStatus)), limit)


def _by_status(own: Select[tuple[Any, ...]], statuses: Sequence[JobStatus]) -> list[Select[tuple[Any, ...]]]:
    return [own.where(jobs.c.status == status.value) for status in statuses]


def _newest_of(branches: Sequence[Select[tuple[Any, ...]]], limit: int) -> Select[tuple[Any, ...]]:
    """Return the newest of what several queries find, each the newest of its own.

    Of several statuses at once an index gives no order: so the newest of each are found, and of those the newest.
    """
    if len(branches) == 1:
        return branches[0]
    found = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
    return select(found).order_by(found.c.seq.desc()).limit(limit)


def _times(filters: Filters, created_at: ColumnElement[int]) -> list[ColumnElement[bool]]:
    conditions = []
    if filters.created_after is not None:
        conditions.append(created_at >= filters.created_after)
    if filters.created_before is not None:
        conditions.append(created_at < filters.created_before)
    return conditions


def _between(column: ColumnElement[int], first: int | None, last: int | None) -> list[ColumnElement[bool]]:
    conditions = []
    if first is not None:
        conditions.append(column >= first)
    if last is not None:
        conditions.append(column <= last)
    return conditions


def _with_values_first(label: tuple[str, str | None]) -> tuple[bool, str, str]:
    """Put labels in order: those of one value, which fewer jobs have, before those of any."""
    key, value = label
    return value is None, key, value or ""


def _is_label(customer_id: str, key: str, value: str | None) -> ColumnElement[bool]:
    of_key = and_(job_labels.c.customer_id == customer_id, job_labels.c.key == key)
    return of_key if value is None else and_(of_key, job_labels.c.value == value)


def _has_label(customer_id: str, key: str, value: str | None) -> ColumnElement[bool]:
    return exists().where(_is_label(customer_id, key, value), job_labels.c.seq == jobs.c.seq).correlate(jobs)


def _scopes(customer_id: str) -> CTE:
    """Find the scopes of a customer's idempotency keys: one look-up for each, in the index that begins with them."""
    own = jobs.alias()
    found = select(func.min(own.c.idempotency_scope).label("scope")).where(own.c.customer_id == customer_id)
    scopes = found.cte("scopes", recursive=True)
    after = select(func.min(own.c.idempotency_scope)).where(
        own.c.customer_id == customer_id, own.c.idempotency_scope > scopes.c.scope
    )
    return scopes.union_all(select(after.correlate(scopes).scalar_subquery()).where(scopes.c.scope.is_not(None)))
