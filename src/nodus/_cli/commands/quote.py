"""`nodus quote`: the price first."""

from __future__ import annotations

from typing import Any

import asyncclick

from ..._fields import JOB
from .. import exit_codes
from ..invocation import Invocation
from ..options import field_options, json_option
from ..quoting import show_quote
from .run import SPECIAL_OPTIONS, RunCommand, described_job, gpu_model


@asyncclick.command("quote", cls=RunCommand)
@field_options(JOB, SPECIAL_OPTIONS)
@json_option
@asyncclick.argument("argv", nargs=-1, type=asyncclick.UNPROCESSED)
@asyncclick.pass_obj
async def quote_command(
    invocation: Invocation,
    /,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    as_json: bool,
    argv: tuple[str, ...],
    **plain: Any,
) -> int:
    """Ask where a job would go, and what it can cost at most.

    Takes the options of `nodus run` that describe the job. Submits and reserves nothing, and promises nothing: only
    --max-cost-usd binds. A job that does not fit the budget is no error here; the quote says what would fit.
    """
    described = described_job(plain, argv, env, env_file)
    async with invocation.client() as client:
        fields: dict[str, Any] = {**described, "gpu": await gpu_model(client, plain["gpu"])}
        quote = await client.quote(**fields)
    show_quote(invocation.output, quote, as_json=as_json)
    return exit_codes.OK
