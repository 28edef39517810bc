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
from ..database.rows import JobRecord
from ..database.schema import owners
from ..database.sealing import Sealer, UnusableKey
from ..errors import CannotRun
from .job_secrets import open_secrets


@dataclass(frozen=True, slots=True)
class Program:
    """What a job runs. `command` (None for the image's own) and `env` hold secrets, and stay out of the `repr`."""

    image: str
    command: tuple[str, ...] | None = field(repr=False)
    env: Mapping[str, str] = field(repr=False)


WhyNot = Callable[[Program], "str | None"]
"""Says why a supplier can never run a program; None if it can. It quotes nothing that may be secret."""

ANOTHERS = (
    "The supplier does not isolate customers from each other, and belongs to another one: use another supplier, or ask "
    "the operator."
)

_OWNERS = Prepared(select(owners.c.supplier, owners.c.customer_id))
_KEPT_OWNERS = Prepared(select(owners.c.supplier, owners.c.customer_id).with_for_update(read=True))
_OWNER = select(owners.c.customer_id).where(owners.c.supplier == bindparam("of_supplier"))
_TAKE = text("INSERT INTO owners (supplier, customer_id) VALUES (:supplier, :customer_id) ON CONFLICT DO NOTHING")


@dataclass(frozen=True, slots=True)
class SupplierEligibility:
    """Which suppliers can run what, and for whom.

    Attributes:
        why_not: of the suppliers that do not run everything, what they can never run.
        one_customer: the suppliers that take one customer only.
        sealer: what opens the commands and environments of jobs that were submitted before; needed with `why_not`.
    """

    why_not: Mapping[str, WhyNot] = field(default_factory=dict)
    one_customer: frozenset[str] = frozenset()
    sealer: Sealer | None = None

    def owners(self, connection: Connection, *, keep: bool = False) -> dict[str, str]:
        """Return whose the suppliers are that take one customer; those that have not taken any are left out.

        With `keep` they stay theirs until the caller's transaction ends: for whoever places jobs there.
        """
        if not self.one_customer:
            return {}
        found = (_KEPT_OWNERS if keep else _OWNERS).all(connection, {})
        return {supplier: customer for supplier, customer in found if supplier in self.one_customer}

    def unable(self, program: Program) -> tuple[str, ...]:
        """Return the suppliers that can never run a program, in the order of their names."""
        return tuple(sorted(self._reasons(program)))

    def unable_of(self, job: JobRecord) -> tuple[str, ...]:
        """Return the suppliers that can never run a job that was submitted before, in the order of their names.

        Of one whose command and environment cannot be opened, the supplier that it is placed at finds out.
        """
        if not self.why_not or self.sealer is None:
            return ()
        try:
            opened = open_secrets(self.sealer, job)
        except UnusableKey:
            return ()
        return self.unable(Program(job.image, opened.command, opened.env))

    def require(
        self,
        offers: Sequence[Offer],
        owners: Mapping[str, str],
        customer_id: str,
        program: Program,
    ) -> frozenset[str]:
        """Return which suppliers cannot run a submission. `offers` are those that it would have, and there is one.

        Raises:
            CannotRun: none of them can; the message names each, and says why.
        """
        reasons = {**dict.fromkeys(anothers(owners, customer_id), ANOTHERS), **self._reasons(program)}
        if all(offer.supplier in reasons for offer in offers):
            names = dict.fromkeys(offer.supplier for offer in offers)
            raise CannotRun(" ".join(f"{name}: {_sentence(reasons[name])}" for name in names))
        return frozenset(reasons)

    def _reasons(self, program: Program) -> dict[str, str]:
        found = {name: why_not(program) for name, why_not in self.why_not.items()}
        return {name: reason for name, reason in found.items() if reason is not None}


def anothers(owners: Mapping[str, str], customer_id: str) -> frozenset[str]:
    """Return the suppliers that belong to another customer than this one."""
    return frozenset(supplier for supplier, owner in owners.items() if owner != customer_id)


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


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
