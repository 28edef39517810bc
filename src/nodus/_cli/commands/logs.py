"""`nodus logs`: what a job printed."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option


@asyncclick.command("logs")
@asyncclick.argument("job_id", metavar="ID")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, job_id: str, as_json: bool) -> int:
    """Print what a job has printed so far."""
    async with invocation.client() as client:
        text = await client.job(job_id).logs()
    if as_json:
        invocation.output.json({"job_id": job_id, "text": text})
    else:
        invocation.output.raw(text)
    return exit_codes.OK
