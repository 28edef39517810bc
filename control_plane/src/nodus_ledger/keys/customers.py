"""Customers: who they are in Stripe. Several may be one there."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, text, update

from ..database.database import Database
from ..database.schema import customers
from ..errors import Refused
from ..trust.log import Entry
from ..trust.meter_entries import stripe_customer_set

_LOCKED = select(customers.c.stripe_customer).where(customers.c.customer_id == bindparam("customer")).with_for_update()
_NEW = text("INSERT INTO customers (customer_id) VALUES (:customer) ON CONFLICT DO NOTHING")
_SET = update(customers).where(customers.c.customer_id == bindparam("customer"))


class OtherStripeCustomer(Refused):
    """This customer is another in Stripe already.

    Attributes:
        present: who it is there.
    """

    def __init__(self, customer_id: str, present: str) -> None:
        super().__init__(f"customer {customer_id} is {present} in Stripe: `set-stripe-customer` changes that")
        self.present = present


def set_stripe_customer(
    connection: Connection, customer_id: str, stripe_customer: str, now: int, *, replace: bool
) -> list[Entry]:
    """Say who a customer is in Stripe, inside the caller's transaction; return the rows to append at its end.

    What was already sent, or may have been, stays with who it was sent for.

    Raises:
        OtherStripeCustomer: it is another there already, and `replace` is false.
    """
    connection.execute(_NEW, {"customer": customer_id})
    present: str | None = connection.execute(_LOCKED, {"customer": customer_id}).scalar_one()
    if present == stripe_customer:
        return []
    if present is not None and not replace:
        raise OtherStripeCustomer(customer_id, present)
    connection.execute(
        _SET.values(stripe_customer=stripe_customer, meter_next_at=0, meter_tries=0), {"customer": customer_id}
    )
    return [stripe_customer_set(customer_id, now, stripe_customer, present)]


def stripe_customer_of(database: Database, customer_id: str) -> str | None:
    """Return who a customer is in Stripe; None where nobody has said it."""
    query = select(customers.c.stripe_customer).where(customers.c.customer_id == customer_id)
    with database.read() as connection:
        found: str | None = connection.execute(query).scalar()
    return found
