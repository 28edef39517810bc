"""`nodus key`, `health`, `doctor` and `completion`: whether this machine and its key are set up as they should be."""

from __future__ import annotations

import asyncclick

from ..._money import dollars
from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option
from ..output import local_time, show_facts

SHELLS = ("bash", "zsh", "fish")


@asyncclick.command("key")
@json_option
@asyncclick.pass_obj
async def key_command(invocation: Invocation, /, as_json: bool) -> int:
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


@asyncclick.command("health")
@json_option
@asyncclick.pass_obj
async def health_command(invocation: Invocation, /, as_json: bool) -> int:
    """Check that the control plane is up."""
    async with invocation.client() as client:
        health = await client.healthz()
    if as_json:
        invocation.output.json(health)
    else:
        invocation.output.data(" ".join(str(health[name]) for name in ("status", "version") if name in health))
    if health.get("status", "ok") != "ok":
        invocation.fail("unhealthy", "The control plane answered, but reports a problem: ask its operator.")
        return exit_codes.API_ERROR
    return exit_codes.OK


@asyncclick.command("doctor")
@json_option
@asyncclick.pass_obj
async def doctor_command(invocation: Invocation, /, as_json: bool) -> int:
    """Check settings, network, key and clock, and say what to fix.

    The exit status is that of the first check that failed: 3 for settings and key, 8 for the network, 9 for a clock
    that is too far off to sign.
    """
    from ..diagnosis import diagnose

    return await diagnose(invocation, as_json=as_json)


@asyncclick.command("completion")
@asyncclick.argument("shell", type=asyncclick.Choice(SHELLS))
@json_option
@asyncclick.pass_obj
def completion_command(invocation: Invocation, /, shell: str, as_json: bool) -> int:
    """Print a completion script for your shell.

    \b
    bash:  nodus completion bash >> ~/.bashrc
    zsh:   nodus completion zsh >> ~/.zshrc
    fish:  nodus completion fish > ~/.config/fish/completions/nodus.fish
    """
    from asyncclick.shell_completion import BashComplete, FishComplete, ZshComplete

    from ..program import PROGRAM_NAME, program

    complete = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    script = complete(program, {}, PROGRAM_NAME, f"_{PROGRAM_NAME.upper()}_COMPLETE").source().strip()
    if as_json:
        invocation.output.json({"shell": shell, "script": script})
    else:
        invocation.output.lines(script)
    return exit_codes.OK
