"""Options that several commands share, the types of their values, and the files that they name."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncclick

from .output import Output

if TYPE_CHECKING:
    from .._fields import Fields

DEFAULT_LIMIT = 50
MAX_PAGE_SIZE = 200
"""The most that the control plane gives in one page."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def seconds(value: object) -> float:
    """Read a finite number of seconds, 0 or more.

    Raises:
        BadParameter: it is something else.
    """
    number = _number(value)
    if not number >= 0:
        raise asyncclick.BadParameter(f"{value!r} is not a number of seconds, 0 or more.")
    return number


def timeout_seconds(value: object) -> float:
    """Read how many seconds to wait, 0 or more.

    Raises:
        BadParameter: it is something else, or longer than one can wait.
    """
    return _waitable(seconds(value))


def poll_seconds(value: object) -> float:
    """Read a number of seconds between two polls, above 0.

    Raises:
        BadParameter: it is something else.
    """
    number = _number(value)
    if not number > 0:
        raise asyncclick.BadParameter(f"{value!r} is not a number of seconds above 0.")
    return _waitable(number)


def _number(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _waitable(number: float) -> float:
    """Refuse what the library refuses too, but only once the job is submitted."""
    from .._arguments import MAX_SECONDS

    if number > MAX_SECONDS:
        raise asyncclick.BadParameter(f"that is more than {MAX_SECONDS:,.0f} seconds.")
    return number


def completing(
    values: Callable[[], Iterable[str]],
) -> Callable[[asyncclick.Context, asyncclick.Parameter, str], list[str]]:
    """Let a shell complete an option to these values, which are not the only ones that it may have."""
    return lambda context, parameter, incomplete: [value for value in values() if value.startswith(incomplete)]


def listed(limit: int | None, *, everything: bool, default: int | None = DEFAULT_LIMIT) -> tuple[int | None, int]:
    """Return how many items to list, None for all, and how many to ask for at a time.

    Args:
        limit: `--limit` as given.
        everything: whether `--all` was given.
        default: how many to list if neither was given; None for all.

    Raises:
        UsageError: both were given.
    """
    if everything and limit is not None:
        raise asyncclick.UsageError("--all and --limit exclude each other.")
    wanted = None if everything else limit or default
    return wanted, MAX_PAGE_SIZE if wanted is None else min(wanted, MAX_PAGE_SIZE)


def event_types() -> Iterable[str]:
    """Return the types of events that an endpoint can receive."""
    from .._events import EVENT_TYPES

    return EVENT_TYPES


def field_options(
    fields: Fields, special: Mapping[str, Sequence[Callable[[Any], Any]]]
) -> Callable[[_Command], _Command]:
    """Options for fields: `--its-name`, with its own type, default and meaning, but for those in `special`.

    Args:
        fields: as the library knows them.
        special: the options of those that take more than one plain value; none for a field that is no option.
    """

    def add(command: _Command) -> _Command:
        for name in reversed(fields.names):
            for option in reversed(special[name] if name in special else [_plain_option(fields, name)]):
                command = option(command)
        return command

    return add


_PLAIN_TYPES: Mapping[str, type] = {"int": int, "int | None": int, "float | None": float}


def _plain_option(fields: Fields, name: str) -> Callable[[Any], Any]:
    default = fields.defaults.get(name)
    meaning = fields.meaning(name).replace("`", "")
    # A default that is None would count as given.
    if_known: dict[str, Any] = {} if default is None else {"default": default, "show_default": True}
    return asyncclick.option(
        f"--{name.replace('_', '-')}",
        type=_PLAIN_TYPES.get(fields.types[name], str),
        required=name in fields.required,
        help=meaning[:1].upper() + meaning[1:],
        **if_known,
    )


def wait_option(command: _Command) -> _Command:
    """`--wait`: watch the job to its end."""
    return asyncclick.option(
        "--wait", is_flag=True, help="Wait until the job is over; exit with status 1 if it did not complete."
    )(command)


def json_option(command: _Command) -> _Command:
    """`--json`: data for programs."""
    return asyncclick.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")(command)


def timeout_option(command: _Command) -> _Command:
    """`--timeout`: how long to wait."""
    return asyncclick.option(
        "--timeout",
        type=timeout_seconds,
        metavar="SECONDS",
        help="Stop waiting after this time, and exit with status 124; the job goes on. By default, wait for ever.",
    )(command)


def poll_option(command: _Command) -> _Command:
    """`--poll-seconds`: how often to poll."""
    return asyncclick.option(
        "--poll-seconds",
        type=poll_seconds,
        metavar="SECONDS",
        help="How often to poll the job. By default, every 2 s.",
    )(command)


def cancel_on_interrupt_option(command: _Command) -> _Command:
    """`--cancel-on-interrupt`: what Ctrl-C does."""
    return asyncclick.option(
        "--cancel-on-interrupt",
        is_flag=True,
        help="Cancel the job on Ctrl-C or SIGTERM. By default, these only end the waiting.",
    )(command)


def require_wait(context: asyncclick.Context) -> None:
    """Refuse options that make sense only together with `--wait`.

    Raises:
        UsageError: one of them was given without it.
    """
    if context.params["wait"]:
        return
    for name in ("timeout", "poll_seconds", "cancel_on_interrupt"):
        if context.params[name] not in (None, False):
            raise asyncclick.UsageError(f"--{name.replace('_', '-')} needs --wait.", context)


def read_body(source: str, output: Output) -> bytes:
    """Read a file whole, or stdin for `-`.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if source != "-":
            return Path(source).read_bytes()
        if sys.stdin is None:  # it was closed before the process began
            raise asyncclick.UsageError("There is no standard input to read from: name a file.")
        if sys.stdin.isatty():
            output.note("Reading the body from the terminal: end it with Ctrl-D.")
        return sys.stdin.buffer.read()
    except OSError as exc:
        raise asyncclick.UsageError(f"{source}: {exc.strerror or exc}.") from exc
