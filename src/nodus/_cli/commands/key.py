"""`nodus key`: the calling key and its budget."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..facts import show_facts
from ..invocation import Invocation
from ..jobs import dollars, local_time
from ..options import json_option


@asyncclick.command("key")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, as_json: bool) -> int:
    """Show the calling key and what is left of its budget.

    The key itself is never shown.
    """
    async with invocation.client() as client:
        key = await client.key()
    if as_json:
        invocation.output.json_text(key.model_dump_json())
        return exit_codes.OK
    cap = key.monthly_spend_cap_usd
    show_facts(
        invocation.output,
        [
            ("id", key.id),
            ("label", key.label),
            ("principal", None if key.principal_kind is None else key.principal_kind.value),
            ("signing", "required" if key.signing_required else "not required"),
            ("monthly cap", "none" if cap is None else dollars(cap)),
            *(
                (name, None if amount is None else dollars(amount))
                for name, amount in (
                    ("month to date", key.month_to_date_usd),
                    ("realised", key.realised_usd),
                    ("in flight", key.in_flight_usd),
                    ("headroom", key.headroom_usd),
                )
            ),
            ("resets", None if key.resets_at is None else local_time(key.resets_at)),
        ],
    )
    return exit_codes.OK
