"""What a worker claims, and how things stand for it when it does."""

from __future__ import annotations

from dataclasses import dataclass

from ..database.rows import AttemptRecord, JobRecord


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds for a while, with the attempt that its driver has, or is about to get.

    `is_first`: nobody has held it with this attempt before, so no driver can have heard of it.
    """

    job: JobRecord
    attempt: AttemptRecord
    supplier_is_out: bool
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand for a worker that claims and places jobs. Unix milliseconds.

    Attributes:
        owner: who claims.
        now: when.
        until: how long, in real time.
        busy: suppliers of whose jobs it wants none.
        unreachable: suppliers that it cannot ask.
        drained: suppliers that are given nothing new.
    """

    owner: str
    now: int
    until: int
    busy: frozenset[str]
    unreachable: frozenset[str]
    drained: frozenset[str]
