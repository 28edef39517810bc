"""What a control plane takes when one engine, which cannot run everything for everybody, runs all of its jobs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, text

from nodus_core.spec import JobSpec

from ..database.schema import settings
from ..errors import CannotRun

_SOLE_CUSTOMER = "sole customer"
_GET = select(settings.c.value).where(settings.c.name == bindparam("name"))
_PUT_FIRST = text("INSERT INTO settings (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING")

_COMMAND_NEEDED = "Jobs run as commands on the worker's machine here, and images are not run: give the job a `command`."
_ANOTHERS = (
    "The machine that runs the jobs here does not isolate customers from each other, and belongs to another one: "
    "use another control plane, or ask its operator."
)


@dataclass(frozen=True, slots=True)
class Admission:
    """Which jobs are taken.

    `needs_command` refuses those without one. `one_customer` leaves everything to the customer who submits first,
    because the engine keeps the jobs of several no better apart than those of one.
    """

    needs_command: bool = False
    one_customer: bool = False

    def require(self, connection: Connection, customer_id: str, spec: JobSpec) -> None:
        """Check a submission.

        Raises:
            CannotRun: nothing here can ever run it.
        """
        if self.needs_command and not spec.command:
            raise CannotRun(_COMMAND_NEEDED)
        if self.one_customer and sole_customer(connection) not in (None, customer_id):
            raise CannotRun(_ANOTHERS)

    def settle(self, connection: Connection, customer_id: str) -> None:
        """Remember whose job was taken. Of two customers who are first at the same time, one is.

        Raises:
            CannotRun: it was the other one.
        """
        if not self.one_customer:
            return
        if sole_customer(connection) is None:
            connection.execute(_PUT_FIRST, {"name": _SOLE_CUSTOMER, "value": customer_id})
        if sole_customer(connection) != customer_id:
            raise CannotRun(_ANOTHERS)


def sole_customer(connection: Connection) -> str | None:
    """Return the customer to whom the engine belongs; None before the first submission."""
    found: str | None = connection.execute(_GET, {"name": _SOLE_CUSTOMER}).scalar()
    return found


def forget_sole_customer(connection: Connection) -> None:
    """Leave the engine to whoever submits next: for a control plane that was emptied."""
    connection.execute(delete(settings).where(settings.c.name == _SOLE_CUSTOMER))
