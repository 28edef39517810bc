"""`nodus get`: one job, now or once it is over."""

from __future__ import annotations

import asyncclick

from .. import exit_codes
from ..invocation import Invocation
from ..jobs import show_job
from ..options import cancel_on_interrupt_option, json_option, poll_option, require_wait, timeout_option, wait_option
from ..waiting import Watching, watch


@asyncclick.command("get")
@asyncclick.argument("job_id", metavar="ID")
@wait_option
@timeout_option
@poll_option
@cancel_on_interrupt_option
@json_option
@asyncclick.pass_obj
async def command(
    invocation: Invocation,
    /,
    job_id: str,
    wait: bool,
    timeout: float | None,
    poll_seconds: float | None,
    cancel_on_interrupt: bool,
    as_json: bool,
) -> int:
    """Show one job.

    Without --wait, the exit status is 0 whatever the job's status.
    """
    require_wait(asyncclick.get_current_context())
    async with invocation.client() as client:
        job = await client.get(job_id)
        if wait:
            return await watch(invocation, client, job, Watching(timeout, poll_seconds, cancel_on_interrupt, as_json))
        show_job(invocation.output, job.view, as_json=as_json)
        return exit_codes.OK
