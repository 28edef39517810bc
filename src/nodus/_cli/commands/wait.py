"""`nodus wait`: watch a job that was submitted before."""

from __future__ import annotations

import asyncclick

from ..invocation import Invocation
from ..options import cancel_on_interrupt_option, json_option, poll_option, timeout_option
from ..waiting import Watching, watch


@asyncclick.command("wait")
@asyncclick.argument("job_id", metavar="ID")
@timeout_option
@poll_option
@cancel_on_interrupt_option
@json_option
@asyncclick.pass_obj
async def command(
    invocation: Invocation,
    /,
    job_id: str,
    timeout: float | None,
    poll_seconds: float | None,
    cancel_on_interrupt: bool,
    as_json: bool,
) -> int:
    """Wait until a job is over.

    Prints the job's final state, and exits with status 0 only if it completed. A control plane that is down for a while
    does not end the waiting, and Ctrl-C does not end the job.
    """
    async with invocation.client() as client:
        watching = Watching(timeout, poll_seconds, cancel_on_interrupt, as_json)
        return await watch(invocation, client, client.job(job_id), watching)
