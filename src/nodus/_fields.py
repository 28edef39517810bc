"""What a job can be submitted with, and what a listing can be filtered by: each field written down once.

Methods take the two dictionaries below as keyword arguments (PEP 692), which type checkers and editors read. Signatures
and docstrings at runtime, the rows of the reference and the options of the command line are made from them here. A new
field is a line in a dictionary, a line in its docstring, and a default if that is not None; what may be in it is said
by `JobSpec`, or by `_READERS` for a filter.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from textwrap import dedent, indent
from typing import Any, Protocol, TypeAlias, TypedDict, TypeVar, cast

from . import _arguments
from ._enums import GpuType, JobStatus, SupplierKind
from ._errors import ValidationError

MAX_NAME_LENGTH = 128
MAX_LABELS = 16
MAX_LABEL_VALUE_LENGTH = 128

_LABEL_KEY = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?")
_LABEL_KEY_RULE = "1 to 63 characters of a-z, 0-9, '_', '.' and '-', with a letter or digit at either end"
# RFC 3339, section 5.6, or its date alone.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
MAX_AMOUNT_USD = 1_000_000_000

_Documented = TypeVar("_Documented", bound=Callable[..., object])
_Value = TypeVar("_Value")


class _RequiredJobFields(TypedDict):
    image: str


class JobFields(_RequiredJobFields, total=False):
    """The fields of a job.

    Attributes:
        image: OCI image reference, such as `ghcr.io/acme/train:v3`.
        command: argv list; None to run the image's own command.
        gpu: GPU model, as a `GpuType` or its wire value.
        gpu_count: number of GPUs, 1 to 8.
        env: environment variables to set in the container. Their values never show in a `repr` or an error.
        max_runtime_seconds: how long the job may run before it is stopped, 60 to 172 800 (48 hours).
        require_tiers: use only suppliers of these classes; None or empty for any.
        prefer_region: a region to favour, but not to insist on.
        idempotency_key: 1 to 128 printable ASCII characters; submitting the same key twice returns the first job.
        name: what to call the job, 1 to 128 printable characters of any script; need not be unique.
        labels: what to find the job and its cost by, at most 16 pairs. A key is 1 to 63 characters of a-z, 0-9, `_`,
            `.` and `-`, with a letter or digit at either end; a value has at most 128 printable characters.
        max_cost_usd: a ceiling that the job's cost never passes, in US dollars, above 0, with at most six decimals.
        queue_timeout_seconds: fail the job if it does not run so long after its submission or last loss, 60 to 604 800
            (7 days); None to let it wait.
    """

    command: Sequence[str] | None
    gpu: GpuType | str
    gpu_count: int
    env: Mapping[str, str] | None
    max_runtime_seconds: int
    require_tiers: Sequence[SupplierKind | str] | None
    prefer_region: str | None
    idempotency_key: str | None
    name: str | None
    labels: Mapping[str, str] | None
    max_cost_usd: float | None
    queue_timeout_seconds: int | None


class JobFilters(TypedDict, total=False):
    """What the jobs of a listing have in common; a filter that is None, or left out, lets every job through.

    Attributes:
        status: only jobs in this status, or in one of these.
        name: only jobs with exactly this name.
        labels: only jobs with all of these labels; None as a value stands for any.
        created_after: only jobs that were submitted then or later: a `datetime` with a time zone, an RFC 3339 time, or
            a date, which begins in UTC, as a `date` or a text.
        created_before: only jobs that were submitted earlier; likewise.
    """

    status: JobStatus | str | Sequence[JobStatus | str] | None
    name: str | None
    labels: Mapping[str, str | None] | None
    created_after: date | str | None
    created_before: date | str | None


class Fields:
    """One of the dictionaries, as data.

    Args:
        kind: the dictionary.
        defaults: the defaults that are not None.

    Attributes:
        names: in the order in which they are shown.
        types: of each, as written.
        required: those without a default.
        defaults: of all the others.
    """

    def __init__(self, kind: type, defaults: Mapping[str, object]) -> None:
        self.types: dict[str, str] = {name: _source_of(each) for name, each in inspect.get_annotations(kind).items()}
        self.names = tuple(self.types)
        self.required: frozenset[str] = cast("Any", kind).__required_keys__
        self.defaults = {name: defaults.get(name) for name in self.names if name not in self.required}
        _, _, meanings = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
        self._meanings = dedent(meanings)  # empty where Python was told to drop docstrings

    def meaning(self, name: str) -> str:
        """Return what a field means, in one line."""
        found = re.search(rf"^{name}: (.*(?:\n .*)*)", self._meanings, re.MULTILINE)
        return re.sub(r"\s+", " ", found[1]) if found else ""

    def check_names(self, method: str, given: Mapping[str, object]) -> None:
        """Refuse arguments as Python does where parameters are written out.

        Raises:
            TypeError: one has another name than a field, or a required one is missing.
        """
        for name in given:
            if name not in self.types:
                raise TypeError(f"{method}() got an unexpected keyword argument {name!r}")
        for name in self.required:
            if name not in given:
                raise TypeError(f"{method}() missing 1 required keyword-only argument: {name!r}")

    def spell_out(self, documented: _Documented) -> _Documented:
        """Decorate a function or class: show its `**` arguments one by one, in its signature and its docstring.

        In the docstring they take the place of the line that begins with `**`.
        """
        shown: Any = documented
        if shown.__doc__:
            shown.__doc__ = re.sub(
                r"^( *)\*\*\w+: .*$",
                lambda line: indent(self._meanings, line[1]),
                shown.__doc__,
                count=1,
                flags=re.MULTILINE,
            )
        if inspect.isfunction(shown):
            signature = inspect.signature(shown)
            written = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
            # `inspect.signature`, and so `help`, take it from here.
            shown.__signature__ = signature.replace(  # type: ignore[attr-defined]
                parameters=[*written, *self._parameters()]
            )
        return documented

    def _parameters(self) -> Iterable[inspect.Parameter]:
        for name, written in self.types.items():
            default = inspect.Parameter.empty if name in self.required else self.defaults[name]
            yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=written)


Query: TypeAlias = Sequence[tuple[str, str]]
"""Parameters of a query, of which some may occur several times."""


class ListedJob(Protocol):
    """What a listing is filtered by, as a job's view has it."""

    @property
    def name(self) -> str | None: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def created_at(self) -> datetime | None: ...


