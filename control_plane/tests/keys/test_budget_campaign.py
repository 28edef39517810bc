"""Many workers, submitters and others at once: nobody passes a cap, waits for the other for ever, or loses a job."""

from __future__ import annotations

import json
import logging

import pytest
from entries import file_of
from keys.budget_campaign import CUSTOMERS, SUPPLIERS, Campaign
from keys.budget_walk import walk
from keys.bystanders import metered, written
from keys.lock_watch import LockWatch
from patience import PATIENCE_SECONDS
from servers.engines import POSTGRESQL
from yard import open_yard

from nodus_control.control_plane import ControlPlane
from nodus_core.usage import Question
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
TEN_MINUTES = 600.0

_logger = logging.getLogger(__name__)


def hold(database_url: str, seconds: float, *, workers: int, submitters: int, patience: float) -> None:
    """Run a campaign, and hold what it has written against every rule."""
    with LockWatch(database_url) as watch:
        yard = open_yard(database_url, SUPPLIERS)
        other = ControlPlane(database_url, clock=yard.clock, suppliers=file_of(*SUPPLIERS))
        campaign = Campaign(yard, other, seed=7)
        try:
            campaign.run(seconds, workers=workers, submitters=submitters, patience=patience)
            walked = {customer: walk(yard.control_plane, customer) for customer in CUSTOMERS}
            faults = verify(yard.control_plane.database).faults
            open_jobs = campaign.open_jobs
            sums = {customer: sums_of(yard.control_plane, campaign, customer) for customer in CUSTOMERS}
        finally:
            other.close()
            yard.control_plane.close()
    rows = {customer: dict(counted) for customer, (counted, _) in walked.items()}
    _logger.info("%s; %s; %d months; %s", watch.counts, campaign.bystanders.done, len(campaign.months), rows)

    assert faults == []
    assert watch.counts.deadlocks == 0
    assert open_jobs == 0
    for customer, (counted, months) in walked.items():
        assert counted["job.submitted"] == counted["job.settled"] > 0
        assert {amount for month in months.values() for amount in month.reserved.values()} == set()
        assert sums[customer] == {sum(sum(month.realised.values()) for month in months.values())}
    for what in ("usage", "statement", "checkpoint", "batch", "sweep", "delivery", "metering"):
        assert campaign.bystanders.done[what] > 0, what


def sums_of(plane: ControlPlane, campaign: Campaign, customer: str) -> set[int]:
    """What a customer spent, by usage, by the statements of all months, and by meter events: one amount."""
    reports, statements = 0, 0
    for month in campaign.months:
        reports += plane.usage.report(customer, Question(month.start, month.end)).total.cost
        trailer = json.loads(written(plane, customer, month).splitlines()[-1])
        statements += trailer["totals"]["cost_micros"]
    return {reports, statements, metered(plane, customer)}


def test_nobody_passes_a_cap_or_waits_for_the_other_for_ever(kept_database_url: str) -> None:
    """Losses, outages, cancels, caps and months that change, while others submit, ask, meter and sweep."""
    hold(kept_database_url, 1.5, workers=2, submitters=2, patience=PATIENCE_SECONDS)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nor_in_ten_minutes(kept_database_url: str) -> None:
    """More of everything."""
    hold(kept_database_url, TEN_MINUTES, workers=4, submitters=4, patience=2 * TEN_MINUTES)
