"""Options that several commands share, and the types of their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import asyncclick

if TYPE_CHECKING:
    from .._fields import Fields

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


def _plain_option(fields: Fields, name: str) -> Callable[[Any], Any]:
    default = fields.defaults.get(name)
    meaning = fields.meaning(name).replace("`", "")
    # A default that is None would count as given.
    if_known: dict[str, Any] = {} if default is None else {"default": default, "show_default": True}
    return asyncclick.option(
        f"--{name.replace('_', '-')}",
        type=int if fields.types[name] == "int" else str,
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
