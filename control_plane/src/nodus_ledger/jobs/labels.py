"""The rows by which jobs are found by their labels; what a job's labels are stands in its own row."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert

from ..database.prepared import Prepared
from ..database.schema import job_labels

_INSERT = Prepared(insert(job_labels))


def insert_rows(connection: Connection, customer_id: str, seq: int, labels: Mapping[str, str] | None) -> None:
    """Write those of a new job, of which `seq` is the number."""
    if labels:
        of_job: dict[str, str | int] = {"customer_id": customer_id, "seq": seq}
        _INSERT.change_each(connection, [{**of_job, "key": key, "value": labels[key]} for key in sorted(labels)])
