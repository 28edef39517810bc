"""`nodus logs`: what a job printed."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..invocation import Invocation
from ..options import json_option


@asyncclick.command("logs")
@asyncclick.argument("job_id", metavar="ID")
@asyncclick.option("--follow", "-f", is_flag=True, help="Keep printing, until the job is over.")
@asyncclick.option("--raw", is_flag=True, help="Print the output unchanged on a terminal too, which then obeys it.")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, job_id: str, follow: bool, raw: bool, as_json: bool) -> int:
    """Print a job's output, or follow it.

    Into a file or a pipe, the output is written unchanged. On a terminal, colours pass, and other characters that would
    control the terminal are shown as escapes, unless --raw is given.

    With --follow, a dropped connection is reopened where it left off. With --follow and --json, each piece of output is
    an object of its own.
    """
    output = invocation.output

    def write(text: str) -> None:
        if as_json:
            output.json({"job_id": job_id, "text": text})
        else:
            output.program_text(text, raw=raw)

    try:
        async with invocation.client() as client:
            if not follow:
                write(await client.logs(job_id))
                return exit_codes.OK
            invocation.underway.job_id = job_id
            async with client.logs(job_id, follow=True) as pieces:
                async for text in pieces:
                    write(text)
                    if output.reader_gone:
                        break
    finally:
        output.end_program_text()
    return exit_codes.OK
