"""`nodus health`: a smoke test for deployments."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option


@asyncclick.command("health")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, as_json: bool) -> int:
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
