"""Many workers and submitters at once: nobody passes a cap, waits for the other for ever, or loses a job."""

from __future__ import annotations

import pytest
from keys.budget_campaign import CUSTOMERS, SUPPLIERS, Campaign
from keys.budget_walk import walk
from patience import PATIENCE_SECONDS
from servers.engines import POSTGRESQL
from sqlalchemy import text
from yard import open_yard

from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.parametrize("engine", [POSTGRESQL], indirect=True)
TEN_MINUTES = 600.0


def hold(database_url: str, seconds: float, *, workers: int, submitters: int, patience: float) -> None:
    """Run a campaign, and hold what it has written against every rule."""
    yard = open_yard(database_url, SUPPLIERS)
    campaign = Campaign(yard, seed=7)
    try:
        campaign.run(seconds, workers=workers, submitters=submitters, patience=patience)
        with yard.control_plane.database.read() as connection:
            query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            deadlocks = connection.execute(text(query)).scalar()
        walked = [walk(yard.control_plane, customer) for customer in CUSTOMERS]
        faults = verify(yard.control_plane.database).faults
        open_jobs = campaign.open_jobs
    finally:
        yard.control_plane.close()

    assert faults == []
    assert deadlocks == 0
    assert open_jobs == 0
    for counted, months in walked:
        assert counted["job.submitted"] == counted["job.settled"] > 0
        assert {amount for month in months.values() for amount in month.reserved.values()} == set()


def test_nobody_passes_a_cap_or_waits_for_the_other_for_ever(kept_database_url: str) -> None:
    """Losses, outages, cancels and caps that change, while others submit."""
    hold(kept_database_url, 1.5, workers=2, submitters=2, patience=PATIENCE_SECONDS)


@pytest.mark.soak
def test_nor_in_ten_minutes(kept_database_url: str) -> None:
    """More of everything."""
    hold(kept_database_url, TEN_MINUTES, workers=4, submitters=4, patience=TEN_MINUTES)
