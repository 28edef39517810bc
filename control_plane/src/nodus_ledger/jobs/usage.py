"""What jobs have cost: settled jobs added up, by what they have in common.

The index `jobs_by_day` has all that is asked for, in an order in which groups follow each other. So the database adds
up each run of rows that agree in the first columns of it, and then the few sums of those by what was asked for: that
takes little more than the sum of all rows would, and reads no row of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, and_, func, select

from nodus_core.catalogue import Catalogue
from nodus_core.months import month_at
from nodus_core.usage import LABEL, MAX_GROUPS, MILLISECONDS_PER_DAY, Question, date_of, day_of

from ..database.database import Database
from ..database.schema import job_labels, jobs
from ..errors import TooManyGroups

# In the order of the index.
_INDEXED = ("finished_day", "principal_kind", "key_id", "supplier", "region", "gpu", "status")
_COLUMNS = {
    "day": "finished_day",
    "month": "finished_day",
    "principal_kind": "principal_kind",
    "key": "key_id",
    "supplier": "supplier",
    "kind": "supplier",
    "region": "region",
    "gpu": "gpu",
    "status": "status",
}
_DAYS_OF_A_MONTH = 31


@dataclass(slots=True)
class Amounts:
    """What some jobs come to. Money is micro-USD.

    Attributes:
        jobs: how many.
        gpu_ms: the milliseconds that they ran, each times its GPUs.
        cost: what they cost.
        priced: of how many of them the retail price is known.
        retail: what those would have cost at retail.
        saved: how much less those cost; below 0 where they cost more.
    """

    jobs: int = 0
    gpu_ms: int = 0
    cost: int = 0
    priced: int = 0
    retail: int = 0
    saved: int = 0

    def add(self, other: Amounts) -> None:
        """Take in what other jobs come to."""
        self.jobs += other.jobs
        self.gpu_ms += other.gpu_ms
        self.cost += other.cost
        self.priced += other.priced
        self.retail += other.retail
        self.saved += other.saved


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that have in common what was asked for, in that order; None where a job has none."""

    values: tuple[str | None, ...]
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Report:
    """The answer: groups, the dearest first, and their total."""

    groups: Sequence[Group]
    total: Amounts


