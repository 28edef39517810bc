"""`list`: the keys, and what they have spent this month. No key or secret can be shown again."""

from __future__ import annotations

import argparse
from typing import Any

from nodus_core.money import usd
from nodus_core.rate_limits import rate_limit_text
from nodus_core.times import timestamp

from ..errors import BudgetFigures
from ..keys.keys import KeyRecord
from . import values
from .exit_codes import OK
from .opening import add_common_options, existing_keys
from .printing import money, print_json, print_table

_HEADING = ("key_id", "customer_id", "label", "principal_kind", "signs", "monthly_cap", "month_to_date", "state")


def add(commands: Any) -> None:
    """Declare the command."""
    command: argparse.ArgumentParser = commands.add_parser(
        "list", help="list the keys", description="List the keys, revoked ones too, with what they spent this month."
    )
    command.add_argument("--customer-id", type=values.name, metavar="ID", help="only this customer's")
    add_common_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    with existing_keys(options) as opened:
        found = [(key, opened.keys.budget(key.id, opened.now)) for key in opened.keys.all(options.customer_id)]
        now = opened.now
    if options.json:
        print_json({"keys": [_document(key, month) for key, month in found]})
    else:
        print_table([_HEADING, *(_row(key, month, now) for key, month in found)])
    return OK


def _row(key: KeyRecord, month: BudgetFigures, now: int) -> tuple[str, ...]:
    state = _state(key, now)
    return (
        key.id,
        key.customer_id,
        key.label or "-",
        key.principal_kind,
        "yes" if key.signing_required else "no",
        money(key.monthly_cap),
        money(month.month_to_date),
        f"test, {state}" if key.is_test else state,
    )


def _state(key: KeyRecord, now: int) -> str:
    if key.revoked_at is not None:
        return f"revoked {timestamp(key.revoked_at)}"
    if key.expires_at is None:
        return "live"
    return f"{'expired' if key.has_expired(now) else 'live until'} {timestamp(key.expires_at)}"


def _document(key: KeyRecord, month: BudgetFigures) -> dict[str, Any]:
    return {
        "key_id": key.id,
        "customer_id": key.customer_id,
        "label": key.label,
        "principal_kind": key.principal_kind,
        "test": key.is_test,
        "signing_required": key.signing_required,
        "monthly_cap_usd": None if key.monthly_cap is None else usd(key.monthly_cap),
        "threshold": key.threshold,
        "month_to_date_usd": usd(month.month_to_date),
        "created_at": timestamp(key.created_at),
        "revoked_at": None if key.revoked_at is None else timestamp(key.revoked_at),
        "expires_at": None if key.expires_at is None else timestamp(key.expires_at),
        "rate_limit": None if key.rate_limit is None else rate_limit_text(key.rate_limit.value),
    }
