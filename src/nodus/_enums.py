"""The enumerations of the wire protocol, open to values that newer servers may add."""

from __future__ import annotations

import enum
from typing import Any, TypeVar

_Member = TypeVar("_Member", bound="OpenStrEnum")


class OpenStrEnum(str, enum.Enum):
    """A `str` enum that keeps a value it does not know as a member-like instance.

    `JobStatus("paused")` gives an instance whose `.value` is `"paused"` and whose `.is_known` is False; it equals
    the string `"paused"`, pickles and copies. It is not cached: compare with `==`, not with `is`.
    """

    @classmethod
    def _missing_(cls: type[_Member], value: object) -> _Member | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = str(value)
        unknown._value_ = str(value)
        return unknown

    @property
    def is_known(self) -> bool:
        """Whether this version of the SDK knows the value."""
        return self._value_ in type(self)._value2member_map_

    # `str` and `Enum` disagree on these two, and Python 3.11 and 3.12 changed sides: define them for every version.
    def __str__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[OpenStrEnum], tuple[str]]:
        return type(self), (str(self._value_),)


class JobStatus(OpenStrEnum):
    """The states of a job. `COMPLETED`, `FAILED` and `CANCELLED` are terminal."""

    QUEUED = "queued"
    PLACED = "placed"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether a job never leaves this status. False for a status that this version does not know."""
        return self._value_ in ("completed", "failed", "cancelled")


class GpuType(OpenStrEnum):
    """The GPU models that a job can ask for."""

    H100_80GB = "h100_80gb"
    A100_80GB = "a100_80gb"
    A100_40GB = "a100_40gb"
    L40S = "l40s"
    A10G = "a10g"


class SupplierKind(OpenStrEnum):
    """The classes of supplier.

    Hyperscalers are AWS, GCP, Azure and OCI; tier 3 are CoreWeave, Lambda and Crusoe; neoclouds are RunPod, Vast and
    Hyperbolic; own are the operator's machines and clusters.
    """

    HYPERSCALER = "hyperscaler"
    TIER3 = "tier3"
    NEOCLOUD = "neocloud"
    OWN = "own"


class PrincipalKind(OpenStrEnum):
    """Who an API key was minted for."""

    HUMAN = "human"
    AGENT = "agent"
    SERVICE = "service"
