"""Checks of the arguments of public calls, made before anything is sent."""

from __future__ import annotations

import difflib
import os
import re
from typing import TypeVar

from ._enums import OpenStrEnum
from ._errors import ValidationError

_Choice = TypeVar("_Choice", bound=OpenStrEnum)

MAX_IDEMPOTENCY_KEY_LENGTH = 128
MAX_SECONDS = 1_000_000_000.0
"""Some thirty years; beyond that, neither sleeps nor sums of times are reliable."""

GPU_MODEL_RULE = "the name of a GPU model: 1 to 64 lower-case letters, digits and '_'"

_GPU_MODEL = re.compile(r"[a-z0-9_]{1,64}\Z")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
_CONTROL_OR_SURROGATE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])\Z")
"""A calendar month, as it is written everywhere."""

_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\]|\Z)")


def seconds(name: str, value: object, *, minimum: float = 0.0, exclusive: bool = False) -> float:
    """Return the argument `name` as a float.

    Raises:
        ValidationError: (`invalid_argument`) not a number, above `MAX_SECONDS`, or below `minimum` (or at it, if
            `exclusive`).
    """
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and minimum <= value <= MAX_SECONDS
        and not (exclusive and value == minimum)
    ):
        return float(value)
    limit = f"above {minimum:g}" if exclusive else f"of at least {minimum:g}"
    raise ValidationError(f"`{name}` must be a number of seconds {limit}, not {value!r}.", code="invalid_argument")


def whole_number(name: str, value: object, *, minimum: int) -> int:
    """Return the argument `name` as an int.

    Raises:
        ValidationError: (`invalid_argument`) not a whole number, or below `minimum`.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= minimum:
        return value
    raise ValidationError(
        f"`{name}` must be a whole number of at least {minimum}, not {value!r}.", code="invalid_argument"
    )


def is_gpu_model(value: str) -> bool:
    """Whether a string can be the name of a GPU model, known to this version or not."""
    return _GPU_MODEL.match(value) is not None


def gpu_model(name: str, value: object) -> str:
    """Return the argument `name` as the name of a GPU model.

    Raises:
        ValidationError: (`invalid_argument`) it cannot be one.
    """
    if isinstance(value, str) and is_gpu_model(value):
        return str.__str__(value)  # the wire value of an enumeration's member
    raise ValidationError(f"`{name}` must be {GPU_MODEL_RULE}, not {value!r}.", code="invalid_argument")


def word(name: str, value: object) -> str:
    """Return the argument `name` as a value of one of the protocol's enumerations, known to this version or not.

    Raises:
        ValidationError: (`invalid_argument`) not a string, or empty, or with other than printable ASCII characters.
    """
    if isinstance(value, str) and value and value.isascii() and str.isprintable(value):
        return value
    raise ValidationError(f"`{name}` must be a word such as 'running', not {value!r}.", code="invalid_argument")


def job_id(value: object) -> str:
    """Return a job id that is safe to put into a path as one segment.

    Raises:
        ValidationError: (`invalid_job_id`) empty, `.` or `..`, alone or between slashes, with a control character or a
            lone surrogate, or not a string.
    """
    if not isinstance(value, str):
        raise ValidationError(f"A job id must be a string, not {type(value).__name__}.", code="invalid_job_id")
    if not value or _DOT_SEGMENT.search(value) or _CONTROL_OR_SURROGATE.search(value):
        raise ValidationError(
            f"{value!r} is not a job id: use the `id` of a job that `run()` or `list()` returned.",
            code="invalid_job_id",
        )
    return value


def event_id(value: object) -> str | None:
    """Return the id of the event to resume after; None for none.

    Raises:
        ValidationError: (`invalid_argument`) not a whole number of at least 0, nor printable ASCII.
    """
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and len(value) <= MAX_IDEMPOTENCY_KEY_LENGTH and _HEADER_VALUE.match(value):
        return value
    raise ValidationError(f"`after` must be the id of an event, not {value!r}.", code="invalid_argument")


def month(value: object) -> str:
    """Return a calendar month, such as `2026-10`.

    Raises:
        ValidationError: (`invalid_argument`) it is none.
    """
    if isinstance(value, str) and MONTH.match(value):
        return value
    raise ValidationError(f"`month` must be a month such as '2026-10', not {value!r}.", code="invalid_argument")


def identifier(kind: str, value: object) -> str:
    """Return the id of a `kind` of thing ("webhook") that is safe to put into a path as one segment.

    Raises:
        ValidationError: (`invalid_webhook_id`, and so on) for the same reasons as with a job id.
    """
    if isinstance(value, str) and value and not _DOT_SEGMENT.search(value) and not _CONTROL_OR_SURROGATE.search(value):
        return value
    shown = repr(value) if isinstance(value, str) else type(value).__name__
    raise ValidationError(f"{shown} is not the id of a {kind}.", code=f"invalid_{kind}_id")


def idempotency_key(value: object) -> str:
    """Return an idempotency key that a header can carry.

    Raises:
        ValidationError: (`invalid_idempotency_key`) not 1 to 128 printable ASCII characters, or with a space at either
            end, which HTTP strips.
    """
    if isinstance(value, str) and len(value) <= MAX_IDEMPOTENCY_KEY_LENGTH and _HEADER_VALUE.match(value):
        return value
    raise ValidationError(
        f"`idempotency_key` must be 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable ASCII characters, without a space at "
        "either end.",
        code="invalid_idempotency_key",
    )


def new_idempotency_key() -> str:
    """Create a key that no other call will ever have: 128 random bits."""
    # As `secrets.token_hex` does; importing that module takes 4 ms, of every command's `--help` too.
    return f"nodus-{os.urandom(16).hex()}"


def choose(kind: type[_Choice], value: object, otherwise: str = "") -> _Choice:
    """Return the known member for `value`; any other value is refused here, and told what to do `otherwise`.

    Raises:
        ValueError: it is another value.
    """
    if isinstance(value, str):
        choice = kind(value)
        if choice.is_known:
            return choice
    known = [member.value for member in kind]
    hint = f" (did you mean {_nearest(value, known)!r}?)" if isinstance(value, str) else ""
    raise ValueError(f"must be one of {', '.join(known)}, not {_quoted(value)}{hint}{otherwise}")


def _nearest(value: str, known: list[str]) -> str:
    text = value.lower().replace("-", "_").replace(" ", "_")
    same_start = [candidate for candidate in known if candidate.startswith(text)]
    return (same_start or difflib.get_close_matches(text, known, n=1, cutoff=0.0))[0]


def _quoted(value: object) -> str:
    return repr(value) if isinstance(value, str) and len(value) <= 64 else type(value).__name__


def require_text(what: str, value: str) -> None:
    """Refuse text that no process can be given.

    Raises:
        ValueError: it has a NUL character or a lone surrogate; `what` names it.
    """
    if "\0" in value:
        raise ValueError(f"must not have a NUL character in {what}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"must not have a lone surrogate in {what}: it cannot be encoded as UTF-8") from None
