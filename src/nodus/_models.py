"""Jobs on the wire: the spec that is submitted, and the view that the server answers with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator

from . import _arguments, _fields
from ._enums import GpuType, JobStatus, PrincipalKind, SupplierKind
from ._errors import ValidationError

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._fields import JobFields

_Built = TypeVar("_Built")

_DEFAULTS: dict[str, Any] = _fields.JOB.defaults


@_fields.JOB.spell_out
class JobSpec(BaseModel):
    """A job as it is submitted, validated when it is created.

    To submit one: `client.run(**spec.model_dump())`.

    Attributes:
        **fields: as in `JobFields`.

    Raises:
        ValidationError: (`invalid_spec`, `invalid_idempotency_key`) a field is outside its limits.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    image: Annotated[StrictStr, Field(min_length=1, max_length=512)]
    command: list[StrictStr] | None = Field(default=None, repr=False)
    gpu: GpuType = _DEFAULTS["gpu"]
    gpu_count: Annotated[StrictInt, Field(ge=1, le=8)] = _DEFAULTS["gpu_count"]
    env: dict[StrictStr, StrictStr] | None = Field(default=None, repr=False)
    max_runtime_seconds: Annotated[StrictInt, Field(ge=60, le=172_800)] = _DEFAULTS["max_runtime_seconds"]
    require_tiers: list[SupplierKind] | None = None
    prefer_region: Annotated[StrictStr, Field(min_length=1, max_length=128)] | None = None
    idempotency_key: StrictStr | None = None
    name: StrictStr | None = None
    labels: dict[StrictStr, StrictStr] | None = None
    max_cost_usd: float | None = None
    queue_timeout_seconds: Annotated[StrictInt, Field(ge=60, le=604_800)] | None = None

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[JobFields]) -> None: ...

    else:

        def __init__(self, **fields: object) -> None:
            """Check the fields; raises `nodus.ValidationError` for one outside its limits."""
            _checked(lambda: super(JobSpec, self).__init__(**fields))

    @classmethod
    def model_validate(cls, obj: object, **options: Any) -> Self:
        """Create a spec from a mapping; raises `nodus.ValidationError` like the constructor."""
        return _checked(lambda: super(JobSpec, cls).model_validate(obj, **options))

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Create a spec from JSON; raises `nodus.ValidationError` like the constructor."""
        return _checked(lambda: super(JobSpec, cls).model_validate_json(json_data, **options))

    @classmethod
    def model_validate_strings(cls, obj: object, **options: Any) -> Self:
        """Create a spec from a mapping of strings; raises `nodus.ValidationError` like the constructor."""
        return _checked(lambda: super(JobSpec, cls).model_validate_strings(obj, **options))

    def __setattr__(self, name: str, value: object) -> None:
        # pydantic refuses too, but with an error that shows the value.
        raise ValidationError(f"A spec is immutable, so `{name}` cannot be set: create another spec.")

    def __delattr__(self, name: str) -> None:
        raise ValidationError(f"A spec is immutable, so `{name}` cannot be deleted.")

    @field_validator("image")
    @classmethod
    def _check_image(cls, image: str) -> str:
        if any(character.isspace() or not character.isprintable() for character in image):
            raise ValueError("must be an image reference without spaces, such as 'ghcr.io/acme/train:v3'")
        return image

    @field_validator("command", mode="before")
    @classmethod
    def _check_command(cls, command: object) -> object:
        if isinstance(command, (str, bytes)):
            raise ValueError("must be a list of arguments such as ['python', 'train.py'], not one string")
        if not isinstance(command, Sequence):
            return command
        if not command:
            raise ValueError("must have at least one argument; leave it out for the image's own command")
        for argument in command:
            if isinstance(argument, str):
                _arguments.require_text("an argument", argument)
        return list(command)

    @field_validator("gpu", mode="before")
    @classmethod
    def _check_gpu(cls, gpu: object) -> GpuType:
        if isinstance(gpu, GpuType) and not gpu.is_known:
            if not _arguments.is_gpu_model(gpu.value):
                raise ValueError(f"must be {_arguments.GPU_MODEL_RULE}")
            return gpu  # the server says whether somebody offers it
        otherwise = "; for another model that is offered (see `nodus offers`), pass nodus.GpuType(…)"
        return _arguments.choose(GpuType, gpu, otherwise)

    @field_validator("require_tiers", mode="before")
    @classmethod
    def _check_require_tiers(cls, tiers: object) -> object:
        if isinstance(tiers, str):
            raise ValueError("must be a list of supplier kinds such as ['tier3'], not one string")
        if isinstance(tiers, (Sequence, set, frozenset)):
            return [_arguments.choose(SupplierKind, tier) for tier in tiers]
        return tiers

    @field_validator("env", mode="before")
    @classmethod
    def _check_env(cls, env: object) -> object:
        if not isinstance(env, Mapping):
            return env
        for name, value in env.items():
            if not isinstance(name, str) or not name or "=" in name:
                raise ValueError("must have names that are non-empty strings without '='")
            if not isinstance(value, str):
                raise ValueError(f"must have a string as the value of {name!r}, not {type(value).__name__}")
            _arguments.require_text("a name", name)
            _arguments.require_text(f"the value of {name!r}", value)
        return dict(env)

    @field_validator("prefer_region")
    @classmethod
    def _check_prefer_region(cls, region: str | None) -> str | None:
        if region is not None:
            _arguments.require_text("it", region)
        return region

    @field_validator("idempotency_key")
    @classmethod
    def _check_idempotency_key(cls, key: str | None) -> str | None:
        return None if key is None else _arguments.idempotency_key(key)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        return None if name is None else _fields.require_name(name)

    @field_validator("labels", mode="before")
    @classmethod
    def _check_labels(cls, labels: object) -> object:
        return None if labels is None else _fields.require_labels(labels)

    @field_validator("max_cost_usd", mode="before")
    @classmethod
    def _check_max_cost(cls, amount: object) -> object:
        return None if amount is None else _fields.require_amount(amount)


class LedgerRow(BaseModel):
    """Where to find a job's terminal row in the customer's Trust Ledger.

    Attributes:
        seq: the row's number, counting from 1.
        leaf_hash: the row's leaf hash, in lower-case hexadecimal.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    seq: int
    leaf_hash: str


