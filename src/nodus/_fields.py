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
from decimal import Decimal
from textwrap import dedent, indent
from typing import Any, TypedDict, TypeVar, cast

from . import _arguments
from ._enums import GpuType, JobStatus, SupplierKind
from ._errors import ValidationError

MAX_NAME_LENGTH = 128
MAX_AMOUNT_USD = 1_000_000_000

_Documented = TypeVar("_Documented", bound=Callable[..., object])


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
    max_cost_usd: float | None
    queue_timeout_seconds: int | None


class JobFilters(TypedDict, total=False):
    """What the jobs of a listing have in common; a filter that is None, or left out, lets every job through.

    Attributes:
        status: only jobs in this status, or in one of these.
        name: only jobs with exactly this name.
    """

    status: JobStatus | str | Sequence[JobStatus | str] | None
    name: str | None


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


def filter_query(filters: JobFilters) -> dict[str, str]:
    """Return filters as parameters of a query.

    Raises:
        ValidationError: (`invalid_argument`) no job can be found by one of them.
    """
    given = ((name, read(filters.get(name))) for name, read in _READERS.items())
    return {name: text for name, text in given if text}


def fits(job: object, query: Mapping[str, str]) -> bool:
    """Say whether a job of a listing is one that was asked for.

    A server ignores a filter that it does not know, and sends every job. Every server knows `status`.

    Args:
        job: the view of the job.
        query: what `filter_query` returned.
    """
    return all(getattr(job, name, None) == wanted for name, wanted in query.items() if name != "status")


def _statuses(status: object) -> str:
    if status is None:
        return ""
    given = status if isinstance(status, Iterable) and not isinstance(status, (str, bytes)) else [status]
    return ",".join(JobStatus(_arguments.word("status", one)).value for one in given)


def require_name(value: object) -> str:
    """Return a job's name.

    Raises:
        ValueError: not 1 to 128 printable characters.
    """
    if isinstance(value, str) and 1 <= len(value) <= MAX_NAME_LENGTH and value.isprintable():
        return value
    raise ValueError(f"must be 1 to {MAX_NAME_LENGTH} printable characters, so without line breaks and tabs")


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


def _name(name: object) -> str:
    try:
        return "" if name is None else require_name(name)
    except ValueError as exc:
        raise ValidationError(f"`name` {exc}.", code="invalid_argument") from None


def _source_of(annotation: object) -> str:
    """Return an annotation as it is written; dictionaries keep it as a forward reference."""
    return str(getattr(annotation, "__forward_arg__", annotation))


_READERS: Mapping[str, Callable[[object], str]] = {"status": _statuses, "name": _name}

JOB = Fields(JobFields, {"gpu": GpuType.H100_80GB, "gpu_count": 1, "max_runtime_seconds": 3600})
FILTERS = Fields(JobFilters, {})
