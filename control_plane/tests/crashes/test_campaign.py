"""kill -9 between any two SQL statements, chosen at random: nothing is lost, billed twice, wrong or left untold."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from crashes.campaign import Campaign, unreliable
from crashes.victim import Victim
from webhooks.receiver import Receiver

Report = Callable[[str, object], None]

RUNS = 4
SOAKING_RUNS = 20
SOAKING = 10
SEED = 20
"""Of the campaign that is in every run: each place at which it dies is the same on every machine."""
SEED_VARIABLE = "NODUS_CRASH_SEED"

pytestmark = [
    pytest.mark.both_engines,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="control planes are started by forking"),
]


def test_crashes(tmp_path: Path, kept_database_url: str, record_property: Report) -> None:
    """Four, one after the other, each followed by a look at everything."""
    run(tmp_path, kept_database_url, record_property, RUNS, seed=SEED)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(SOAKING))
def test_many_crashes(tmp_path: Path, kept_database_url: str, record_property: Report, number: int) -> None:
    """Two hundred, twenty on each of ten databases."""
    run(tmp_path, kept_database_url, record_property, SOAKING_RUNS)


def run(directory: Path, database_url: str, record_property: Report, runs: int, *, seed: int | None = None) -> None:
    """Run a campaign on an empty database."""
    seed = new_seed(record_property, seed)
    with Receiver() as receiver, Victim(directory, database_url, seed=seed) as victim:
        receiver.script(*unreliable())
        campaign = Campaign(victim, receiver, database_url, seed)
        campaign.begin()
        for _ in range(runs):
            campaign.crash()
        campaign.finish()
    tell(campaign, record_property)


def new_seed(record_property: Report, fixed: int | None) -> int:
    """Return a seed, by default a random one, and have it told at the end; NODUS_CRASH_SEED is taken instead."""
    seed = int(os.environ.get(SEED_VARIABLE) or (secrets.randbits(32) if fixed is None else fixed))
    record_property("crashes", f"{SEED_VARIABLE}={seed}")
    return seed


def tell(campaign: Campaign, record_property: Report) -> None:
    """Have it told where the control plane died."""
    places = Counter(" ".join(place.split()[:2]) for place in campaign.deaths)
    told = ", ".join(f"{count} {place}" for place, count in places.most_common())
    made = len(campaign.submissions)
    record_property("crashes", f"{made} submissions, {len(campaign.deaths)} deaths: {told}")