class Usage:
    """What the jobs of all customers have cost."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database = database
        self._kinds = {name: entry.kind.value for name, entry in catalogue.suppliers.items()}

    def report(self, customer_id: str, question: Question, *, key_id: str | None = None) -> Report:
        """Add up the settled jobs of a customer.

        Args:
            customer_id: whose.
            question: which of them, and grouped by what.
            key_id: only jobs of this key; None for all.

        Raises:
            TooManyGroups: there are more than an answer may have.
        """
        groups: dict[tuple[str | None, ...], Amounts] = {}
        total = Amounts()
        query = sums(customer_id, question, key_id)
        with self._database.read() as connection:
            for row in connection.execute(query):
                values = tuple(
                    self._value(name, getattr(row, _column_of(name, question))) for name in question.group_by
                )
                amounts = Amounts(*(int(amount or 0) for amount in row[-6:]))
                if not amounts.jobs:
                    continue  # where nothing is grouped, there is a row for no jobs too
                groups.setdefault(values, Amounts()).add(amounts)
                if len(groups) > MAX_GROUPS:
                    raise TooManyGroups
                total.add(amounts)
        dearest_first = sorted(groups.items(), key=lambda each: (-each[1].cost, [value or "" for value in each[0]]))
        return Report([Group(*each) for each in dearest_first], total)

    def _value(self, name: str, stored: Any) -> str | None:
        if name == "day":
            return date_of(stored)
        if name == "month":
            return month_at(stored * MILLISECONDS_PER_DAY).name
        if name == "kind":
            return self._kinds.get(stored)
        value: str | None = stored
        return value


def sums(customer_id: str, question: Question, key_id: str | None = None) -> Select[tuple[Any, ...]]:
    """Return the query of a report: the columns that its groups are made of, then the six amounts.

    Several rows may be of one group: the days of a month, and the suppliers of a kind.
    """
    wanted = tuple(dict.fromkeys(_column_of(name, question) for name in question.group_by))
    # Whatever is asked for, rows are added up as they follow each other, with no need to sort them first. Labels stand
    # elsewhere, in no such order.
    deepest = max((_INDEXED.index(name) for name in wanted if name in _INDEXED), default=-1)
    in_order = _INDEXED[: deepest + 1]
    if wanted == in_order or not set(wanted) <= set(_INDEXED):
        return _bounded(_runs(customer_id, question, key_id, wanted), question)
    found = _runs(customer_id, question, key_id, in_order).subquery()
    columns = [found.c[name] for name in wanted]
    amounts = [func.sum(found.c[name]).label(name) for name in ("jobs", "gpu_ms", "cost", "priced", "retail", "saved")]
    return _bounded(select(*columns, *amounts).group_by(*columns), question)


def _column_of(name: str, question: Question) -> str:
    """Return the column of a sum from which the value of a group is made."""
    if name.startswith(LABEL):
        return f"label_{question.group_by.index(name)}"
    return _COLUMNS[name]


def _runs(customer_id: str, question: Question, key_id: str | None, columns: Sequence[str]) -> Select[tuple[Any, ...]]:
    # A job without the label is in a group of its own.
    of_labels = {
        _column_of(name, question): (job_labels.alias(_column_of(name, question)), name.removeprefix(LABEL))
        for name in question.group_by
        if name.startswith(LABEL)
    }
    found: FromClause = jobs
    for table, label in of_labels.values():
        found = found.outerjoin(table, _is_label_of_job(table, label))
    grouped = [of_labels[name][0].c.value if name in of_labels else jobs.c[name] for name in columns]
    query = (
        select(
            *(each.label(name) for each, name in zip(grouped, columns, strict=True)),
            func.count().label("jobs"),
            func.sum(jobs.c.gpu_count * jobs.c.duration_ms).label("gpu_ms"),
            func.sum(jobs.c.cost).label("cost"),
            func.count(jobs.c.retail).label("priced"),
            func.sum(jobs.c.retail).label("retail"),
            func.sum(jobs.c.retail - jobs.c.cost).label("saved"),
        )
        .select_from(found)
        .where(jobs.c.customer_id == customer_id, *_span(question), *_labelled(question))
        .group_by(*grouped)
    )
    # A job from before that was recorded counts as simulated.
    query = query.where(jobs.c.simulated.is_not(False) if question.simulated else jobs.c.simulated.is_(False))
    return query if key_id is None else query.where(jobs.c.key_id == key_id)


def _span(question: Question) -> Iterator[ColumnElement[bool]]:
    """Say when jobs ended: on which days, as the index has them; exactly, where a span begins or ends within one."""
    yield jobs.c.finished_day >= day_of(question.begins_at)
    yield jobs.c.finished_day <= day_of(question.ends_at - 1)
    if question.begins_at % MILLISECONDS_PER_DAY:
        yield jobs.c.finished_at >= question.begins_at
    if question.ends_at % MILLISECONDS_PER_DAY:
        yield jobs.c.finished_at < question.ends_at


def _labelled(question: Question) -> Iterator[ColumnElement[bool]]:
    """Say which labels jobs have."""
    for label, value in question.labels:
        has_it = select(job_labels.c.seq).where(_is_label_of_job(job_labels, label))
        yield (has_it if value is None else has_it.where(job_labels.c.value == value)).exists()


def _is_label_of_job(table: FromClause, label: str) -> ColumnElement[bool]:
    return and_(table.c.customer_id == jobs.c.customer_id, table.c.key == label, table.c.seq == jobs.c.seq)


def _bounded(query: Select[tuple[Any, ...]], question: Question) -> Select[tuple[Any, ...]]:
    """Have the database stop where there are certainly too many groups; how many rows are a kind's, nobody knows."""
    if "kind" in question.group_by and "supplier" not in question.group_by:
        return query
    is_by_month = "month" in question.group_by and "day" not in question.group_by
    return query.limit(MAX_GROUPS * (_DAYS_OF_A_MONTH if is_by_month else 1) + 1)
