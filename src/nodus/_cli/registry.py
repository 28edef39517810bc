"""The list of commands: where in `commands` each is, to be loaded when called, and those of other distributions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import asyncclick

from .._errors import ConfigurationError
from .._origin import HOW_TO_INSTALL_CONTROL_PLANE

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "nodus.commands"

# Each is `<name>_command` in its module.
_MODULES = {
    "run": "run",
    "quote": "quote",
    "list": "jobs",
    "get": "jobs",
    "wait": "jobs",
    "cancel": "jobs",
    "logs": "jobs",
    "events": "jobs",
    "offers": "offers",
    "usage": "usage",
    "key": "setup",
    "webhooks": "webhooks",
    "ledger": "ledger",
    "health": "setup",
    "sign": "signatures",
    "verify": "signatures",
    "doctor": "setup",
    "completion": "setup",
}

# The help of each command starts with its sentence here, so that listing all commands loads none of them.
COMMANDS = {
    "run": "Submit a job.",
    "quote": "Ask where a job would go, and what it can cost at most.",
    "list": "List recent jobs, newest first.",
    "get": "Show one job.",
    "wait": "Wait until a job, or all jobs that are chosen, are over.",
    "cancel": "Cancel a job, or all jobs that are chosen.",
    "logs": "Print a job's output, or follow it.",
    "events": "Follow jobs live, one line per transition.",
    "offers": "List what suppliers offer, and at what price.",
    "usage": "Show what jobs have cost.",
    "key": "Show the calling key and what is left of its budget.",
    "webhooks": "Manage the endpoints that events are delivered to.",
    "ledger": "Read and verify the Trust Ledger.",
    "health": "Check that the control plane is up.",
    "sign": "Sign a request, and print the header to send with it.",
    "verify": "Check the signature of a webhook delivery.",
    "doctor": "Check settings, network, key and clock, and say what to fix.",
    "completion": "Print a completion script for your shell.",
}

# What the control plane's distribution adds.
ELSEWHERE = {"playground": "Start a control plane on this machine, with its page."}


def names() -> list[str]:
    """Return the names of all commands, those of other distributions last."""
    return list(dict.fromkeys([*COMMANDS, *ELSEWHERE, *sorted(_entry_points())]))


def short_help(name: str) -> str:
    """Return one sentence about a command; only commands that this distribution does not know are loaded for it."""
    if name in COMMANDS:
        return COMMANDS[name]
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    try:
        command = load(name)
    except ConfigurationError as exc:
        return exc.message
    return command.get_short_help_str(limit=200) if command is not None else ""


def load(name: str) -> asyncclick.Command | None:
    """Import a command, or return None if there is no such command.

    Raises:
        ConfigurationError: (`missing_command`) the distribution that has it is not installed, or does not load.
    """
    if name in COMMANDS:
        module = importlib.import_module(f"{__package__}.commands.{_MODULES[name]}")
        command: asyncclick.Command = getattr(module, f"{name}_command")
        return command
    entry_point = _entry_points().get(name)
    if entry_point is None:
        if name in ELSEWHERE:
            raise ConfigurationError(
                f"`nodus {name}` is part of the control plane, which is not installed: {HOW_TO_INSTALL_CONTROL_PLANE}",
                code="missing_command",
            )
        return None
    try:
        loaded: Any = entry_point.load()
    except ImportError as exc:
        raise ConfigurationError(
            f"`nodus {name}` cannot be loaded from {entry_point.value}: {exc}.", code="missing_command"
        ) from exc
    if not isinstance(loaded, asyncclick.Command):
        raise ConfigurationError(
            f"`nodus {name}` cannot be loaded: {entry_point.value} is not an asyncclick command.",
            code="missing_command",
        )
    return loaded


def leaves(name: str) -> list[tuple[str, asyncclick.Command]]:
    """Return a command of this distribution with its path, or the commands in a group."""
    from .groups import Subcommands

    command = load(name)
    if not isinstance(command, Subcommands):
        return [] if command is None else [(name, command)]
    return [(f"{name} {each}", found) for each, found in command.commands.items()]


def is_own(name: str) -> bool:
    """Whether a command is this distribution's."""
    return name in COMMANDS


def _entry_points() -> dict[str, EntryPoint]:
    """Search the installed distributions; slow, so only done when nothing else answers."""
    from importlib.metadata import entry_points

    return {found.name: found for found in entry_points(group=ENTRY_POINT_GROUP) if found.name not in COMMANDS}
