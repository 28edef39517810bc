"""What is recorded, and sent to subscribers, when a reservation nears a key's cap or is refused by it."""

from __future__ import annotations

from sqlalchemy import Connection

from ..errors import BudgetExceeded, BudgetFigures
from ..trust import key_entries, log
from ..trust.log import Entry
from ..webhooks import outbox, payloads
from . import refusals, thresholds
from .keys import KeyRecord


def reserved(
    connection: Connection, key: KeyRecord, figures: BudgetFigures, job_id: str, default_fraction: float, now: int
) -> None:
    """Report that a reservation crossed the threshold, once per key, month and fraction. The key's row is locked."""
    log.append_all(connection, crossed(connection, key, figures, job_id, default_fraction, now))


def crossed(
    connection: Connection, key: KeyRecord, figures: BudgetFigures, job_id: str, default_fraction: float, now: int
) -> list[Entry]:
    """Tell subscribers the same; return what the ledger is to record of it, if anything."""
    fraction = default_fraction if key.threshold is None else key.threshold
    if not thresholds.newly_reached(connection, key.id, figures, fraction, now):
        return []
    outbox.publish(connection, [payloads.threshold_reached(key, figures, fraction, job_id, now)])
    return [key_entries.threshold_reached(key.owner, now, figures, f"{fraction:g}")]


def refused(connection: Connection, key: KeyRecord, refusal: BudgetExceeded, now: int) -> None:
    """Report that the cap refused a submission; the caller commits this, and nothing else. The key's row is locked.

    Subscribers are told of each; the ledger, once a minute for the same amount.
    """
    outbox.publish(connection, [payloads.exceeded(key, refusal.figures, refusal.estimated, now)])
    if refusals.is_to_be_recorded(connection, key.id, refusal.estimated, now):
        log.append_all(connection, [key_entries.exceeded(key.owner, now, refusal.figures, refusal.estimated)])
