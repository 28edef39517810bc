"""The top-level command: parses, runs the command that was called, and turns its outcome into an exit status.

Parsing needs no event loop, so help and usage errors start none; only commands that wait run on one.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence

import asyncclick

from .. import __version__
from .._errors import NodusError
from . import exit_codes, registry
from .groups import Prepared, PreparingGroup, drive
from .invocation import Invocation
from .output import Output, OutputLostError

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

    def sentence_on(self, name: str) -> str:
        return registry.short_help(name)


@asyncclick.group(
    name=PROGRAM_NAME,
    cls=Commands,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Credentials come from the environment: NODUS_API_KEY, NODUS_BASE_URL, NODUS_SIGNING_SECRET, "
    "NODUS_WEBHOOK_SECRET. NODUS_BACKEND chooses the event loop: asyncio or trio.",
)
@asyncclick.version_option(__version__, message="%(prog)s %(version)s")
def program() -> None:
    """Submit GPU jobs, follow them to their end, see what they cost."""


def run_program(arguments: Sequence[str]) -> int:
    """Parse and run a command line; return the exit status.

    Errors that a user can do something about are shown as text; anything else is a bug, and propagates.
    """
    invocation = Invocation()
    try:
        prepared = drive(_parse(arguments, invocation))
        status = prepared if isinstance(prepared, int) else prepared.run(invocation)
    except asyncclick.exceptions.Exit as exc:
        status = exc.exit_code
    except asyncclick.ClickException as exc:
        status = exc.exit_code
        _explain(invocation.output, exc)
    except OutputLostError as exc:
        status = exit_codes.OUTPUT_LOST
        invocation.output.note(f"Error: {exc}")
    except NodusError as exc:
        from .failures import show_error

        status = exit_codes.of_error(exc)
        show_error(invocation.output, exc, invocation.underway.advice_after(exc))
    except (KeyboardInterrupt, asyncclick.Abort):
        status = exit_codes.INTERRUPTED
    _flush()
    return status


async def _parse(arguments: Sequence[str], invocation: Invocation) -> Prepared | int:
    try:
        parsed: Prepared | int | None = await program.main(
            list(arguments), prog_name=PROGRAM_NAME, standalone_mode=False, obj=invocation
        )
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):
            # This is how asyncclick ends if nobody reads its help; its status would mean a failed job here.
            return exit_codes.OK
        raise
    except OSError as exc:
        # Parsing reads no files, so it was a help text that could not be printed.
        raise invocation.output.lost(exc) from exc
    return exit_codes.OK if parsed is None else parsed


def _explain(output: Output, error: asyncclick.ClickException) -> None:
    """Show a usage error; if it was a secret on the command line, say where it belongs."""
    text = io.StringIO()
    error.show(text)
    output.note(text.getvalue().rstrip())
    attempted = getattr(error, "option_name", None) or getattr(error.__cause__, "option_name", None)
    if attempted in _SECRET_OPTIONS:
        output.note(
            f"Secrets are never taken from the command line: set {_SECRET_OPTIONS[attempted]} in the environment."
        )


def _flush() -> None:
    """Flush now, so that a reader that went away is no error at the interpreter's exit either."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
