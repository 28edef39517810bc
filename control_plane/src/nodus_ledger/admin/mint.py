"""`mint`: make an API key, and show it and its signing secret once."""

from __future__ import annotations

import argparse
from typing import Any

from nodus_core.money import usd
from nodus_core.rate_limits import rate_limit_text
from nodus_core.times import timestamp

from ..keys.keys import PrincipalKind
from . import values
from .exit_codes import OK
from .opening import add_common_options, new_or_existing_keys
from .printing import SHOWN_ONCE, money, print_facts, print_json


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "mint",
        help="make an API key",
        description="Make an API key. The key and its signing secret are shown only here: the database holds only "
        "the key's hash. A SQLite file that does not exist yet is created.",
    )
    command.add_argument(
        "--customer-id", required=True, type=values.customer, metavar="ID", help="the customer whose key it is"
    )
    command.add_argument(
        "--kind",
        required=True,
        choices=[kind.value for kind in PrincipalKind],
        help="who will use it; recorded in ledger rows, webhooks and meter events",
    )
    command.add_argument("--label", default="", type=values.label, metavar="TEXT", help="a name for the key")
    command.add_argument(
        "--monthly-cap-usd",
        type=values.cap,
        metavar="N",
        help="how much it may spend per calendar month, in US dollars; no cap by default",
    )
    command.add_argument(
        "--threshold",
        type=values.fraction,
        metavar="F",
        help="the fraction of the cap at which budget.threshold_reached fires; by default the control plane's, 0.8",
    )
    command.add_argument(
        "--signing-required",
        action="store_true",
        help="create a signing secret, and refuse requests that are not signed with it",
    )
    command.add_argument(
        "--rate-limit",
        type=values.rate_limit,
        metavar="N/s[:BURST]|off",
        help="how many requests a second it may send, and how many at once; by default the control plane's, 50/s:200",
    )
    command.add_argument(
        "--expires",
        type=values.moment,
        metavar="TIME",
        help="when it ends, such as 2027-01-01 or 2027-01-01T12:00:00Z; never by default",
    )
    command.add_argument(
        "--stripe-customer",
        type=values.stripe_customer,
        metavar="cus_…",
        help="who the customer is in Stripe, where its spend is metered; refused if it is another there already",
    )
    command.add_argument("--test", action="store_true", help="make a key for simulations only: nk_test_…")
    add_common_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with new_or_existing_keys(options) as opened:
        minted = opened.keys.mint(
            customer_id=options.customer_id,
            label=options.label,
            principal_kind=PrincipalKind(options.kind),
            now=opened.now,
            monthly_cap=options.monthly_cap_usd,
            signing_required=options.signing_required,
            is_test=options.test,
            threshold=options.threshold,
            rate_limit=options.rate_limit,
            expires_at=options.expires,
            stripe_customer=options.stripe_customer,
        )
    cap = options.monthly_cap_usd
    if options.json:
        print_json(
            {
                "api_key": minted.api_key,
                "signing_secret": minted.signing_secret,
                "key_id": minted.id,
                "customer_id": options.customer_id,
                "label": options.label,
                "principal_kind": options.kind,
                "test": options.test,
                "signing_required": options.signing_required,
                "monthly_cap_usd": None if cap is None else usd(cap),
                "threshold": options.threshold,
                "rate_limit": None if options.rate_limit is None else rate_limit_text(options.rate_limit.value),
                "expires_at": None if options.expires is None else timestamp(options.expires),
                "stripe_customer": options.stripe_customer,
            }
        )
        return OK
    secret = {} if minted.signing_secret is None else {"signing_secret": minted.signing_secret + SHOWN_ONCE}
    print_facts(
        {
            "api_key": minted.api_key,
            **secret,
            "key_id": minted.id,
            "principal_kind": options.kind,
            "monthly_cap": money(cap),
            **({} if options.expires is None else {"expires_at": timestamp(options.expires)}),
            **({} if options.stripe_customer is None else {"stripe_customer": options.stripe_customer}),
        }
    )
    return OK
