"""The names of the logs. Each customer's log has a name of its own, below one that the whole control plane has.

All logs are signed with one key; so the name is what keeps the checkpoint of one log from passing for another's, and
who pins a key pins the name with it. It therefore never changes once there is anything in a log. It comes from
`NODUS_LEDGER_ORIGIN`; else it is made of the database's own id, so that logs of two control planes never share a name.
Logs from before there was a choice keep the name that all had then.
"""

from __future__ import annotations

import re
import secrets
from urllib.parse import quote

from sqlalchemy import Connection, bindparam, select, text, update

from ..database.database import Database
from ..database.schema import settings
from ..database.trust_schema import ledger

ORIGIN_VARIABLE = "NODUS_LEDGER_ORIGIN"
FIRST_ORIGIN = "nodus.run/ledger"
"""The name above all logs from before it could be chosen; the migration writes it where there are rows already."""

_NAME = "ledger origin"
_DEFAULT = "localhost"
_ORIGIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]{1,64}){0,8}\Z")
_GET = select(settings.c.value).where(settings.c.name == bindparam("of_name"))
_PUT = text(
    "INSERT INTO settings (name, value) VALUES (:of_name, :value) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class UnusableOrigin(RuntimeError):
    """The name that was given to the logs is malformed, or they have another."""


def origin_of(origin: str, customer_id: str) -> str:
    """Return the name of a customer's log; characters that cannot stand in a key's name are percent-encoded.

    >>> origin_of("ledger.acme.com/nodus", "a b")
    'ledger.acme.com/nodus/a%20b'
    """
    return f"{origin}/{quote(customer_id, safe='')}"


def origin_for(database: Database, environment: str | None, *, database_id: str, must_be_chosen: bool = False) -> str:
    """Return the name above the logs of a database, and keep it there.

    Args:
        database: where the logs are.
        environment: the value of `NODUS_LEDGER_ORIGIN`; None or empty where it is not set.
        database_id: what a name is made of where none was given.
        must_be_chosen: whether logs that are still to begin must have a name that was given. Those that have begun
            keep what they have.

    Raises:
        UnusableOrigin: the name that was given is malformed, or the logs have rows under another; or none was given
            where one must be.
    """
    given = environment or None
    if given is not None and not _ORIGIN.match(given):
        raise UnusableOrigin(
            f"{ORIGIN_VARIABLE} must be a host name and a path, such as ledger.acme.com/nodus, not {given!r}"
        )
    with database.read() as connection:
        kept = kept_origin(connection)
    is_chosen = given is not None or (kept is not None and not kept.startswith(f"{_DEFAULT}/"))
    if kept is not None and given in (None, kept) and (is_chosen or not must_be_chosen):
        return kept
    with database.write() as connection:
        # Of two processes that start on a new database, one is first; the other takes what it finds.
        database.lock_name(connection, _NAME)
        kept = kept_origin(connection)
        has_rows = _has_rows(connection)
        if kept is not None and has_rows and given not in (None, kept):
            raise UnusableOrigin(
                f"the ledger's logs are named {kept}, which stands in every checkpoint that was given out, and cannot "
                f"become {given}: set {ORIGIN_VARIABLE} to {kept}, or leave it out"
            )
        if must_be_chosen and not is_chosen and not (kept is not None and has_rows):
            raise UnusableOrigin(
                f"set {ORIGIN_VARIABLE} to a name of yours, such as ledger.acme.com/nodus: it will stand in every "
                "checkpoint that customers get, for good, and there are suppliers that are not your own machines"
            )
        origin = given or kept or f"{_DEFAULT}/{database_id}"
        connection.execute(_PUT, {"of_name": _NAME, "value": origin})
    return origin


def advice_for(database: Database) -> str | None:
    """Return what to say to an operator who can still name the logs, and has not; None where there is nothing to say.

    Once a log has a row, its name is what it is.
    """
    with database.read() as connection:
        kept = kept_origin(connection)
        if kept is None or not kept.startswith(f"{_DEFAULT}/") or _has_rows(connection):
            return None
    return (
        f"the ledgers will be named {kept}, which says nothing of you and stands in every checkpoint that customers "
        f"get: set {ORIGIN_VARIABLE} to a name of yours, such as ledger.acme.com/nodus, before the first key is minted"
    )


def rename_emptied(connection: Connection) -> None:
    """Give logs that begin anew another name, where it was not chosen: they are not the logs that had it."""
    renamed = f"{_DEFAULT}/{secrets.token_hex(8)}"
    connection.execute(
        update(settings)
        .where(settings.c.name == _NAME, settings.c.value.startswith(f"{_DEFAULT}/"))
        .values(value=renamed)
    )


def kept_origin(connection: Connection) -> str | None:
    """Read the name above the logs; None where no checkpoint can have been given out yet, or it was removed."""
    kept: str | None = connection.execute(_GET, {"of_name": _NAME}).scalar()
    return kept


def _has_rows(connection: Connection) -> bool:
    return connection.execute(select(ledger.c.seq).limit(1)).first() is not None
