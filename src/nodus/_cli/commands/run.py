"""`nodus run`: submit a job, and watch it if asked to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import asyncclick

from ..._enums import GpuType, SupplierKind
from ..._errors import NotFoundError
from ..._fields import JOB
from .. import exit_codes
from ..invocation import Invocation
from ..jobs import show_job
from ..options import (
    cancel_on_interrupt_option,
    completing,
    field_options,
    json_option,
    poll_option,
    read_labels,
    require_wait,
    timeout_option,
    wait_option,
)
from ..submission import EnvironmentValueError, Submission, collect_variables
from ..terminal import shell_line
from ..waiting import WaitOptions, cancel_submission, watch

if TYPE_CHECKING:
    from ..._async.client import AsyncClient

ARGUMENTS_HINT = "The job's own program and arguments go after `--`: nodus run [OPTIONS] -- python train.py --epochs 10"


class RunCommand(asyncclick.Command):
    """A command whose arguments after `--` are the job's; there may be none before it."""

    async def parse_args(self, ctx: asyncclick.Context, args: list[str]) -> list[str]:
        after = args[args.index("--") + 1 :] if "--" in args else []
        try:
            rest = await super().parse_args(ctx, args)
        except asyncclick.NoSuchOption as exc:
            raise asyncclick.UsageError(f"{exc.format_message()} {ARGUMENTS_HINT}", ctx) from exc
        if not ctx.resilient_parsing and list(ctx.params["argv"]) != after:
            ctx.fail(ARGUMENTS_HINT)
        return rest

    def collect_usage_pieces(self, ctx: asyncclick.Context) -> list[str]:
        return ["[OPTIONS]", "[-- PROGRAM [ARGS]...]"]


SPECIAL_OPTIONS = {
    "command": [],  # what follows `--`
    "gpu": [
        asyncclick.option(
            "--gpu",
            default=GpuType(JOB.defaults["gpu"]).value,
            show_default=True,
            shell_complete=completing(lambda: [kind.value for kind in GpuType]),
            help=f"GPU model: {', '.join(kind.value for kind in GpuType)}, or another that `nodus offers` lists.",
        )
    ],
    "env": [
        asyncclick.option(
            "--env",
            multiple=True,
            metavar="NAME[=VALUE]",
            help="Set an environment variable in the container. NAME alone copies its value from your environment: "
            "better for secrets, because command lines show up in process lists. Repeatable.",
        ),
        asyncclick.option(
            "--env-file",
            multiple=True,
            metavar="PATH",
            help="Read variables from a file, one NAME=VALUE or NAME per line; lines that start with # are comments, "
            "and quotes are kept. --env takes precedence. Repeatable.",
        ),
    ],
    "require_tiers": [
        asyncclick.option(
            "--require-tier",
            "require_tiers",
            multiple=True,
            metavar="KIND",
            shell_complete=completing(lambda: [kind.value for kind in SupplierKind]),
            help=f"Use only suppliers of this class: {', '.join(kind.value for kind in SupplierKind)}. Repeatable.",
        )
    ],
    "labels": [
        asyncclick.option(
            "--label",
            "labels",
            multiple=True,
            metavar="KEY=VALUE",
            help="What to find the job and its cost by; KEY alone has an empty value. Repeatable, up to 16 times.",
        )
    ],
    "queue_timeout_seconds": [
        asyncclick.option(
            "--queue-timeout-seconds",
            "--queue-timeout",
            "queue_timeout_seconds",
            type=int,
            metavar="SECONDS",
            help="Fail the job if it does not run so long after its submission or last loss. By default, it waits.",
        )
    ],
    "idempotency_key": [
        asyncclick.option(
            "--idempotency-key",
            metavar="KEY",
            help="Submitting the same key twice returns the first job. By default, a new key.",
        )
    ],
}


