"""kill -9 between any two SQL statements while commands really run: each runs once, and how it ended is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from crashes.campaign import Campaign
from crashes.test_campaign import SEED, Report, new_seed, tell
from crashes.victim import Victim
from webhooks.receiver import Receiver

import nodus

RUNS = 2
SOAKING = 40

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs are adopted by way of /proc")


def test_crashes_while_programs_run(tmp_path: Path, record_property: Report) -> None:
    """Two, one after the other."""
    run(tmp_path, record_property, RUNS, seed=SEED)


@pytest.mark.soak
def test_many_crashes_while_programs_run(tmp_path: Path, record_property: Report) -> None:
    """Forty."""
    run(tmp_path, record_property, SOAKING)


def status_of(number: int) -> int:
    """The exit status of a submission's program."""
    return 7 if number % 4 == 0 else 0


def run(directory: Path, record_property: Report, runs: int, *, seed: int | None = None) -> None:
    """Run a campaign whose jobs are programs that leave a mark for every time that they run."""

    def program(number: int) -> list[str]:
        script = f"echo x >> {directory}/ran-{number}; echo hello from {number}; exit {status_of(number)}"
        return ["sh", "-c", script]

    seed, database_url = new_seed(record_property, seed), f"sqlite:///{directory / 'nodus.db'}"
    with Receiver() as receiver, Victim(directory, database_url, seed=seed, driver="process") as victim:
        campaign = Campaign(victim, receiver, database_url, seed, program)
        campaign.begin()
        for _ in range(runs):
            campaign.crash()
        for submission, job in campaign.ended():
            mark = directory / f"ran-{submission.number}"
            times = mark.read_text(encoding="ascii").count("x") if mark.exists() else 0
            if job.status == nodus.JobStatus.CANCELLED:
                assert submission.cancels
                assert times <= 1
                continue
            expected = nodus.JobStatus.FAILED if status_of(submission.number) else nodus.JobStatus.COMPLETED
            assert (times, job.status) == (1, expected), (submission, job)
            assert job.logs().splitlines()[1:] == [f"hello from {submission.number}"]
        campaign.finish()
    tell(campaign, record_property)
