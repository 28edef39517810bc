"""The one name that an attempt has on a cluster: of its Slurm job, and of its folder. Pure."""

from __future__ import annotations

import re

from ..protocol import Placement

_PREFIX = "nodus"
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.]{0,99}"
_NAME = re.compile(rf"{_PREFIX}-(?P<database>{_PART})-(?P<job>{_PART}(?:-{_PART})*)-(?P<attempt>[1-9][0-9]{{0,8}})")
_PARTS = re.compile(_PART)
_JOB = re.compile(rf"{_PART}(?:-{_PART})*")


def name_of(database_id: str, placement: Placement) -> str:
    """Return the name of an attempt.

    Raises:
        ValueError: the database or the job has an id that cannot be part of a name.
    """
    if not _PARTS.fullmatch(database_id):
        raise ValueError(f"a database id {database_id!r} cannot be part of a name: letters, digits, `_` and `.` can")
    if not _JOB.fullmatch(placement.job_id) or placement.attempt < 1:
        raise ValueError("a job id that cannot be part of a name")
    return f"{_PREFIX}-{database_id}-{placement.job_id}-{placement.attempt}"


def parse_name(name: str) -> tuple[str, str, int] | None:
    """Return database, job and attempt of a name; None where it is not one of ours."""
    found = _NAME.fullmatch(name)
    return None if found is None else (found["database"], found["job"], int(found["attempt"]))
