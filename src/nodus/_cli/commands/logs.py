"""`nodus logs`: what a job printed."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option


@asyncclick.command("logs")
@asyncclick.argument("job_id", metavar="ID")
@asyncclick.option("--follow", "-f", is_flag=True, help="Keep printing, until the job is over.")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, job_id: str, follow: bool, as_json: bool) -> int:
    """Print a job's output, or follow it.

    With --follow, a dropped connection is reopened where it left off. With --follow and --json, each piece of output is
    an object of its own.
    """
    output = invocation.output
    async with invocation.client() as client:
        if not follow:
            _write(invocation, job_id, await client.logs(job_id), as_json=as_json)
            return exit_codes.OK
        invocation.underway.job_id = job_id
        async with client.logs(job_id, follow=True) as pieces:
            async for text in pieces:
                _write(invocation, job_id, text, as_json=as_json)
                if output.reader_gone:
                    break
    return exit_codes.OK


def _write(invocation: Invocation, job_id: str, text: str, *, as_json: bool) -> None:
    if as_json:
        invocation.output.json({"job_id": job_id, "text": text})
    else:
        invocation.output.raw(text)
