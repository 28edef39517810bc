"""What a job may ask for: each field written down once, with all that is to be known of it.

`JobSpec` is the table. From it come the parsing of submissions, the canonical text that fingerprints are made of, the
columns of `jobs`, what is echoed, recorded in the ledger and told by webhooks, the filters of listings, and the schemas
of the API. A new field is a line there, a column with its revision, and its place in the page's form.

No message repeats a submitted value, which may be a secret, if only by mistake.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Annotated, Any, cast, get_type_hints

from .job_labels import (
    LABEL_KEY,
    LABEL_KEY_RULE,
    LABEL_VALUE_RULE,
    MAX_LABEL_VALUE_LENGTH,
    MAX_LABELS,
    is_label_key,
    is_label_value,
    read_labels,
)
from .money import MICROS_PER_USD, usd
from .suppliers_file import GPU_NAME, SupplierKind

MAX_IMAGE_LENGTH = 512
MAX_REGION_LENGTH = 128
GPU_COUNT = (1, 8)
MAX_RUNTIME_SECONDS = (60, 172_800)
DEFAULT_MAX_RUNTIME_SECONDS = 3600
MAX_NAME_LENGTH = 128
MAX_COST_USD = 1_000_000_000
"""The highest ceiling: every amount up to it, to the micro-dollar, is a JSON number of its own."""
QUEUE_TIMEOUT_SECONDS = (60, 604_800)
MAX_IDEMPOTENCY_KEY_LENGTH = 128

# `json.dumps` would make one at every call.
_CANONICAL = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    default=dict,  # any other kind of mapping
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_IDEMPOTENCY_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_IDEMPOTENCY_KEY_LENGTH}}}\Z")


class InvalidSpec(Exception):
    """A payload that cannot be accepted; `field` names the part at fault, or is None for the whole."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of a field, beside its name, its type and its default.

    Attributes:
        read: takes the JSON value, None if there is none, and returns what `JobSpec` holds; raises `InvalidSpec`.
        schema: what the value may be, as JSON Schema.
        is_secret: whether it may hold secrets. Then it is sealed, and neither echoed nor recorded; otherwise it has a
            column in `jobs`, and stands in the ledger's `job.submitted` row, by the name of its attribute.
        to_column: makes the column's value from what `JobSpec`, or the ledger's row, holds.
        from_column: makes what is echoed and told from the column's value.
        called: its name in a submission and where it is echoed; empty for that of its attribute.
        is_echoed: whether it is in the `JobView`.
        is_told: whether it is in the data of webhooks about the job.
        is_filter: whether a listing can be filtered by its exact value. A listing takes an index over customer, field,
            status and number for that.
        is_later: whether it is newer than 0.1. It is then part of the canonical text only if it was given, so that a
            retry is still the same submission after an upgrade; and rows of the ledger from before do not have it.
    """

    read: Callable[[object], Any]
    schema: Mapping[str, Any]
    is_secret: bool = False
    to_column: Callable[[Any], Any] = _unchanged
    from_column: Callable[[Any], Any] = _unchanged
    called: str = ""
    is_echoed: bool = False
    is_told: bool = False
    is_filter: bool = False
    is_later: bool = False


def _integer(name: str, default: int, limits: tuple[int, int]) -> Callable[[object], int]:
    lowest, highest = limits

    def read(value: object) -> int:
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise InvalidSpec(f"`{name}` must be an integer from {lowest} to {highest}.", field=name)
        return value

    return read


def _image(value: object) -> str:
    if value is None:
        raise InvalidSpec("`image` is required: an image reference such as 'ghcr.io/acme/train:v3'.", field="image")
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_IMAGE_LENGTH:
        raise InvalidSpec(f"`image` must be a string of 1 to {MAX_IMAGE_LENGTH} characters.", field="image")
    if any(character.isspace() or not character.isprintable() for character in value):
        raise InvalidSpec(
            "`image` must be an image reference without spaces, such as 'ghcr.io/acme/train:v3'.", field="image"
        )
    return value


def _gpu(value: object) -> str:
    if value is None:
        raise InvalidSpec("`gpu` is required: a GPU model such as 'h100_80gb'.", field="gpu")
    if not isinstance(value, str) or not GPU_NAME.fullmatch(value):
        raise InvalidSpec(
            "`gpu` must be a GPU model such as 'h100_80gb': 1 to 64 lower-case letters, digits and '_'.", field="gpu"
        )
    return value


def _tiers(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    known = {kind.value for kind in SupplierKind}
    if not isinstance(value, list) or not all(isinstance(tier, str) and tier in known for tier in value):
        raise InvalidSpec(f"`require_tiers` must be a list of {', '.join(sorted(known))}.", field="require_tiers")
    return tuple(sorted(set(cast("list[str]", value))))


def _region(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_REGION_LENGTH:
        raise InvalidSpec(
            f"`prefer_region` must be a string of 1 to {MAX_REGION_LENGTH} characters.", field="prefer_region"
        )
    _require_text("prefer_region", "`prefer_region`", value)
    return value


def _name(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME_LENGTH or not value.isprintable():
        raise InvalidSpec(f"`name` must be a string of 1 to {MAX_NAME_LENGTH} printable characters.", field="name")
    return value


def _labels(value: object) -> dict[str, str] | None:
    if value is None or value == {}:
        return None
    if not isinstance(value, dict) or len(value) > MAX_LABELS:
        raise InvalidSpec(f"`labels` must be an object of at most {MAX_LABELS} strings.", field="labels")
    if not all(map(is_label_key, value)):
        raise InvalidSpec(f"`labels` must have keys of {LABEL_KEY_RULE}.", field="labels")
    for key, labelled in value.items():
        if not is_label_value(labelled):
            raise InvalidSpec(f"`labels[{key!r}]` must be {LABEL_VALUE_RULE}.", field="labels")
    return cast("dict[str, str]", value)


def _written_labels(labels: Mapping[str, str] | None) -> str | None:
    return _CANONICAL.encode(labels) if labels else None


def _max_cost(value: object) -> int | None:
    """Read an amount in USD as micro-USD, exactly: by the shortest text of the JSON number."""
    if value is None:
        return None
    micros = Decimal(0)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MAX_COST_USD:
        micros = Decimal(repr(value)) * MICROS_PER_USD
    if micros < 1 or micros != int(micros):
        raise InvalidSpec(
            f"`max_cost_usd` must be a number above 0, at most {MAX_COST_USD}, with at most six decimals.",
            field="max_cost_usd",
        )
    return int(micros)


def _queue_timeout(value: object) -> int | None:
    return None if value is None else _integer("queue_timeout_seconds", 0, QUEUE_TIMEOUT_SECONDS)(value)


def _usd(micros: int | None) -> float | None:
    return None if micros is None else usd(micros)


def _command(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(argument, str) for argument in value):
        raise InvalidSpec(
            "`command` must be a list of at least one string, such as ['python', 'train.py']; "
            "leave it out for the image's own command.",
            field="command",
        )
    arguments = cast("list[str]", value)
    for position, argument in enumerate(arguments):
        _require_text("command", f"`command[{position}]`", argument)
    return tuple(arguments)


def _env(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidSpec("`env` must be an object of strings.", field="env")
    checked: dict[str, str] = {}
    for name, setting in value.items():
        if not name or "=" in name:
            raise InvalidSpec("`env` must have names that are not empty and have no '='.", field="env")
        _require_text("env", "a name in `env`", name)
        shown = f"`env[{name!r}]`" if _PLAIN_NAME.match(name) else "a value in `env`"
        if not isinstance(setting, str):
            raise InvalidSpec(f"{shown} must be a string.", field="env")
        _require_text("env", shown, setting)
        checked[name] = setting
    return checked


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A valid spec, with every default filled in. What may be secret stays out of the `repr`."""

    image: Annotated[
        str,
        Field(
            _image,
            {"type": "string", "minLength": 1, "maxLength": MAX_IMAGE_LENGTH, "pattern": r"^\S+$"},
            is_echoed=True,
        ),
    ]
    command: Annotated[
        tuple[str, ...] | None,
        Field(
            _command,
            {
                "type": ["array", "null"],
                "items": {"type": "string"},
                "minItems": 1,
                "description": "Argv; null for the image's own command.",
            },
            is_secret=True,
        ),
    ] = field(default=None, repr=False)
    gpu: Annotated[
        str,
        Field(
            _gpu,
            {
                "type": "string",
                "pattern": f"^{GPU_NAME.pattern}$",
                "description": "A GPU model that somebody offers: see `GET /v1/offers`.",
            },
            is_echoed=True,
        ),
    ]
    gpu_count: Annotated[
        int,
        Field(
            _integer("gpu_count", 1, GPU_COUNT),
            {"type": "integer", "minimum": GPU_COUNT[0], "maximum": GPU_COUNT[1], "default": 1},
            is_echoed=True,
        ),
    ] = 1
    env: Annotated[
        Mapping[str, str],
        Field(
            _env,
            {"type": ["object", "null"], "additionalProperties": {"type": "string"}, "description": "Never echoed."},
            is_secret=True,
        ),
    ] = field(default_factory=dict, repr=False)
    max_runtime_seconds: Annotated[
        int,
        Field(
            _integer("max_runtime_seconds", DEFAULT_MAX_RUNTIME_SECONDS, MAX_RUNTIME_SECONDS),
            {
                "type": "integer",
                "minimum": MAX_RUNTIME_SECONDS[0],
                "maximum": MAX_RUNTIME_SECONDS[1],
                "default": DEFAULT_MAX_RUNTIME_SECONDS,
            },
            is_echoed=True,
        ),
    ] = DEFAULT_MAX_RUNTIME_SECONDS
    require_tiers: Annotated[
        tuple[str, ...],
        Field(
            _tiers,
            {
                "type": ["array", "null"],
                "items": {"enum": [kind.value for kind in SupplierKind]},
                "description": "A hard filter; null or empty for any.",
            },
            to_column=",".join,
        ),
    ] = ()
    prefer_region: Annotated[
        str | None,
        Field(
            _region,
            {
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": MAX_REGION_LENGTH,
                "description": "Nudges the placement score.",
            },
        ),
    ] = None
    name: Annotated[
        str | None,
        Field(
            _name,
            {
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": MAX_NAME_LENGTH,
                "description": "Printable characters of any script; need not be unique.",
            },
            is_echoed=True,
            is_told=True,
            is_filter=True,
            is_later=True,
        ),
    ] = None

    labels: Annotated[
        Mapping[str, str] | None,
        Field(
            _labels,
            {
                "type": ["object", "null"],
                "maxProperties": MAX_LABELS,
                "propertyNames": {"pattern": f"^{LABEL_KEY}$"},
                "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_VALUE_LENGTH},
                "description": "Values are printable characters of any script, and may be empty.",
            },
            to_column=_written_labels,
            from_column=read_labels,
            is_echoed=True,
            is_told=True,
            is_later=True,
        ),
    ] = None
    max_cost_micros: Annotated[
        int | None,
        Field(
            _max_cost,
            {
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
                "maximum": MAX_COST_USD,
                "description": "A ceiling that the job's cost never passes; at most six decimals. Null for none.",
            },
            from_column=_usd,
            called="max_cost_usd",
            is_echoed=True,
            is_later=True,
        ),
    ] = None
    queue_timeout_seconds: Annotated[
        int | None,
        Field(
            _queue_timeout,
            {
                "type": ["integer", "null"],
                "minimum": QUEUE_TIMEOUT_SECONDS[0],
                "maximum": QUEUE_TIMEOUT_SECONDS[1],
                "description": "The job fails if it does not run so long after its submission or last loss; null for "
                "waiting as long as it takes.",
            },
            is_echoed=True,
            is_later=True,
        ),
    ] = None

    def canonical(self) -> bytes:
        """Return the canonical JSON of the default-filled spec: equal specs give equal bytes."""
        values = {name: getattr(self, attribute) for name, attribute in _ATTRIBUTES.items()}
        return _CANONICAL.encode(
            {name: value for name, value in values.items() if value is not None or not FIELDS[name].is_later}
        ).encode()

    def recorded(self) -> dict[str, object]:
        """Return what the ledger records of it."""
        return {name: getattr(self, name) for name in STORED}

    def columns(self) -> dict[str, object]:
        """Return the values of its columns."""
        return dict(zip(STORED, columns_of(self.recorded()), strict=True))


