"""The secret part of a job's spec: sealed when it is submitted, opened for its driver alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..database.rows import JobRecord
from ..database.sealing import Sealer

# `json.dumps` would make one at every call.
_ENCODER = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """A command and an environment, opened; `command` is None for the image's own."""

    command: tuple[str, ...] | None = field(repr=False)
    env: Mapping[str, str] = field(repr=False)


def seal_secrets(sealer: Sealer, job_id: str, command: Sequence[str] | None, env: Mapping[str, str]) -> bytes:
    """Seal a command and an environment, for this job alone."""
    return sealer.seal(_ENCODER.encode({"command": command, "env": dict(env)}).encode(), _context(job_id))


def open_secrets(sealer: Sealer, job: JobRecord) -> Secrets:
    """Open a job's command and environment; of a terminal job, what steered its simulation."""
    sealed = job.sealed or job.steering
    if not sealed:
        return Secrets(command=None, env={})
    opened = json.loads(sealer.open(sealed, _context(job.id)))
    command = opened["command"]
    return Secrets(command=None if command is None else tuple(command), env=opened["env"])


def _context(job_id: str) -> str:
    return f"job {job_id}"
