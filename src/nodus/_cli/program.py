"""The group of all commands: parses, runs the one that was called, and turns how it ended into an exit status.

Parsing needs no event loop, so help and usage errors start none; a command that waits is then run on one.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import asyncclick

from .. import __version__
from .._errors import NodusError
from . import exit_codes, registry
from .invocation import Invocation
from .output import Output, OutputLostError

PROGRAM_NAME = "nodus"

_Result = TypeVar("_Result")

# Options that people try, and the variables that hold what they mean: a command line shows in process lists and logs.
_SECRET_OPTIONS = {
    "--api-key": "NODUS_API_KEY",
    "--key": "NODUS_API_KEY",
    "--token": "NODUS_API_KEY",
    "--secret": "NODUS_SIGNING_SECRET, or NODUS_WEBHOOK_SECRET for webhooks",
    "--signing-secret": "NODUS_SIGNING_SECRET, or NODUS_WEBHOOK_SECRET for webhooks",
    "--webhook-secret": "NODUS_WEBHOOK_SECRET",
}


class Prepared:
    """A command whose command line is parsed: what is left is to run it.

    Args:
        context: its context.
        own: whether the command is this distribution's.
    """

    def __init__(self, context: asyncclick.Context, *, own: bool) -> None:
        self._context = context
        self._own = own

    def run(self, invocation: Invocation) -> int:
        """Run the command, on an event loop if it waits; give its exit status."""
        if not self._waits:
            return drive(self._invoke())
        from . import event_loop

        if not self._own:
            return event_loop.run(self._invoke)
        return event_loop.run_interruptible(self._invoke, invocation.underway)

    async def _invoke(self) -> int:
        async with self._context as context:
            status = await context.command.invoke(context)
        return status if isinstance(status, int) else exit_codes.OK

    @property
    def _waits(self) -> bool:
        command = self._context.command
        callback: Any = command.callback
        return isinstance(command, asyncclick.Group) or inspect.iscoroutinefunction(inspect.unwrap(callback))


class CommandGroup(asyncclick.Group):
    """A group that imports a command when it is called, and prepares it rather than runs it."""

    async def parse_args(self, ctx: asyncclick.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            sys.stderr.write(ctx.get_help() + "\n")
            raise asyncclick.exceptions.Exit(exit_codes.USAGE)
        return await asyncclick.Command.parse_args(self, ctx, args)

    async def invoke(self, ctx: asyncclick.Context) -> Prepared:
        if not ctx.args:
            ctx.fail("Missing command.")
        name, *arguments = ctx.args
        command = self.get_command(ctx, name)
        if command is None:
            nearest = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {nearest[0]!r}?" if nearest else ""))
        ctx.invoked_subcommand = name
        return Prepared(await command.make_context(name, arguments, parent=ctx), own=registry.is_own(name))

    def list_commands(self, ctx: asyncclick.Context) -> list[str]:
        return registry.names()

    def get_command(self, ctx: asyncclick.Context, cmd_name: str) -> asyncclick.Command | None:
        return registry.load(cmd_name)

    def format_commands(self, ctx: asyncclick.Context, formatter: asyncclick.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, registry.short_help(name)) for name in self.list_commands(ctx)])


@asyncclick.group(
    name=PROGRAM_NAME,
    cls=CommandGroup,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Credentials come from the environment: NODUS_API_KEY, NODUS_BASE_URL, NODUS_SIGNING_SECRET, "
    "NODUS_WEBHOOK_SECRET. NODUS_BACKEND chooses the event loop: asyncio or trio.",
)
@asyncclick.version_option(__version__, message="%(prog)s %(version)s")
def program() -> None:
    """Submit GPU jobs, follow them to their end, see what they cost."""


def run_program(arguments: Sequence[str]) -> int:
    """Parse a command line and run what it says; give the exit status.

    Errors that a user can do something about are shown as text; anything else is a bug and is let through.
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


def drive(work: Coroutine[object, object, _Result]) -> _Result:
    """Run a coroutine that never waits to its end, without an event loop: that saves most of a `--help`'s time."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: _Result = stop.value
        return result
    work.close()
    raise RuntimeError("parsing a command line must not wait")


async def _parse(arguments: Sequence[str], invocation: Invocation) -> Prepared | int:
    try:
        parsed: Prepared | int | None = await program.main(
            list(arguments), prog_name=PROGRAM_NAME, standalone_mode=False, obj=invocation
        )
    except SystemExit as exc:
        if isinstance(exc.__context__, BrokenPipeError):
            # So asyncclick ends where nobody reads its help, with the status that here is a failed job's.
            return exit_codes.OK
        raise
    except OSError as exc:
        # Parsing reads no file, so that it was a help text that could not be printed.
        raise invocation.output.lost(exc) from exc
    return exit_codes.OK if parsed is None else parsed


def _explain(output: Output, error: asyncclick.ClickException) -> None:
    """Show a usage error, with the way that does work where a secret was put on the command line."""
    text = io.StringIO()
    error.show(text)
    output.note(text.getvalue().rstrip())
    attempted = getattr(error, "option_name", None) or getattr(error.__cause__, "option_name", None)
    if attempted in _SECRET_OPTIONS:
        output.note(
            f"Secrets are never taken from the command line: set {_SECRET_OPTIONS[attempted]} in the environment."
        )


def _flush() -> None:
    """Let a reader that went away be no error at the interpreter's exit either."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