class JobView(BaseModel):
    """A job as the server last described it. Fields that this version does not know are ignored.

    Attributes:
        id: server-issued UUID.
        status: the job's status.
        supplier: name of the supplier; None until placement.
        region: region that the job runs in; None until placement.
        cost_usd: final cost in US dollars; None until terminal.
        cost_so_far_usd: what the job would have cost if it had ended when the server answered, in US dollars; None
            until it runs, `cost_usd` once it is over, and None from an older server.
        usd_per_gpu_hour: price of the present placement, in US dollars; None until placement.
        phase: a short word for what becomes of the job where `status` alone does not say it, such as
            `waiting_for_capacity`, `waiting_for_budget`, `pulling`, `waiting_in_engine`, `ending` or `unknown`; else
            None.
        phase_detail: a sentence about the phase, or None.
        error_code: stable identifier of the failure, if `status` is `FAILED`.
        error_message: what went wrong, if `status` is `FAILED`.
        image: as submitted.
        gpu: as submitted.
        gpu_count: as submitted.
        max_runtime_seconds: as submitted, in seconds.
        name: as submitted; None if the job has none.
        labels: as submitted; empty if the job has none.
        max_cost_usd: as submitted, in US dollars; None if the job has no ceiling.
        queue_timeout_seconds: as submitted, in seconds; None if the job waits as long as it takes.
        created_at: when the submission was accepted.
        started_at: when the job began to run at its last placement.
        finished_at: when the job became terminal.
        duration_s: how long the job ran at its last placement, in seconds; None until terminal.
        estimated_cost_usd: upper bound of the cost at the present placement, or at the one that is expected, in US
            dollars: what was reserved last.
        retail_cost_usd: what the cheapest hyperscaler would have charged, in US dollars; None until terminal.
        saved_usd: retail cost minus cost, in US dollars; may be negative. None until terminal.
        attempts: number of placements so far.
        principal_kind: kind of principal whose key submitted the job.
        simulated: True if its supplier is simulated: nothing runs, and nothing is charged. None if an older server does
            not say.
        ledger: the job's terminal row in the Trust Ledger; None until terminal.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False
    )

    id: str
    status: JobStatus
    supplier: str | None = None
    region: str | None = None
    cost_usd: float | None = None
    cost_so_far_usd: float | None = None
    usd_per_gpu_hour: float | None = None
    phase: str | None = None
    phase_detail: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    image: str | None = None
    gpu: GpuType | None = None
    gpu_count: int | None = None
    max_runtime_seconds: int | None = None
    name: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    max_cost_usd: float | None = None
    queue_timeout_seconds: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration_s: float | None = None
    estimated_cost_usd: float | None = None
    retail_cost_usd: float | None = None
    saved_usd: float | None = None
    attempts: int | None = None
    principal_kind: PrincipalKind | None = None
    simulated: bool | None = None
    ledger: LedgerRow | None = None

    @field_validator("labels", mode="before")
    @classmethod
    def _read_labels(cls, labels: object) -> object:
        return {} if labels is None else labels

    @property
    def is_terminal(self) -> bool:
        """Whether the job is over. With a status unknown to this version, it is once the server gives `finished_at`."""
        return self.status.is_terminal or (self.finished_at is not None and not self.status.is_known)

    @property
    def succeeded(self) -> bool:
        """Whether the job completed."""
        return self.status == JobStatus.COMPLETED


class JobAttributes:
    """What a job's handle says of the job, from the snapshot behind it."""

    __slots__ = ()

    _view: JobView

    @property
    def id(self) -> str:
        """Server-issued UUID."""
        return self._view.id

    @property
    def status(self) -> JobStatus:
        """The job's status when it was last fetched."""
        return self._view.status

    @property
    def supplier(self) -> str | None:
        """Name of the supplier; None until placement."""
        return self._view.supplier

    @property
    def region(self) -> str | None:
        """Region that the job runs in; None until placement."""
        return self._view.region

    @property
    def cost_usd(self) -> float | None:
        """Final cost in US dollars; None until terminal."""
        return self._view.cost_usd

    @property
    def cost_so_far_usd(self) -> float | None:
        """What the job would have cost if it had ended when it was last fetched, in US dollars; None until it runs."""
        return self._view.cost_so_far_usd

    @property
    def usd_per_gpu_hour(self) -> float | None:
        """Price of the present placement, in US dollars; None until placement."""
        return self._view.usd_per_gpu_hour

    @property
    def phase(self) -> str | None:
        """A short word for what becomes of the job where its status alone does not say it, such as `pulling`."""
        return self._view.phase

    @property
    def phase_detail(self) -> str | None:
        """A sentence about the phase, or None."""
        return self._view.phase_detail

    @property
    def error_code(self) -> str | None:
        """Stable identifier of the failure, if the job failed."""
        return self._view.error_code

    @property
    def error_message(self) -> str | None:
        """What went wrong, if the job failed."""
        return self._view.error_message

    @property
    def image(self) -> str | None:
        """Image, as submitted."""
        return self._view.image

    @property
    def gpu(self) -> GpuType | None:
        """GPU model, as submitted."""
        return self._view.gpu

    @property
    def gpu_count(self) -> int | None:
        """Number of GPUs, as submitted."""
        return self._view.gpu_count

    @property
    def name(self) -> str | None:
        """Name, as submitted; None if the job has none."""
        return self._view.name

    @property
    def labels(self) -> dict[str, str]:
        """Labels, as submitted; empty if the job has none."""
        return self._view.labels

    @property
    def max_cost_usd(self) -> float | None:
        """Ceiling of the cost, as submitted, in US dollars; None if the job has none."""
        return self._view.max_cost_usd

    @property
    def queue_timeout_seconds(self) -> int | None:
        """How long it may wait before it runs, as submitted, in seconds; None if as long as it takes."""
        return self._view.queue_timeout_seconds

    @property
    def created_at(self) -> datetime | None:
        """When the submission was accepted."""
        return self._view.created_at

    @property
    def started_at(self) -> datetime | None:
        """When the job began to run at its last placement."""
        return self._view.started_at

    @property
    def finished_at(self) -> datetime | None:
        """When the job became terminal."""
        return self._view.finished_at

    @property
    def duration_s(self) -> float | None:
        """How long the job ran at its last placement, in seconds; None until terminal."""
        return self._view.duration_s

    @property
    def estimated_cost_usd(self) -> float | None:
        """Upper bound of the cost at the present or expected placement, reserved last, in US dollars."""
        return self._view.estimated_cost_usd

    @property
    def retail_cost_usd(self) -> float | None:
        """What the cheapest hyperscaler would have charged, in US dollars; None until terminal."""
        return self._view.retail_cost_usd

    @property
    def saved_usd(self) -> float | None:
        """Retail cost minus cost, in US dollars; may be negative. None until terminal."""
        return self._view.saved_usd

    @property
    def attempts(self) -> int | None:
        """Number of placements so far."""
        return self._view.attempts

    @property
    def principal_kind(self) -> PrincipalKind | None:
        """Kind of principal whose key submitted the job."""
        return self._view.principal_kind

    @property
    def simulated(self) -> bool:
        """Whether the job's supplier is simulated: nothing runs, and nothing is charged.

        False if an older server does not say; `view.simulated` is None then.
        """
        return bool(self._view.simulated)

    @property
    def is_terminal(self) -> bool:
        """Whether the job is completed, failed or cancelled."""
        return self._view.is_terminal

    @property
    def succeeded(self) -> bool:
        """Whether the job completed."""
        return self._view.succeeded


def _checked(build: Callable[[], _Built]) -> _Built:
    """Build a model; turn pydantic's findings into one error that names each field and its rule.

    The error is raised outside the handler, so that not even its `__context__` leads to pydantic's, which holds the
    values of `env`.
    """
    try:
        return build()
    except pydantic.ValidationError as exc:
        error = _explain(exc)
    raise error


_RULES = {"missing": "is missing", "extra_forbidden": "is not a field of a spec"}


def _explain(error: pydantic.ValidationError) -> ValidationError:
    findings = []
    for finding in error.errors(include_input=False, include_url=False):
        reason = finding.get("ctx", {}).get("error")
        if isinstance(reason, ValidationError):
            return reason
        where = "".join(f"[{step!r}]" if index else str(step) for index, step in enumerate(finding["loc"]))
        if finding["type"] in _RULES:
            findings.append(f"`{where}` {_RULES[finding['type']]}")
            continue
        rule = re.sub("^(Value error, |String (?=should)|Input (?=should))", "", finding["msg"])
        findings.append(f"`{where}` {rule}" if where else rule)
    return ValidationError("; ".join(findings) + ".", code="invalid_spec")
