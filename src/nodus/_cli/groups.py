"""Groups that prepare a command rather than run it, so that parsing needs no event loop."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import asyncclick

from . import exit_codes
from .invocation import Invocation

_Result = TypeVar("_Result")


class PreparedCommand:
    """A command whose command line has been parsed, ready to run.

    Args:
        context: its context.
        own: whether the command is this distribution's.

    Attributes:
        own: as given.
    """

    def __init__(self, context: asyncclick.Context, *, own: bool) -> None:
        self._context = context
        self.own = own

    def run(self, invocation: Invocation) -> int:
        """Run the command, on an event loop if it waits; return its exit status."""
        if not self._waits:
            return drive(self._invoke())
        from . import event_loop

        if not self.own:
            return event_loop.run(self._invoke)
        return event_loop.run_interruptible(self._invoke, invocation.pending)

    async def _invoke(self) -> int:
        async with self._context as context:
            status = await context.command.invoke(context)
        return status if isinstance(status, int) else exit_codes.OK

    @property
    def _waits(self) -> bool:
        command = self._context.command
        callback: Any = command.callback
        return isinstance(command, asyncclick.Group) or inspect.iscoroutinefunction(inspect.unwrap(callback))


class PreparingGroup(asyncclick.Group):
    """A group that imports a command when it is called, and prepares it rather than running it; nested groups too."""

    async def parse_args(self, ctx: asyncclick.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        return await asyncclick.Command.parse_args(self, ctx, args)

    async def invoke(self, ctx: asyncclick.Context) -> PreparedCommand:
        if not ctx.args:
            ctx.fail("Missing command.")
        name, *arguments = ctx.args
        command = self.get_command(ctx, name)
        if command is None:
            nearest = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {nearest[0]!r}?" if nearest else ""))
        ctx.invoked_subcommand = name
        context = await command.make_context(name, arguments, parent=ctx)
        if isinstance(command, PreparingGroup):
            return await command.invoke(context)
        return PreparedCommand(context, own=self.is_own(name))

    def format_commands(self, ctx: asyncclick.Context, formatter: asyncclick.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summary_of(name)) for name in self.list_commands(ctx)])

    def is_own(self, name: str) -> bool:
        """Whether a command is this distribution's."""
        return True

    def summary_of(self, name: str) -> str:
        """Return one sentence about a command."""
        raise NotImplementedError


class Subcommands(PreparingGroup):
    """The commands about one subject.

    Args:
        name: the subject.
        commands: its commands, in the order in which help shows them.
        help: what the commands have in common.
    """

    def __init__(self, name: str, commands: Sequence[asyncclick.Command], *, help: str) -> None:
        super().__init__(name, commands=commands, help=help)

    def list_commands(self, ctx: asyncclick.Context) -> list[str]:
        # A plain group sorts them.
        return list(self.commands)

    def summary_of(self, name: str) -> str:
        return (self.commands[name].help or "").partition("\n")[0]


def drive(work: Coroutine[object, object, _Result]) -> _Result:
    """Run a coroutine that never waits, without an event loop, which would take most of the time of a `--help`."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: _Result = stop.value
        return result
    work.close()
    raise RuntimeError("parsing a command line must not wait")
