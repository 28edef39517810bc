"""The events that webhooks tell of, by their names on the wire."""

from __future__ import annotations

import enum


class EventType(str, enum.Enum):
    """What an endpoint can subscribe to."""

    JOB_PLACED = "job.placed"
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    BUDGET_THRESHOLD_REACHED = "budget.threshold_reached"
    BUDGET_EXCEEDED = "budget.exceeded"


EVENT_TYPES: tuple[str, ...] = tuple(kind.value for kind in EventType)
"""All of them."""