def _table() -> dict[str, Field]:
    hints = get_type_hints(JobSpec, include_extras=True)
    return {each.name: hints[each.name].__metadata__[0] for each in fields(JobSpec)}


_BY_ATTRIBUTE: Mapping[str, Field] = _table()
_ATTRIBUTES: Mapping[str, str] = {each.called or attribute: attribute for attribute, each in _BY_ATTRIBUTE.items()}

FIELDS: Mapping[str, Field] = {name: _BY_ATTRIBUTE[attribute] for name, attribute in _ATTRIBUTES.items()}
"""All of them, by name, in the order in which they are shown."""

IDEMPOTENCY_KEY = "idempotency_key"
IDEMPOTENCY_KEY_SCHEMA: Mapping[str, Any] = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
}

STORED = tuple(attribute for attribute, each in _BY_ATTRIBUTE.items() if not each.is_secret)
"""The columns."""

ECHOED = tuple(name for name, each in FIELDS.items() if each.is_echoed)
TOLD = tuple(name for name, each in FIELDS.items() if each.is_told)
FILTERS = tuple(name for name, each in FIELDS.items() if each.is_filter)

_IN_PAYLOAD = (*FIELDS, IDEMPOTENCY_KEY)


def parse_spec(payload: object) -> JobSpec:
    """Validate a decoded submission payload and fill in its defaults; its `idempotency_key` is ignored.

    Raises:
        InvalidSpec: a field is missing, unknown or outside its limits.
    """
    if not isinstance(payload, dict):
        raise InvalidSpec("The body must be a JSON object that describes a job.")
    given = cast("dict[str, object]", payload)
    for name in given:
        if name not in _IN_PAYLOAD:
            raise InvalidSpec(_unknown_field(name))
    return JobSpec(**{_ATTRIBUTES[name]: each.read(given.get(name)) for name, each in FIELDS.items()})


