"""What webhooks tell of jobs and budgets: pure functions, from rows that are being written to events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from nodus_core.lifecycle import JobStatus
from nodus_core.money import usd
from nodus_core.spec import told
from nodus_core.webhook_events import EventType

from ..database.rows import JobRecord
from ..errors import BudgetFigures
from .outbox import WebhookEvent


class ToldKey(Protocol):
    """What is told of a key whose budget is concerned."""

    @property
    def id(self) -> str: ...

    @property
    def customer_id(self) -> str: ...

    @property
    def principal_kind(self) -> str: ...

    @property
    def is_test(self) -> bool: ...


def placed(job: Mapping[str, Any]) -> WebhookEvent:
    """Tell that a submission was accepted; `job` are the columns of the new row."""
    return WebhookEvent(
        EventType.JOB_PLACED,
        job["customer_id"],
        job["key_id"],
        job["principal_kind"],
        job["created_at"],
        {
            "estimated_cost_usd": usd(job["reserved"]),
            "simulated": job["simulated"],
            **told(job.__getitem__),
        },
        job["id"],
    )


def ended(job: JobRecord, values: Mapping[str, Any], last_supplier: str | None) -> WebhookEvent:
    """Tell how a job ended; `values` are the columns that its last transition gives it."""
    status = JobStatus(values["status"])
    if status is JobStatus.FAILED:
        kind = EventType.JOB_FAILED
        data: dict[str, object] = {
            "error_code": values["error_code"],
            "error_message": values["error_message"],
            "last_supplier": last_supplier,
        }
    else:
        kind = EventType.JOB_COMPLETED if status is JobStatus.COMPLETED else EventType.JOB_CANCELLED
        data = {"cost_usd": usd(values["cost"]), "supplier": values["supplier"], "region": values["region"]}
        if kind is EventType.JOB_COMPLETED:
            data["duration_s"] = values["duration_ms"] / 1000
    data["simulated"] = job.is_simulated
    data.update(told(lambda name: getattr(job, name)))
    return WebhookEvent(kind, job.customer_id, job.key_id, job.principal_kind, values["finished_at"], data, job.id)


def threshold_reached(key: ToldKey, figures: BudgetFigures, fraction: float, job_id: str, now: int) -> WebhookEvent:
    """Tell that a job's reservation took a key past a fraction of its cap; the figures include it."""
    return WebhookEvent(
        EventType.BUDGET_THRESHOLD_REACHED,
        key.customer_id,
        key.id,
        key.principal_kind,
        now,
        {**_budget(key, figures), "fraction": fraction},
        job_id,
    )


def exceeded(key: ToldKey, figures: BudgetFigures, estimated: int, now: int) -> WebhookEvent:
    """Tell that a submission, which might have cost `estimated` micro-USD, was refused."""
    return WebhookEvent(
        EventType.BUDGET_EXCEEDED,
        key.customer_id,
        key.id,
        key.principal_kind,
        now,
        {**_budget(key, figures), "estimated_cost_usd": usd(estimated)},
    )


def waits_for_budget(job: JobRecord, figures: BudgetFigures, needed: int, now: int) -> WebhookEvent:
    """Tell that a job, for which `needed` micro-USD at least would have to be reserved, waits for its key's budget."""
    return WebhookEvent(
        EventType.BUDGET_EXCEEDED,
        job.customer_id,
        job.key_id,
        job.principal_kind,
        now,
        {
            "key_id": job.key_id,
            "simulated": job.is_simulated,
            "month_to_date_usd": usd(figures.month_to_date),
            "monthly_spend_cap_usd": usd(figures.cap or 0),
            "estimated_cost_usd": usd(needed),
        },
        job.id,
    )


def _budget(key: ToldKey, figures: BudgetFigures) -> dict[str, object]:
    return {
        "key_id": key.id,
        "simulated": key.is_test,
        "month_to_date_usd": usd(figures.month_to_date),
        "monthly_spend_cap_usd": usd(figures.cap or 0),
    }