def filter_query(filters: JobFilters) -> Query:
    """Return filters as parameters of a query.

    Raises:
        ValidationError: (`invalid_argument`) no job can be found by one of them.
    """
    return [
        (parameter, text)
        for name, (parameter, read) in _READERS.items()
        if (value := filters.get(name)) is not None
        for text in read(name, value)
    ]


def fits(job: ListedJob, query: Query) -> bool:
    """Say whether a job of a listing is one that was asked for.

    A server ignores a filter that it does not know, and sends every job. Every server knows `status`.

    Args:
        job: the view of the job.
        query: what `filter_query` returned.
    """
    return all(_FITS[name](job, wanted) for name, wanted in query if name in _FITS)


def _has_label(job: ListedJob, label: str) -> bool:
    key, colon, value = label.partition(":")
    return key in job.labels and (not colon or job.labels[key] == value)


def _submitted_at(job: ListedJob) -> datetime | None:
    """Return when a job was submitted; a time without a zone is UTC, like all of the server's."""
    at = job.created_at
    return at.replace(tzinfo=timezone.utc) if at is not None and at.tzinfo is None else at


def _statuses(name: str, status: object) -> list[str]:
    given = status if isinstance(status, Iterable) and not isinstance(status, (str, bytes)) else [status]
    text = ",".join(JobStatus(_arguments.word(name, one)).value for one in given)
    return [text] if text else []


def require_name(value: object) -> str:
    """Return a job's name.

    Raises:
        ValueError: not 1 to 128 printable characters.
    """
    if isinstance(value, str) and 1 <= len(value) <= MAX_NAME_LENGTH and value.isprintable():
        return value
    raise ValueError(f"must be 1 to {MAX_NAME_LENGTH} printable characters, so without line breaks and tabs")


