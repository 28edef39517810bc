"""Usage as FOCUS, the FinOps Open Cost and Usage Specification: its Cost and Usage columns, version 1.4.

There is every column that is mandatory there, and of the others those that there is something to say in; what the
specification has no column for is in columns that begin with `x_`. https://focus.finops.org/focus-specification/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .._money import plain
from .output import utc_time
from .usage import text_cell, value_of, write_csv

if TYPE_CHECKING:
    from .._usage import Usage, UsageGroup

VERSION = "1.4"
DEFAULT_BY = ("day", "supplier", "region", "gpu")

PROVIDER = "Nodus"
_SERVICE = "GPU jobs"
_SECONDS_PER_HOUR = 3600

MANDATORY = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
)
_MORE = (
    "ChargeFrequency",
    "ConsumedQuantity",
    "ConsumedUnit",
    "HostProviderName",
    "PricingCategory",
    "RegionId",
    "RegionName",
    "ServiceSubcategory",
    "SubAccountId",
    "SubAccountType",
    "Tags",
    "x_Gpu",
    "x_JobStatus",
    "x_Jobs",
    "x_PrincipalKind",
    "x_RetailCost",
    "x_Simulated",
    "x_SupplierKind",
)
COLUMNS = (*MANDATORY, *_MORE)


def grouping(by: Sequence[str]) -> tuple[str, ...]:
    """Return what to group by: a charge is of a day, or of a month where that was asked for."""
    if not by:
        return DEFAULT_BY
    return tuple(by) if "day" in by or "month" in by else ("day", *by)


def as_focus(usage: Usage, *, account: str) -> str:
    """Write usage as CSV, a charge on each line, the earliest first.

    Args:
        usage: the answer, grouped by day or by month, and by whatever else.
        account: what to name the customer's account.
    """
    charges = sorted((_charge(usage, group, account) for group in usage.groups), key=lambda each: each[0])
    rows = ([charge.get(name) or "" for name in COLUMNS] for _, charge in charges)
    return write_csv(COLUMNS, rows)


def _charge(usage: Usage, group: UsageGroup, account: str) -> tuple[datetime, Mapping[str, str | None]]:
    """Return when a charge begins, and its columns; what has no value is None."""
    begins_at, ends_at, month = _period(group)
    begins_at, ends_at = max(begins_at, usage.from_), min(ends_at, usage.to)
    cost = plain(group.cost_usd)
    charged = plain(0.0) if usage.simulated else cost
    key = _text(group, "key")
    region = _text(group, "region")
    return begins_at, {
        "BilledCost": charged,
        "EffectiveCost": charged,
        "ContractedCost": cost,
        "ListCost": cost,
        "BillingAccountId": text_cell(account),
        "BillingCurrency": "USD",
        "BillingPeriodStart": utc_time(month),
        "BillingPeriodEnd": utc_time(_following(month)),
        "ChargePeriodStart": utc_time(begins_at),
        "ChargePeriodEnd": utc_time(ends_at),
        "ChargeCategory": "Usage",
        "ChargeDescription": text_cell(_description(group)),
        "ChargeFrequency": "Usage-Based",
        "InvoiceIssuerName": PROVIDER,
        "ServiceProviderName": PROVIDER,
        "HostProviderName": _text(group, "supplier"),
        "ServiceCategory": "Compute",
        "ServiceSubcategory": "Containers",
        "ServiceName": _SERVICE,
        "PricingCategory": "Standard",
        "PricingQuantity": f"{group.gpu_seconds / _SECONDS_PER_HOUR:.9f}",
        "PricingUnit": "GPU-Hours",
        "ConsumedQuantity": f"{group.gpu_seconds:.3f}",
        "ConsumedUnit": "GPU-Seconds",
        "RegionId": region,
        "RegionName": region,
        "SubAccountId": key,
        "SubAccountType": None if key is None else "API key",
        "Tags": json.dumps(dict(_tags(group)), ensure_ascii=False) if group.labels else None,
        "x_Gpu": _text(group, "gpu"),
        "x_JobStatus": _text(group, "status"),
        "x_Jobs": str(group.jobs),
        "x_PrincipalKind": _text(group, "principal_kind"),
        "x_RetailCost": None if group.retail_cost_usd is None else plain(group.retail_cost_usd),
        "x_Simulated": "true" if usage.simulated else "false",
        "x_SupplierKind": _text(group, "kind"),
    }


def _period(group: UsageGroup) -> tuple[datetime, datetime, datetime]:
    """Return when the day or month of a group begins and ends, and when its month begins."""
    if group.day is not None:
        begins_at = datetime(group.day.year, group.day.month, group.day.day, tzinfo=timezone.utc)
        return begins_at, begins_at + timedelta(days=1), begins_at.replace(day=1)
    year, _, month = (group.month or "").partition("-")
    begins_at = datetime(int(year), int(month), 1, tzinfo=timezone.utc)
    return begins_at, _following(begins_at), begins_at


def _following(month: datetime) -> datetime:
    """Return when the month after one begins."""
    return (month + timedelta(days=31)).replace(day=1)


def _description(group: UsageGroup) -> str:
    where = [part for part in (value_of(group, "supplier"), value_of(group, "region")) if part]
    what = value_of(group, "gpu")
    jobs = f"{group.jobs} GPU job{'' if group.jobs == 1 else 's'}"
    return " ".join([jobs, *([f"on {what}"] if what else []), *([f"at {', '.join(where)}"] if where else [])])


def _text(group: UsageGroup, name: str) -> str | None:
    value = value_of(group, name)
    return None if value is None else text_cell(value)


def _tags(group: UsageGroup) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in group.labels.items() if value is not None)
