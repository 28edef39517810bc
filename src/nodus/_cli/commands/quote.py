"""`nodus quote`: the price first."""

from __future__ import annotations

from typing import Any

import asyncclick

from ..._fields import JOB
from .. import exit_codes
from ..invocation import Invocation
from ..options import field_options, json_option
from ..quoting import show_quote
from ..submission import gpu_model
from .run import SPECIAL_OPTIONS, RunCommand, described_job, file_option, require_image, typed_options


@asyncclick.command("quote", cls=RunCommand)
@file_option
@field_options(JOB, SPECIAL_OPTIONS)
@json_option
@asyncclick.argument("argv", nargs=-1, type=asyncclick.UNPROCESSED)
@asyncclick.pass_obj
async def quote_command(
    invocation: Invocation,
    /,
    file: str | None,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    as_json: bool,
    argv: tuple[str, ...],
    **plain: Any,
) -> int:
    """Ask where a job would go, and what it can cost at most.

    Takes the options of `nodus run` that describe the job. Submits and reserves nothing, and promises nothing: only
    --max-cost-usd binds. A job that does not fit the budget is no error here; the quote says what would fit.

    With --file, says what all jobs of the file can cost together, and how many of them fit.
    """
    context = asyncclick.get_current_context()
    described = described_job(plain, argv, env, env_file)
    if file is not None:
        from ..sweep_runs import load_sweep, quote_sweep

        sweep = load_sweep(file, typed_options(context, described), invocation.output)
        return await quote_sweep(invocation, sweep, as_json=as_json)
    require_image(context)
    async with invocation.client() as client:
        fields: dict[str, Any] = {**described, "gpu": await gpu_model(client, plain["gpu"])}
        quote = await client.quote(**fields)
    show_quote(invocation.output, quote, as_json=as_json)
    return exit_codes.OK
