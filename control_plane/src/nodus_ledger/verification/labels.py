"""Holding the rows by which jobs are found by their labels against the jobs. Pure: rows go in, faults come out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from nodus_core.spec import FIELDS, STORED

from .logs import Fault
from .sums import JobRow

LABELS = "SELECT customer_id, key, seq, value FROM job_labels ORDER BY customer_id, key, seq"

_COLUMN = STORED.index("labels")


class IndexedLabels:
    """The rows of `LABELS`, by job.

    Args:
        rows: all of them.
    """

    def __init__(self, rows: Iterable[tuple[Any, Any, Any, Any]]) -> None:
        self._of_jobs: defaultdict[tuple[Any, Any], dict[str, str]] = defaultdict(dict)
        for customer_id, key, seq, value in rows:
            self._of_jobs[customer_id, seq][str(key)] = str(value)

    def compare_job(self, job: JobRow) -> Iterator[Fault]:
        """Hold the rows of a job against its own, which the ledger accounts for."""
        found = FIELDS["labels"].to_column(self._of_jobs.pop((job.customer_id, job.seq), None))
        if found != job.spec[_COLUMN]:
            yield Fault(job.customer_id, None, f"job {job.id}: it is not found by the labels that it has")

    def compare_rest(self) -> Iterator[Fault]:
        """Say what is of no job, once all were compared."""
        for customer_id, seq in self._of_jobs:
            yield Fault(str(customer_id), None, f"there are labels of job number {seq!r}, which is not its own")