@asyncclick.command("run", cls=RunCommand)
@field_options(JOB, SPECIAL_OPTIONS)
@wait_option
@timeout_option
@poll_option
@cancel_on_interrupt_option
@asyncclick.option(
    "--dry-run",
    is_flag=True,
    help="Submit nothing: print the request that would be sent, with secrets hidden, and its quote.",
)
@json_option
@asyncclick.argument("argv", nargs=-1, type=asyncclick.UNPROCESSED)
@asyncclick.pass_obj
async def run_command(
    invocation: Invocation,
    /,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    idempotency_key: str | None,
    wait: bool,
    timeout: float | None,
    poll_seconds: float | None,
    cancel_on_interrupt: bool,
    dry_run: bool,
    as_json: bool,
    argv: tuple[str, ...],
    **plain: Any,
) -> int:
    """Submit a job.

    Prints the job's id. What follows `--` is the program to run instead of the image's own.

    With --wait, prints the job's final state, and exits with status 0 only if it completed. Ctrl-C then ends the
    waiting, not the job.
    """
    from ... import _arguments

    require_wait(asyncclick.get_current_context())
    if dry_run and wait:
        raise asyncclick.UsageError("--dry-run submits nothing that --wait could wait for.")
    described = described_job(plain, argv, env, env_file)
    key = _arguments.new_idempotency_key() if idempotency_key is None else _arguments.idempotency_key(idempotency_key)
    fields = {**described, "idempotency_key": key}
    wait_options = WaitOptions(timeout, poll_seconds, cancel_on_interrupt, as_json)
    output, pending = invocation.output, invocation.pending
    async with invocation.client() as client:
        submission = Submission({**fields, "gpu": await gpu_model(client, plain["gpu"])}, env, env_file)
        if dry_run:
            from ..quoting import show_dry_run

            await show_dry_run(output, client, submission.fields, as_json=as_json)
            return exit_codes.OK
        pending.begin(key, submission.rerun(*wait_options.options(wait=wait)))
        if cancel_on_interrupt:
            pending.cancel = lambda: cancel_submission(client, submission, pending)
        job = await submission.submit(client)
        pending.job_id = job.id
        note = "was submitted before, with this idempotency key" if job.replayed else "submitted"
        if wait:
            output.note(f"Job {job.id} {note}.")
            return await watch(invocation, client, job, wait_options)
        if as_json:
            show_job(output, job.view, as_json=True)
        else:
            output.data(job.id)
        output.note(f"Job {note}. To watch it: {shell_line('nodus', 'wait', job.id)}")
        return exit_codes.OK


def described_job(
    options: Mapping[str, Any], argv: tuple[str, ...], env: tuple[str, ...], env_file: tuple[str, ...]
) -> dict[str, Any]:
    """Return the fields of the job that the options describe, but for its GPU model as it was typed.

    Args:
        options: all others, by the name of their field.
        argv: what follows `--`.
        env: `--env` as given.
        env_file: `--env-file` as given.

    Raises:
        asyncclick.UsageError: one of them cannot be understood.
    """
    return {
        **options,
        "command": argv or None,
        "env": read_variables(env, env_file) or None,
        "require_tiers": options["require_tiers"] or None,
        "labels": read_labels(options["labels"], without_value=""),
    }


def read_variables(env: tuple[str, ...], env_file: tuple[str, ...]) -> dict[str, str]:
    """Return the variables of the container, from `--env` and `--env-file`.

    Raises:
        UsageError: one cannot be used.
    """
    try:
        return collect_variables(env, env_file, os.environ)
    except EnvironmentValueError as exc:
        raise asyncclick.UsageError(str(exc)) from exc


async def gpu_model(client: AsyncClient, gpu: str) -> GpuType | str:
    """Return a GPU model that this version does not know as one to be sent, if somebody offers it."""
    from ... import _arguments

    model = GpuType(gpu)
    if model.is_known or not _arguments.is_gpu_model(gpu):
        return gpu
    try:
        is_offered = bool(await client.offers(gpu=gpu))
    except NotFoundError:
        return gpu  # an older server, which has the models that this version knows
    return model if is_offered else gpu
