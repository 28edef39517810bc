"""Which suppliers can run a job at all: not every one runs everything, nor for everybody.

A supplier that keeps the jobs of several customers no better apart than those of one takes one customer only: that of
the first job that is placed there. A job is never placed elsewhere than where it can run, and a submission that nobody
here can ever run is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, delete, select, text

from nodus_core.catalogue import Offer

from ..database.prepared import Prepared
from ..database.schema import owners
from ..errors import CannotRun

WhyNot = Callable[[str, bool], "str | None"]
"""Says why a supplier can never run an image, with a command or without one; None if it can. A sentence."""

ANOTHERS = (
    "The supplier does not isolate customers from each other, and belongs to another one: use another supplier, or ask "
    "the operator."
)

_OWNERS = Prepared(select(owners.c.supplier, owners.c.customer_id))
_OWNER = select(owners.c.customer_id).where(owners.c.supplier == bindparam("of_supplier"))
_TAKE = text("INSERT INTO owners (supplier, customer_id) VALUES (:supplier, :customer_id) ON CONFLICT DO NOTHING")


@dataclass(frozen=True, slots=True)
class Admission:
    """Which suppliers can run what, and for whom.

    Attributes:
        why_not: of the suppliers that do not run everything, what they can never run.
        one_customer: the suppliers that take one customer only.
    """

    why_not: Mapping[str, WhyNot] = field(default_factory=dict)
    one_customer: frozenset[str] = frozenset()

    def owners(self, connection: Connection) -> dict[str, str]:
        """Return whose the suppliers are that take one customer; those that have not taken any are left out."""
        if not self.one_customer:
            return {}
        found = _OWNERS.all(connection, {})
        return {supplier: customer for supplier, customer in found if supplier in self.one_customer}

    def unable(self, image: str, *, has_command: bool | None) -> tuple[str, ...]:
        """Return the suppliers that can never run a job, in the order of their names.

        Of a job from before it was recorded whether it has a command (None), its suppliers find out.
        """
        return tuple(
            sorted(
                name for name, why_not in self.why_not.items() if why_not(image, has_command is not False) is not None
            )
        )

    def require(
        self,
        offers: Sequence[Offer],
        owners: Mapping[str, str],
        customer_id: str,
        image: str,
        *,
        has_command: bool,
    ) -> frozenset[str]:
        """Return which suppliers cannot run a submission. `offers` are those that it would have, and there is one.

        Raises:
            CannotRun: none of them can; the message says why of each.
        """
        reasons: dict[str, str] = dict.fromkeys(anothers(owners, customer_id), ANOTHERS)
        for name, why_not in self.why_not.items():
            if (reason := why_not(image, has_command)) is not None:
                reasons[name] = reason
        if all(offer.supplier in reasons for offer in offers):
            raise CannotRun(" ".join(dict.fromkeys(reasons[offer.supplier] for offer in offers)))
        return frozenset(reasons)


def anothers(owners: Mapping[str, str], customer_id: str) -> frozenset[str]:
    """Return the suppliers that belong to another customer than this one."""
    return frozenset(supplier for supplier, owner in owners.items() if owner != customer_id)


def take(connection: Connection, supplier: str, customer_id: str) -> str:
    """Give a supplier to a customer, unless it is somebody's; return whose it is then.

    Of two who take it at the same time, one waits here until the other's transaction has ended.
    """
    connection.execute(_TAKE, {"supplier": supplier, "customer_id": customer_id})
    owner: str = connection.execute(_OWNER, {"of_supplier": supplier}).scalar_one()
    return owner


def owner_of(connection: Connection, supplier: str) -> str | None:
    """Return the customer to whom a supplier belongs; None where it is nobody's."""
    found: str | None = connection.execute(_OWNER, {"of_supplier": supplier}).scalar()
    return found


def forget_owners(connection: Connection) -> None:
    """Leave every supplier to whoever comes next: for a control plane that was emptied."""
    connection.execute(delete(owners))
