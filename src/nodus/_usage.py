"""What jobs have cost: the question, as parameters of a query, and the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from . import _arguments
from ._enums import GpuType, JobStatus, PrincipalKind, SupplierKind
from ._errors import ValidationError
from ._fields import label_texts, time_texts
from ._job_pages import bounded_list

GROUPINGS = ("principal_kind", "key", "supplier", "kind", "region", "gpu", "status", "day", "month")
"""What the server groups by, besides labels: `label:` and a key."""

LABEL = "label:"


class _Answer(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False, populate_by_name=True
    )


class UsageAmounts(_Answer):
    """What some jobs come to.

    Attributes:
        jobs: how many they are.
        gpu_seconds: how long they ran, in seconds, each times its GPUs.
        cost_usd: what they cost, in US dollars.
        retail_cost_usd: what those of them would have cost at the cheapest hyperscaler whose retail price is known, in
            US dollars; None if it is known of none.
        saved_usd: retail cost minus cost of those, in US dollars; may be negative.
    """

    jobs: int
    gpu_seconds: float
    cost_usd: float
    retail_cost_usd: float | None = None
    saved_usd: float | None = None


class UsageGroup(UsageAmounts):
    """Jobs that have in common what was grouped by; of all else nothing is said, and it is None.

    Attributes:
        principal_kind: who submitted them.
        key: the id of the key that submitted them.
        supplier: who had them last; None also for jobs that ended without one.
        kind: the class of that supplier; None also for one that the control plane does not know any more.
        region: where they were last; None also for jobs that ended without a place.
        gpu: the GPU model.
        status: how they ended.
        day: the day on which they ended (UTC).
        month: the month in which they ended (UTC), as `2026-10`.
        labels: their values of the labels that were grouped by; None for jobs without.
    """

    principal_kind: PrincipalKind | None = None
    key: str | None = None
    supplier: str | None = None
    kind: SupplierKind | None = None
    region: str | None = None
    gpu: GpuType | None = None
    status: JobStatus | None = None
    day: date | None = None
    month: str | None = None
    labels: dict[str, str | None] = {}

    @model_validator(mode="before")
    @classmethod
    def _collect_labels(cls, content: Any) -> Any:
        """Gather the members `label:…` of the wire."""
        if not isinstance(content, dict) or "labels" in content:
            return content
        found = {name: value for name, value in content.items() if isinstance(name, str) and name.startswith(LABEL)}
        if not found:
            return content
        return {**content, "labels": {name.removeprefix(LABEL): value for name, value in found.items()}}


class Usage(_Answer):
    """What the customer's settled jobs of a span of time have cost; an agent's key sees its own jobs only.

    The amounts of the groups add up to the total, to the micro-dollar.

    Attributes:
        from_: when the span begins; jobs count that ended then or later.
        to: when it ends; jobs count that ended before.
        simulated: whether these are simulated jobs, for which nothing was charged.
        groups: the dearest first; a single one where nothing was grouped by, and none where there are no jobs.
        total: all of them together.
    """

    from_: datetime = Field(alias="from")
    to: datetime
    simulated: bool = False
    if TYPE_CHECKING:
        groups: list[UsageGroup]
    else:
        groups: bounded_list(UsageGroup)
    total: UsageAmounts


def usage_query(
    *,
    month: str | None,
    from_: datetime | date | str | None,
    to: datetime | date | str | None,
    group_by: str | Iterable[str],
    labels: Mapping[str, str | None] | None,
    simulated: bool | None,
) -> list[tuple[str, str]]:
    """Return a question as parameters of a query.

    Raises:
        ValidationError: (`invalid_argument`) an argument is malformed, or `month` comes with `from_` or `to`.
    """
    query: list[tuple[str, str]] = []
    if month is not None:
        if from_ is not None or to is not None:
            raise _invalid("`month` and `from_` or `to` exclude each other.")
        query.append(("month", _arguments.month(month)))
    for name, parameter, value in (("from_", "from", from_), ("to", "to", to)):
        if value is not None:
            query += [(parameter, text) for text in time_texts(name, value)]
    groups = [_grouping(each) for each in ([group_by] if isinstance(group_by, str) else group_by)]
    if groups:
        query.append(("group_by", ",".join(groups)))
    query += [("label", text) for text in label_texts("labels", labels or {})]
    if simulated is not None:
        query.append(("simulated", "true" if simulated else "false"))
    return query


def _grouping(value: object) -> str:
    name = _arguments.word("group_by", value)
    if name.startswith(LABEL) or name in GROUPINGS or "," in name:
        return name
    raise _invalid(
        f"`group_by` must be one or several of {', '.join(GROUPINGS)}, or 'label:' and a key, not {value!r}."
    )


def _invalid(message: str) -> ValidationError:
    return ValidationError(message, code="invalid_argument")
