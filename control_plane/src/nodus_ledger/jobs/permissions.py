"""Whose jobs a key may read the output of, and cancel."""

from __future__ import annotations

from ..database.rows import JobRecord
from ..errors import ForbiddenPrincipal
from ..keys.keys import KeyRecord


def require_own(key: KeyRecord, job: JobRecord) -> None:
    """Restrict an agent's key to the jobs that it submitted, and a test key to simulated ones.

    Raises:
        ForbiddenPrincipal: another key submitted this job, or it is not simulated.
    """
    if (key.sees_only_its_own_jobs and job.key_id != key.id) or (key.is_test and not job.is_simulated):
        raise ForbiddenPrincipal
