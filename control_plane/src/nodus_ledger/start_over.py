"""Emptying a database: everything goes but the keys, whose budgets start over."""

from __future__ import annotations

from sqlalchemy import delete, update

from .database import schema, trust_schema, webhook_schema
from .database.database import Database
from .database.settings import Settings
from .jobs import slots
from .jobs.supplier_eligibility import forget_owners
from .keys import refusals
from .trust import key_entries, origin


def start_over(database: Database) -> None:
    """Remove everything but the keys, whose budgets start over; the database begins a new history."""
    Settings(database).begin_epoch()
    with database.write() as connection:
        for table in (
            schema.jobs,
            schema.job_labels,
            schema.attempts,
            schema.events,
            schema.outages,
            schema.monthly_spend,
            schema.passes,
            schema.turns,
        ):
            connection.execute(delete(table))
        slots.clear(connection)
        connection.execute(update(schema.reservations).values(in_flight=0))
        forget_owners(connection)
        refusals.forget_all(connection)
        trust_schema.empty(connection)
        origin.rename_emptied(connection)
        webhook_schema.empty(connection)
        key_entries.record_all_again(connection)
