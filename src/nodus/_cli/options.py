"""Options that several commands share, the types of their values, and the files that they name."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import asyncclick

from .._fields import FILTERS, Fields
from .label_completion import complete_label
from .output import Output

DEFAULT_LIMIT = 50
MAX_PAGE_SIZE = 200
"""The most that the control plane gives in one page."""

_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}

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


def read_labels(given: Iterable[str], *, without_value: str | None) -> dict[str, str | None] | None:
    """Read `KEY=VALUE` and `KEY`; None for none at all.

    Args:
        given: the values of `--label`.
        without_value: what `KEY` alone has.

    Raises:
        UsageError: a key was given twice.
    """
    labels: dict[str, str | None] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if key in labels:
            raise asyncclick.UsageError(f"--label {key} is given twice.")
        labels[key] = value if equals else without_value
    return labels or None


def point_in_time(value: object) -> str:
    """Read a time of the past as people give it: `90m`, `24h`, `7d` or `2w` ago, a date, or RFC 3339.

    Raises:
        BadParameter: it is something else.
    """
    from .._fields import read_time

    text = str(value)
    ago = _AGO.fullmatch(text)
    try:
        if ago is None:
            read_time(text)
            return text
        before = datetime.now(timezone.utc) - int(ago[1]) * _UNITS[ago[2]]
        return before.isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise asyncclick.BadParameter(
            f"{text!r} is neither how long ago (90m, 24h, 7d), nor a date (2026-11-01), nor a time "
            "(2026-11-01T09:00:00Z)."
        ) from None


def filter_options(command: _Command) -> _Command:
    """`--name`, `--label`, `--since` and `--until`: what chooses jobs."""
    return field_options(FILTERS, {**LABELS_AND_TIMES, "status": []})(command)


def read_filters(labels: Sequence[str], filters: Mapping[str, Any]) -> Any:
    """Return what such options ask for, as the library takes it."""
    return {**filters, "labels": read_labels(labels, without_value=None)}


label_option = asyncclick.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    shell_complete=complete_label,
    help="Only jobs with this label; KEY alone, with any value. Repeatable: all must match.",
)

LABELS_AND_TIMES: Mapping[str, Sequence[Callable[[Any], Any]]] = {
    "labels": [label_option],
    "created_after": [
        asyncclick.option(
            "--since",
            "created_after",
            type=point_in_time,
            metavar="TIME",
            help="Only jobs submitted then or later: so long ago (90m, 24h, 7d, 2w), a date, which begins in UTC, or a "
            "time (2026-11-01T09:00:00Z).",
        )
    ],
    "created_before": [
        asyncclick.option(
            "--until",
            "created_before",
            type=point_in_time,
            metavar="TIME",
            help="Only jobs submitted earlier; likewise.",
        )
    ],
}


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


@contextlib.contextmanager
def opened_lines(source: str) -> Iterator[Iterator[bytes]]:
    """Read a file, or stdin for `-`, line by line; only line feeds end a line.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        if source != "-":
            with Path(source).open("rb") as file:
                yield file
        elif sys.stdin is None:  # it was closed before the process began
            raise asyncclick.UsageError("There is no standard input to read from: name a file.")
        else:
            yield sys.stdin.buffer
    except OSError as exc:
        raise asyncclick.UsageError(f"{source}: {exc.strerror or exc}.") from exc


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
