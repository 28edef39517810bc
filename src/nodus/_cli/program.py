"""The top-level command: parses, runs the command that was called, and turns its outcome into an exit status.

Parsing needs no event loop, so help and usage errors start none; only commands that wait run on one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
from collections.abc import Sequence

import asyncclick

from .. import __version__
from .._errors import NodusError
from . import exit_codes, registry
from .groups import PreparedCommand, PreparingGroup, drive
from .invocation import Invocation
from .output import OutputLostError

PROGRAM_NAME = "nodus"

# Options that people try, and the variables to set instead: command lines show up in process lists and logs.
_SECRET_OPTIONS = {
    "--api-key": "NODUS_API_KEY",
    "--key": "NODUS_API_KEY",
    "--token": "NODUS_API_KEY",
    "--secret": "NODUS_SIGNING_SECRET, or NODUS_WEBHOOK_SECRET for webhooks",
    "--signing-secret": "NODUS_SIGNING_SECRET, or NODUS_WEBHOOK_SECRET for webhooks",
    "--webhook-secret": "NODUS_WEBHOOK_SECRET",
}


class Commands(PreparingGroup):
    """The group of all commands, including those of other distributions."""

    def list_commands(self, ctx: asyncclick.Context) -> list[str]:
        return registry.names()

    def get_command(self, ctx: asyncclick.Context, cmd_name: str) -> asyncclick.Command | None:
        return registry.load(cmd_name)

    def is_own(self, name: str) -> bool:
        return registry.is_own(name)

    def summary_of(self, name: str) -> str:
        return registry.short_help(name)


@asyncclick.group(
    name=PROGRAM_NAME,
    cls=Commands,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Credentials come from the environment: NODUS_API_KEY, NODUS_BASE_URL, NODUS_SIGNING_SECRET, "
    "NODUS_WEBHOOK_SECRET. NODUS_BACKEND chooses the event loop: asyncio or trio.",
)
@asyncclick.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def program() -> None:
    """Submit GPU jobs, follow them to their end, see what they cost."""


def run_program(arguments: Sequence[str]) -> int:
    """Parse and run a command line; return the exit status.

    Errors that a user can do something about are shown as text; anything else is a bug, and propagates.
    """
    arguments = spelled_out(arguments)
    invocation = Invocation(for_programs=wants_json(arguments))
    try:
        prepared = drive(_parse(arguments, invocation))
        status = prepared if isinstance(prepared, int) else _run(prepared, invocation)
    except asyncclick.exceptions.Exit as exc:
        status = exc.exit_code
    except asyncclick.ClickException as exc:
        status = exc.exit_code
        _explain(invocation, exc)
    except OutputLostError as exc:
        status = exit_codes.OUTPUT_LOST
        _report(invocation, "output_lost", str(exc), status)
    except NodusError as exc:
        from .failures import show_error

        status = exit_codes.of_error(exc)
        show_error(invocation.output, exc, invocation.pending.advice_after(exc))
    except (KeyboardInterrupt, asyncclick.Abort):
        status = exit_codes.INTERRUPTED
    _flush()
    return status


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the words `help` and `version`, which other programs have, as options.

    >>> spelled_out(["help", "webhooks", "listen"]), spelled_out(["version"])
    (['webhooks', 'listen', '--help'], ['--version'])
    """
    first, *rest = arguments or [""]
    if first == "help":
        return [*rest, "--help"]
    if first == "version":
        return ["--version", *rest]
    return list(arguments)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--json` is among the command's own arguments, which end at `--`.

    Asked before the command line is parsed, because a program wants to read why it cannot be.

    >>> wants_json(["run", "--json", "--", "x"]), wants_json(["run", "--", "x", "--json"])
    (True, False)
    """
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own


def _run(prepared: PreparedCommand, invocation: Invocation) -> int:
    """Run a command; say why, for programs, if it returned a status that needs a reason."""
    status = prepared.run(invocation)
    if prepared.own and invocation.output.for_programs and status not in exit_codes.WITHOUT_ERROR:
        from .failures import Failure, show_failure

        failure = invocation.failure or Failure("failed", f"{exit_codes.MEANINGS[status].capitalize()}.")
        show_failure(invocation.output, dataclasses.replace(failure, exit_code=status))
    return status


async def _parse(arguments: Sequence[str], invocation: Invocation) -> PreparedCommand | int:
    try:
        parsed: PreparedCommand | int | None = await program.main(
            list(arguments), prog_name=PROGRAM_NAME, standalone_mode=False, obj=invocation
        )
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):
            # asyncclick exits with 1 if the reader of its help has gone, which would mean a failed job here.
            return exit_codes.OK
        raise
    except OSError as exc:
        # Parsing reads no files, so it was a help text that could not be printed.
        raise invocation.output.lost(exc) from exc
    return exit_codes.OK if parsed is None else parsed


def _explain(invocation: Invocation, error: asyncclick.ClickException) -> None:
    """Show a usage error; if it was a secret on the command line, say where it belongs."""
    attempted = getattr(error, "option_name", None) or getattr(error.__cause__, "option_name", None)
    advice = None
    if attempted in _SECRET_OPTIONS:
        advice = f"Secrets are never taken from the command line: set {_SECRET_OPTIONS[attempted]} in the environment."
    if invocation.output.for_programs:
        _report(invocation, "usage_error", error.format_message(), error.exit_code, hint=advice)
        return
    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().rstrip().split("\n"):
        invocation.output.note(line)
    if advice:
        invocation.output.note(advice)


def _report(invocation: Invocation, code: str, message: str, status: int, *, hint: str | None = None) -> None:
    """Write a failure that is no `NodusError` to stderr."""
    if not invocation.output.for_programs:
        invocation.output.note(f"Error: {message}")
        return
    from .failures import Failure, show_failure

    show_failure(invocation.output, Failure(code, message, exit_code=status, hint=hint))


def _flush() -> None:
    """Flush now, so that a reader that went away is no error at the interpreter's exit either."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
