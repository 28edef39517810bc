"""`set-stripe-customer`: say who a customer is in Stripe, for what is metered from then on."""

from __future__ import annotations

import argparse
from typing import Any

from ..keys.customers import set_stripe_customer, stripe_customer_of
from ..trust.log import append_all
from . import values
from .exit_codes import OK
from .opening import add_common_options, existing_database, present
from .printing import print_facts, print_json


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "set-stripe-customer",
        help="say who a customer is in Stripe",
        description="Say who a customer is in Stripe. Meter events that have waited for it are sent from then on; what "
        "was sent already stays where it is. The operator's ledger records it.",
    )
    command.add_argument("customer_id", type=values.customer, metavar="CUSTOMER", help="the customer")
    command.add_argument("stripe_customer", type=values.stripe_customer, metavar="cus_…", help="its id in Stripe")
    add_common_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    customer_id, stripe_customer = options.customer_id, options.stripe_customer
    with existing_database(options) as database:
        now = present(database)
        previous = stripe_customer_of(database, customer_id)
        with database.write() as connection:
            entries = set_stripe_customer(connection, customer_id, stripe_customer, now, replace=True)
            if entries:
                append_all(connection, entries)
    if options.json:
        print_json({"customer_id": customer_id, "stripe_customer": stripe_customer, "previous": previous})
    else:
        print_facts({"customer_id": customer_id, "stripe_customer": stripe_customer})
    return OK
