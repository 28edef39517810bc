"""`nodus cancel`: end a job."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..invocation import Invocation
from ..jobs import show_job
from ..options import json_option
from ..shell import shell_line


@asyncclick.command("cancel")
@asyncclick.argument("job_id", metavar="ID")
@json_option
@asyncclick.pass_obj
async def command(invocation: Invocation, /, job_id: str, as_json: bool) -> int:
    """Cancel a job.

    A running job is cancelled once its supplier confirms, usually within 10 s. A job that is over is left as it is.
    """
    async with invocation.client() as client:
        job = await client.job(job_id).cancel()
        show_job(invocation.output, job.view, as_json=as_json)
        if not job.is_terminal:
            wait = shell_line("nodus", "wait", job.id)
            invocation.output.note(f"The supplier has yet to confirm. To wait for that: {wait}")
        return exit_codes.OK
