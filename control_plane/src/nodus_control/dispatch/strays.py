"""What becomes of something that an engine holds under a name of ours: pure, from what the database says of it.

The engine is listed first and the database is read second, so that what is open by then is never taken for a stray.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from nodus_ledger.jobs.jobs import PlacementFacts

from ..suppliers.protocol import Found

AGE_MS = 600_000
"""How old something must be before it is ended because nobody knows of it, or knows that it is over."""

KEPT_MS = 900_000
"""How long after the end of an attempt its engine keeps what it holds of it: somebody may want its output."""


class Fate(enum.Enum):
    """What is done with it; `NAMED` is what belongs to another database, or to another life of this one."""

    LEFT = "left"
    ENDED = "ended"
    FORGOTTEN = "forgotten"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class DatabaseLife:
    """Whose something is: a database, and which of its lives, since a restore begins another."""

    database_id: str
    incarnation: str


def fate_of(found: Found, known: PlacementFacts | None, us: DatabaseLife, now: int) -> Fate:
    """Decide about one thing that was found.

    Args:
        found: by the engine.
        known: what the database, read afterwards, says of that attempt; None if it has none.
        us: whose sweep this is.
        now: Unix milliseconds.
    """
    # Versions up to 0.1 recorded no life: what this one knows of is its own. The rest may be from after a backup.
    incarnation = us.incarnation if known is not None and not found.incarnation else found.incarnation
    if DatabaseLife(found.database_id, incarnation) != us:
        return Fate.NAMED
    if known is not None and known.ended_at is None:
        return Fate.LEFT
    if found.is_running:
        return Fate.ENDED if now - found.created_at * 1000 >= AGE_MS else Fate.LEFT
    is_over_since = found.created_at * 1000 if known is None or known.ended_at is None else known.ended_at
    return Fate.FORGOTTEN if now - is_over_since >= KEPT_MS else Fate.LEFT