def columns_of(recorded: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of the columns, in the order of `STORED`, from what a row of the ledger holds.

    Raises:
        KeyError, TypeError: it is no such row.
    """
    return tuple(
        _BY_ATTRIBUTE[name].to_column(recorded.get(name) if _BY_ATTRIBUTE[name].is_later else recorded[name])
        for name in STORED
    )


def echoed(job: object) -> dict[str, Any]:
    """Return what is echoed of a job, from a record that has the columns as its attributes."""
    return {name: FIELDS[name].from_column(getattr(job, _ATTRIBUTES[name])) for name in ECHOED}


def told(column: Callable[[str], Any]) -> dict[str, Any]:
    """Return what webhooks tell of a job, of which `column` returns the value of a column by its name."""
    return {name: FIELDS[name].from_column(column(_ATTRIBUTES[name])) for name in TOLD}


def is_idempotency_key(value: object) -> bool:
    """Say whether a value can be an idempotency key: 1 to 128 printable ASCII characters."""
    return isinstance(value, str) and _IDEMPOTENCY_KEY.match(value) is not None


def _require_text(field: str, shown: str, value: str) -> None:
    if "\0" in value:
        raise InvalidSpec(f"{shown} must not contain a NUL character.", field=field)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidSpec(f"{shown} must not contain a lone surrogate.", field=field) from None


def _unknown_field(name: str) -> str:
    near = difflib.get_close_matches(name[:64], _IN_PAYLOAD, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    shown = f"The field `{name}`" if _PLAIN_NAME.match(name) else "A field of the body"
    return f"{shown} is not known; a job has {', '.join(_IN_PAYLOAD)}.{hint}"
