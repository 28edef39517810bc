"""`nodus run`: submit a job, and watch it if asked to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import asyncclick
from asyncclick.core import ParameterSource

from ..._enums import GpuType, SupplierKind
from ..._fields import JOB
from .. import exit_codes
from ..invocation import Invocation
from ..jobs import show_job
from ..label_completion import complete_label
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
from ..submission import EnvironmentValueError, Submission, collect_variables, gpu_model
from ..terminal import shell_line
from ..waiting import WaitOptions, cancel_submission, watch

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
    "image": [
        asyncclick.option("--image", help=f"{JOB.meaning('image').replace('`', '')} Required, unless --file has it.")
    ],
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
            shell_complete=complete_label,
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


def file_option(command: Any) -> Any:
    """`--file`: several jobs at once."""
    return asyncclick.option(
        "--file",
        "-f",
        type=asyncclick.Path(),
        metavar="PATH",
        help="Read the fields of the job from a TOML file, or from stdin (-). With lists in its [matrix], each "
        "combination of their values is a job. Options take precedence; variables and labels are added to those of the "
        "file.",
    )(command)


@asyncclick.command("run", cls=RunCommand)
@file_option
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
    file: str | None,
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

    With --file, submits all jobs of the file, each accepted or refused by itself, and prints the id of each; with
    --json, an object for each in order: the job, or the error. The exit status is that of the first that was refused.
    With --wait, prints the jobs as they end, as `nodus wait` does, and what they cost together. The idempotency key of
    each job comes from --idempotency-key and the job's values: run again with the same key, the command finds the jobs
    that it has submitted, and submits the others.
    """
    from ... import _arguments

    context = asyncclick.get_current_context()
    require_wait(context)
    if dry_run and wait:
        raise asyncclick.UsageError("--dry-run submits nothing that --wait could wait for.")
    described = described_job(plain, argv, env, env_file)
    wait_options = WaitOptions(timeout, poll_seconds, cancel_on_interrupt, as_json)
    if file is not None:
        from ..sweep_runs import load_sweep, run_sweep, show_sweep

        options = typed_options(context, {**described, "idempotency_key": idempotency_key})
        sweep = load_sweep(file, options, invocation.output)
        if dry_run:
            show_sweep(invocation.output, sweep.jobs, as_json=as_json)
            return exit_codes.OK
        return await run_sweep(
            invocation, sweep, Submission(sweep.options, env, env_file, file), wait_options, wait=wait
        )
    require_image(context)
    key = _arguments.new_idempotency_key() if idempotency_key is None else _arguments.idempotency_key(idempotency_key)
    fields = {**described, "idempotency_key": key}
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


def require_image(context: asyncclick.Context) -> None:
    """Refuse a job without an image.

    Raises:
        UsageError: it has none.
    """
    if context.params["image"] is None:
        option = next(each for each in context.command.params if each.name == "image")
        raise asyncclick.MissingParameter(ctx=context, param=option)


def typed_options(context: asyncclick.Context, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed of a job: None for fields that only have their defaults."""
    return {
        name: None
        if JOB.defaults.get(name) is not None and context.get_parameter_source(name) is ParameterSource.DEFAULT
        else described.get(name)
        for name in JOB.names
    }


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
