"""What somebody asks about the cost of jobs: which span of time, which jobs, and grouped by what. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

MILLISECONDS_PER_DAY = 86_400_000

GROUPINGS = ("principal_kind", "key", "supplier", "kind", "region", "gpu", "status", "day", "month")
"""What jobs can be grouped by."""

MAX_GROUPS = 10_000
"""The most groups of one answer."""

_LABEL = "label"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])\Z")
# RFC 3339, section 5.6: a `full-date`, alone or with a `full-time`; `T` and `Z` in lower case too.
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:([Zz])|([+-])([0-9]{2}):([0-9]{2})))?\Z"
)


class InvalidQuestion(Exception):
    """The question cannot be answered as it was asked.

    Attributes:
        code: `labels_not_supported`; None where a parameter is malformed.
        message: which parameter, and what it must be.
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Question:
    """Which jobs to add up, and how.

    Attributes:
        begins_at: only those that ended then or later. Unix milliseconds.
        ends_at: only those that ended before. Unix milliseconds.
        group_by: of `GROUPINGS`, each once, in the order in which they were asked for.
        simulated: simulated jobs, or all others: the two are never added up.
    """

    begins_at: int
    ends_at: int
    group_by: tuple[str, ...] = ()
    simulated: bool = False


def read_question(parameters: Mapping[str, str], now: int, *, simulated: bool = False) -> Question:
    """Read the parameters of a question.

    Args:
        parameters: `month`, or `from` and `to`; `group_by`, by comma; `simulated`. What is left out of the span is that
            of this month.
        now: the time, in Unix milliseconds: which month it is.
        simulated: whether simulated jobs are meant where the question does not say.

    Raises:
        InvalidQuestion: a parameter is malformed, or the span is empty.
    """
    if _LABEL in parameters:
        raise _no_labels()
    begins_at, ends_at = _span(parameters, now)
    group_by = tuple(dict.fromkeys(filter(None, parameters.get("group_by", "").split(","))))
    for name in group_by:
        if name.startswith(f"{_LABEL}:"):
            raise _no_labels()
        if name not in GROUPINGS:
            raise InvalidQuestion(f"`group_by` must be one or several, by comma, of {', '.join(GROUPINGS)}.")
    asked = parameters.get("simulated")
    if asked not in (None, "true", "false"):
        raise InvalidQuestion("`simulated` must be true or false.")
    return Question(begins_at, ends_at, group_by, simulated if asked is None else asked == "true")


def day_of(milliseconds: int) -> int:
    """Return the UTC day of a time, counted from 1970.

    >>> day_of(86_399_999), day_of(86_400_000)
    (0, 1)
    """
    return milliseconds // MILLISECONDS_PER_DAY


def date_of(day: int) -> str:
    """Give a day that `day_of` counted as a date.

    >>> date_of(20_727)
    '2026-10-01'
    """
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def _span(parameters: Mapping[str, str], now: int) -> tuple[int, int]:
    month = parameters.get("month")
    if month is not None:
        if "from" in parameters or "to" in parameters:
            raise InvalidQuestion("`month` and `from` or `to` exclude each other.")
        named = _MONTH.match(month)
        if named is None or not 1 <= int(named[1]) <= 9998:
            raise InvalidQuestion("`month` must be a month such as 2026-10.")
        return _month(int(named[1]), int(named[2]))
    today = _EPOCH + timedelta(milliseconds=now)
    begins_at, ends_at = _month(today.year, today.month)
    if "from" in parameters:
        begins_at = _time("from", parameters["from"])
    if "to" in parameters:
        ends_at = _time("to", parameters["to"])
    if begins_at >= ends_at:
        raise InvalidQuestion(
            "`from` must be before `to`; without them, a span begins with this month and ends with it."
        )
    return begins_at, ends_at


def _month(year: int, month: int) -> tuple[int, int]:
    """Return when a month begins, and when the next one does."""
    following = (year, month + 1) if month < 12 else (year + 1, 1)
    return _milliseconds(datetime(year, month, 1, tzinfo=timezone.utc)), _milliseconds(
        datetime(*following, 1, tzinfo=timezone.utc)
    )


def _time(name: str, text: str) -> int:
    """Read a time, or a date, which means its beginning. Jobs end at whole milliseconds: the next one is as good."""
    found = _TIME.match(text)
    try:
        if found is None:
            raise ValueError(text)
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
        # Of the nanoseconds, what is less than a millisecond counts as a whole one.
        fraction = int((found[7] or "0").ljust(9, "0"))
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        offset = timedelta(0)
        if found[9] is not None:
            hours, minutes = int(found[10]), int(found[11])
            if hours > 23 or minutes > 59:
                raise ValueError(text)
            offset = timedelta(hours=hours, minutes=minutes) * (1 if found[9] == "+" else -1)
        return _milliseconds(moment) - offset // _MILLISECOND - (-fraction // 1_000_000)
    except ValueError:
        raise InvalidQuestion(
            f"`{name}` must be a date such as 2026-10-01, or a time such as 2026-10-01T08:00:00Z (RFC 3339; a `+` of "
            "its offset is written %2B in a query)."
        ) from None


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _no_labels() -> InvalidQuestion:
    return InvalidQuestion(
        "Jobs have no labels here: leave out `label`, and `label:…` in `group_by`.", code="labels_not_supported"
    )