def require_labels(value: object, *, wildcards: bool = False) -> dict[str, Any]:
    """Return a job's labels.

    Args:
        value: a mapping.
        wildcards: whether a value may be None, which stands for any.

    Raises:
        ValueError: a key or a value is outside its limits, or there are more than 16.
    """
    if not isinstance(value, Mapping):
        raise ValueError("must be a mapping of strings, such as {'team': 'search'}")
    if len(value) > MAX_LABELS:
        raise ValueError(f"must be at most {MAX_LABELS} pairs")
    for key, labelled in value.items():
        if not isinstance(key, str) or not _LABEL_KEY.fullmatch(key):
            raise ValueError(f"must have keys of {_LABEL_KEY_RULE}")
        if labelled is None and wildcards:
            continue
        if not isinstance(labelled, str) or len(labelled) > MAX_LABEL_VALUE_LENGTH or not labelled.isprintable():
            raise ValueError(
                f"must have, as the value of {key!r}, a string of at most {MAX_LABEL_VALUE_LENGTH} printable characters"
            )
    return dict(value)


def require_amount(value: object) -> float:
    """Return an amount in US dollars.

    Raises:
        ValueError: no number above 0, at most a billion, that has at most six decimals.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_AMOUNT_USD:
        micros = Decimal(repr(value)) * 1_000_000
        if micros >= 1 and micros == int(micros):
            return value
    raise ValueError(f"must be a number above 0, at most {MAX_AMOUNT_USD:,}, with at most six decimals")


def _name(name: str, value: object) -> list[str]:
    return [_checked(name, lambda: require_name(value))]


def label_texts(name: str, value: object) -> list[str]:
    """Return the labels that jobs are to have, as a query has them: `key:value`, or `key` for any value.

    Raises:
        ValidationError: (`invalid_argument`) the argument `name` is no such mapping.
    """
    labels = _checked(name, lambda: require_labels(value, wildcards=True))
    return [key if labelled is None else f"{key}:{labelled}" for key, labelled in labels.items()]


def time_texts(name: str, value: object) -> list[str]:
    """Return a time as a query has it.

    Raises:
        ValidationError: (`invalid_argument`) the argument `name` is no time, or has no time zone.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValidationError(
                f"`{name}` must have a time zone, such as `datetime.now(timezone.utc)` has.", code="invalid_argument"
            )
        return [value.astimezone(timezone.utc).isoformat()]
    if isinstance(value, date):
        return [value.isoformat()]
    try:
        if isinstance(value, str):
            read_time(value)
            return [value]
    except ValueError:
        pass
    raise ValidationError(
        f"`{name}` must be a datetime with a time zone, or a text such as '2026-11-01T00:00:00Z' or '2026-11-01', "
        f"not {value!r}.",
        code="invalid_argument",
    )


def read_time(text: str) -> datetime:
    """Read RFC 3339, to the microsecond, or a date, which begins in UTC.

    Raises:
        ValueError: it is neither.
    """
    if _DATE.fullmatch(text):
        return datetime.fromisoformat(f"{text}T00:00:00+00:00")
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not a time of RFC 3339, nor a date")
    day, time, fraction, offset = found.groups()
    # What lies between two microseconds becomes the later one: all times of a listing are whole milliseconds.
    whole, rest = (fraction or "").ljust(6, "0")[:6], (fraction or "")[6:]
    at = datetime.fromisoformat(f"{day}T{time}.{whole}{'+00:00' if offset in 'Zz' else offset}")
    return at + timedelta(microseconds=1) if rest.strip("0") else at


def _checked(name: str, read: Callable[[], _Value]) -> _Value:
    try:
        return read()
    except ValueError as exc:
        raise ValidationError(f"`{name}` {exc}.", code="invalid_argument") from None


def _source_of(annotation: object) -> str:
    """Return an annotation as it is written; dictionaries keep it as a forward reference."""
    return str(getattr(annotation, "__forward_arg__", annotation))


_READERS: Mapping[str, tuple[str, Callable[[str, object], list[str]]]] = {
    "status": ("status", _statuses),
    "name": ("name", _name),
    "labels": ("label", label_texts),
    "created_after": ("created_after", time_texts),
    "created_before": ("created_before", time_texts),
}
# A job of which a server does not say when it was submitted is of no time.
_FITS: Mapping[str, Callable[[ListedJob, str], bool]] = {
    "name": lambda job, wanted: job.name == wanted,
    "label": _has_label,
    "created_after": lambda job, time: (at := _submitted_at(job)) is not None and at >= read_time(time),
    "created_before": lambda job, time: (at := _submitted_at(job)) is not None and at < read_time(time),
}

JOB = Fields(JobFields, {"gpu": GpuType.H100_80GB, "gpu_count": 1, "max_runtime_seconds": 3600})
FILTERS = Fields(JobFilters, {})
