"""Which refusals by a key's cap were recorded a short while ago: a caller that tries on fills no log.

The settings have one value for each key that was refused: when each reservation was recorded last, as far as that is
less than a minute ago. So every process that answers requests goes by the same, and a record that is not committed is
none. Everything here runs inside the caller's transaction, which holds the lock of the key's row.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, delete

from ..database import settings
from ..database.schema import settings as settings_table

PAUSE_MS = 60_000
"""How long nothing is recorded of a refusal for want of the same amount."""

MOST_REMEMBERED = 1000
"""Of so many amounts it is known when they were recorded; where a key is refused more in a minute, the last ones."""

_NAME = "refusals of "


def is_to_be_recorded(connection: Connection, key_id: str, amount: int, now: int) -> bool:
    """Say whether a refusal to reserve so many micro-USD is to be recorded now; if so, remember that it is."""
    stored = settings.get(connection, _NAME + key_id)
    recent = remembered({} if stored is None else json.loads(stored), now)
    if str(amount) in recent:
        return False
    settings.put(connection, _NAME + key_id, json.dumps(remembered({**recent, str(amount): now}, now)))
    return True


def remembered(recorded: dict[str, int], now: int) -> dict[str, int]:
    """Leave out what is a minute old, and the oldest where there are too many; by amount, in Unix milliseconds.

    >>> remembered({"7": 0, "8": 1}, 60_000)
    {'8': 1}
    """
    recent = {amount: at for amount, at in recorded.items() if at > now - PAUSE_MS}
    newest = sorted(recent, key=lambda amount: recent[amount])[-MOST_REMEMBERED:]
    return {amount: recent[amount] for amount in newest}


def forget_all(connection: Connection) -> None:
    """Forget the refusals of all keys: for a database that begins a new history."""
    connection.execute(delete(settings_table).where(settings_table.c.name.startswith(_NAME, autoescape=True)))
