"""`nodus-control attempts`: what an operator knows of an attempt, and no engine can say any more."""

from __future__ import annotations

import os
from pathlib import Path

import asyncclick

from nodus_core.catalogue import Catalogue, default_catalogue
from nodus_ledger.database.database import DATABASE_VARIABLE, Database, UnusableDatabase
from nodus_ledger.errors import DatabaseUnavailable, UnknownJob
from nodus_ledger.jobs.accepted_suppliers import AcceptedSuppliers
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.resolving import NotUnknown, resolve
from nodus_ledger.jobs.settlement import Step

from .clock_watch import ClockWatch
from .dispatch import next_steps
from .exit_codes import OK, Misconfigured
from .suppliers.command import named_suppliers, suppliers_option
from .suppliers.drivers import Terms
from .suppliers.files import SUPPLIERS_VARIABLE


@asyncclick.group("attempts")
def attempts() -> None:
    """Say what has become of attempts of which nothing is known."""


@attempts.command("resolve")
@asyncclick.argument("job_id", metavar="JOB")
@asyncclick.option("--db", "database_url", metavar="URL", help=f"The database. By default, {DATABASE_VARIABLE}.")
@suppliers_option
@asyncclick.option("--never-ran", is_flag=True, help="Its program never ran, and never will.")
@asyncclick.option("--ended", is_flag=True, help="Its program has ended, or its machine is gone for good.")
def resolve_attempt(
    job_id: str, database_url: str | None, suppliers_path: Path | None, never_ran: bool, ended: bool
) -> int:
    """End the attempt of a job whose phase is `unknown`.

    The attempt counts as lost and is free, and the job goes elsewhere; one that was to be cancelled ends, and costs
    what it did at its last proof of life. Be sure: if its program still runs somewhere, it will run twice. The
    operator's ledger records it.
    """
    if never_ran == ended:
        raise asyncclick.UsageError("say one of the two: --never-ran or --ended")
    url = database_url or os.environ.get(DATABASE_VARIABLE)
    if not url:
        raise Misconfigured(f"no database: give --db URL, or set {DATABASE_VARIABLE}")
    file = named_suppliers(suppliers_path)
    catalogue = default_catalogue() if file is None else Catalogue(file)
    try:
        database = Database(url)
    except (UnusableDatabase, ValueError) as exc:
        raise Misconfigured(str(exc)) from exc
    try:
        accepted = AcceptedSuppliers(database).sha256()
        if accepted not in (None, catalogue.sha256):
            raise Misconfigured(
                "these are not the suppliers that were accepted for this database, whose prices count: give "
                f"--suppliers FILE, or set {SUPPLIERS_VARIABLE}"
            )
        now = ClockWatch(database).clock.now()

        def step_of(claim: Claim) -> Step:
            ending = next_steps.ending_of(claim, now, Terms(start_deadline_seconds=None))
            return next_steps.given_up(claim, ending, now)

        job = resolve(database, catalogue, job_id, never_ran=never_ran, step_of=step_of, now=now)
    except UnknownJob as exc:
        raise Misconfigured(f"there is no job {job_id}") from exc
    except (NotUnknown, DatabaseUnavailable) as exc:
        raise Misconfigured(str(exc)) from exc
    finally:
        database.close()
    asyncclick.echo(f"job {job.id} is {job.status}")
    return OK
