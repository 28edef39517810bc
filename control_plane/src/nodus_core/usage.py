"""What somebody asks about the cost of jobs: which span of time, which jobs, and grouped by what. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .job_labels import LABEL_KEY_RULE, MAX_LABELS, is_label_key
from .months import month_at, parse_month
from .times import read_time

MILLISECONDS_PER_DAY = 86_400_000

GROUPINGS = ("principal_kind", "key", "supplier", "kind", "region", "gpu", "status", "day", "month")
"""What jobs can be grouped by, besides their labels."""

LABEL = "label:"
"""What a label's key is written after, to group by its values."""

MAX_GROUPS = 10_000
"""The most groups of one answer."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class InvalidQuestion(Exception):
    """The question cannot be answered as it was asked; the message says which parameter is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Question:
    """Which jobs to add up, and how.

    Attributes:
        begins_at: only those that ended then or later. Unix milliseconds.
        ends_at: only those that ended before. Unix milliseconds.
        group_by: of `GROUPINGS`, or `LABEL` and a label's key, each once, in the order in which they were asked for.
        simulated: simulated jobs, or all others: the two are never added up.
        labels: only those with all of these, each a key with its value, or with None for any value.
    """

    begins_at: int
    ends_at: int
    group_by: tuple[str, ...] = ()
    simulated: bool = False
    labels: tuple[tuple[str, str | None], ...] = ()


def read_question(
    parameters: Mapping[str, str],
    now: int,
    *,
    simulated: bool = False,
    labels: Sequence[tuple[str, str | None]] = (),
) -> Question:
    """Read the parameters of a question.

    Args:
        parameters: `month`, or `from` and `to`; `group_by`, by comma; `simulated`. What is left out of the span is that
            of this month.
        now: the time, in Unix milliseconds: which month it is.
        simulated: whether simulated jobs are meant where the question does not say.
        labels: those that were asked for.

    Raises:
        InvalidQuestion: a parameter is malformed, or the span is empty.
    """
    begins_at, ends_at = _span(parameters, now)
    group_by = tuple(dict.fromkeys(filter(None, parameters.get("group_by", "").split(","))))
    for name in group_by:
        if name not in GROUPINGS and not (name.startswith(LABEL) and is_label_key(name.removeprefix(LABEL))):
            raise InvalidQuestion(
                f"`group_by` must be one or several, by comma, of {', '.join(GROUPINGS)}, or {LABEL} and the key of a "
                f"label, which is {LABEL_KEY_RULE}."
            )
    if len(group_by) - len(set(group_by) & set(GROUPINGS)) > MAX_LABELS:
        raise InvalidQuestion(f"`group_by` may have {MAX_LABELS} labels: no job has more.")
    asked = parameters.get("simulated")
    if asked not in (None, "true", "false"):
        raise InvalidQuestion("`simulated` must be true or false.")
    is_simulated = simulated if asked is None else asked == "true"
    return Question(begins_at, ends_at, group_by, is_simulated, tuple(labels))


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
        try:
            named = parse_month(month)
        except ValueError as exc:
            raise InvalidQuestion(f"`month` is not a month: {exc}.") from None
        return named.start, named.end
    _, begins_at, ends_at = month_at(now)
    if "from" in parameters:
        begins_at = _time("from", parameters["from"])
    if "to" in parameters:
        ends_at = _time("to", parameters["to"])
    if begins_at >= ends_at:
        raise InvalidQuestion(
            "`from` must be before `to`; without them, a span begins with this month and ends with it."
        )
    return begins_at, ends_at


def _time(name: str, text: str) -> int:
    try:
        return read_time(text)
    except ValueError:
        raise InvalidQuestion(
            f"`{name}` must be a date such as 2026-10-01, or a time such as 2026-10-01T08:00:00Z (RFC 3339; a `+` of "
            "its offset is written %2B in a query)."
        ) from None
