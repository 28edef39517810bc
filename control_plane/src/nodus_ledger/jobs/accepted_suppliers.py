"""Which suppliers file the processes of a database agree on: the hash of its catalogue, kept in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from nodus_core.catalogue import Catalogue

from ..database.database import Database
from ..database.schema import IS_OPEN, attempts, jobs, settings
from ..database.settings import get, put
from ..trust import log

SUPPLIERS_ACCEPTED = "operator.suppliers_accepted"

_SETTING = "catalogue sha256"
_MOST_NAMED = 5
_ACCEPTED = select(settings.c.value).where(settings.c.name == _SETTING)
OPEN_ATTEMPTS = (
    select(attempts.c.supplier, attempts.c.job_id, jobs.c.simulated)
    .join(jobs, jobs.c.id == attempts.c.job_id)
    .where(IS_OPEN, attempts.c.outcome.is_(None))
    .order_by(attempts.c.supplier, jobs.c.seq)
)


class SuppliersDiffer(Exception):
    """The other processes of the database have agreed on another catalogue.

    Attributes:
        accepted: the hash of theirs.
        own: the hash of the one that was refused.
    """

    def __init__(self, accepted: str, own: str) -> None:
        super().__init__(f"the suppliers accepted for this database have the hash {accepted}, and these {own}")
        self.accepted = accepted
        self.own = own


class SuppliersInUse(Exception):
    """Suppliers that are not in the file as what they were have jobs: `jobs` are their ids, by supplier."""

    def __init__(self, jobs: Mapping[str, Sequence[str]]) -> None:
        named = "; ".join(f'"{supplier}" has {_named(ids)}' for supplier, ids in jobs.items())
        super().__init__(
            f"suppliers that are not in the file as they were have jobs: {named}; keep each of them, simulated or not "
            "as it was, until those end (of jobs from version 0.1, see Upgrades in the guide to self-hosting)"
        )
        self.jobs = jobs


class AcceptedSuppliers:
    """The catalogue that a database's processes agree on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def sha256(self) -> str | None:
        """Return the hash that was accepted last; None before the first."""
        with self._database.read() as connection:
            return get(connection, _SETTING)

    def require(
        self, catalogue: Catalogue, now: int, *, accept: str | None = None, serves_earlier: bool = False
    ) -> None:
        """Check that a catalogue is the accepted one. The first one of a database is accepted as it comes.

        Args:
            catalogue: what a process was started with.
            now: Unix milliseconds.
            accept: the name of the command whose operator makes this catalogue the accepted one, which is recorded in
                the operator's own log.
            serves_earlier: whether jobs from before there were suppliers files are seen to their end all the same:
                whoever ran them stands there as a supplier that is not in the file.

        Raises:
            SuppliersDiffer: it is another, and nobody accepted it.
            SuppliersInUse: a supplier that has jobs is not in it, or is simulated where it was not, or the reverse.
        """
        with self._database.write() as connection:
            # Until this transaction ends, nobody places jobs by the catalogue that was accepted before.
            accepted = connection.execute(_ACCEPTED.with_for_update()).scalar()
            if accepted is None:
                accepted = put(connection, _SETTING, catalogue.sha256, replace=False)
            if accepted != catalogue.sha256 and accept is None:
                raise SuppliersDiffer(accepted, catalogue.sha256)
            leaving = _jobs_elsewhere(connection, catalogue, serves_earlier=serves_earlier)
            if leaving:
                raise SuppliersInUse(leaving)
            if accepted != catalogue.sha256:
                put(connection, _SETTING, catalogue.sha256)
                payload = {"process": accept, "before": accepted, "after": catalogue.sha256}
                log.append(connection, log.OPERATOR, kind=SUPPLIERS_ACCEPTED, at=now, payload=payload)


def is_accepted(connection: Connection, sha256: str) -> bool:
    """Say whether a catalogue is the accepted one, which it stays until the caller's transaction ends."""
    accepted: str | None = connection.execute(_ACCEPTED.with_for_update(read=True)).scalar()
    return accepted == sha256


def _jobs_elsewhere(connection: Connection, catalogue: Catalogue, *, serves_earlier: bool) -> dict[str, list[str]]:
    """Return the jobs that have an open attempt at a supplier which is not in a catalogue as it was.

    One that was simulated and runs something now is another, and so is the reverse. A job from before that was recorded
    may really run, whatever its supplier is now: it has none here but where what was begun then is served, under names
    that are not in the catalogue.
    """
    found: dict[str, list[str]] = {}
    for supplier, job_id, simulated in connection.execute(OPEN_ATTEMPTS):
        entry = catalogue.suppliers.get(supplier)
        if simulated is None:
            is_elsewhere = not serves_earlier or entry is not None
        else:
            is_elsewhere = entry is None or entry.is_simulated is not simulated
        if is_elsewhere:
            found.setdefault(supplier, []).append(job_id)
    return found


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return f"{len(ids)} job{'s' if len(ids) > 1 else ''} ({', '.join(ids[:_MOST_NAMED])}{more})"
