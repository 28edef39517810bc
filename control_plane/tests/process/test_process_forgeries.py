"""A hostile program changes whatever it can reach: it is paid for, moves no clock, and holds nobody up."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from entries import layout_of_one_machine
from patience import PATIENCE_SECONDS, eventually
from process.conftest import SECRET

from nodus_control.clock import RunningClock
from nodus_control.control_plane import ControlPlane
from nodus_control.dispatch.worker import Worker
from nodus_control.dispatch.worker_loop import WorkerLoop
from nodus_control.runner.containment import AUTO, OFF
from nodus_control.suppliers.drivers import Drivers
from nodus_control.suppliers.process.driver import ProcessDriver
from nodus_control.suppliers.process.options import ProcessOptions
from nodus_control.suppliers.protocol import PlacementState
from nodus_core.spec import parse_spec
from nodus_ledger.database.rows import JobRecord
from nodus_ledger.jobs.leases import Claims
from nodus_ledger.keys.keys import KeyRecord, PrincipalKind
from nodus_ledger.trust.row_times import RowTimes

if TYPE_CHECKING:
    from process.conftest import RealJobs

    Report = Callable[[str, object], None]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="runners are found by way of /proc")

FORGERIES = 50
SOAKING = 10_000
AT_ONCE = 8
HOSTILE = pathlib.Path(__file__).with_name("hostile.py")
GPUS = ("h100_80gb", "a100_80gb", "a100_40gb", "l40s", "a10g")
ROUNDING_MS = 2
"""Times are kept in whole milliseconds."""


class TimedWorker(Worker):
    """Remembers how long a pass took at the most: what another customer's job can have to wait for."""

    longest_seconds = 0.0

    def run_batch(self) -> int:
        began = time.monotonic()
        try:
            return super().run_batch()
        finally:
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)


@dataclass
class Campaign:
    """Hostile programs and honest ones, side by side on one control plane."""

    directory: pathlib.Path
    containment: str
    done: int = 0
    """How many forgeries were not refused by the system at once."""
    longest_honest_seconds: float = 0.0
    endings: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.control_plane = ControlPlane(
            f"sqlite:///{self.directory / 'nodus.db'}", clock=RunningClock(), seed=None, is_alone=False
        )
        self.driver = ProcessDriver(
            self.directory / "state",
            secret=SECRET,
            options=ProcessOptions(containment=self.containment),
            state_files=self.directory / "nodus.db",
            grace_seconds=0.2,
            linger_seconds=0.1,
            force_seconds=2.0,
        )
        layout = layout_of_one_machine(self.control_plane.catalogue, gpus=8, at_once=AT_ONCE)
        claims = Claims(self.control_plane.database, self.control_plane.catalogue, layout)
        self.worker = TimedWorker(
            self.control_plane.jobs, claims, Drivers.everywhere(self.driver), self.control_plane.clock.now
        )
        self.loop = WorkerLoop(self.worker, self.control_plane.clock, lambda: None)
        minted = self.control_plane.keys.mint(customer_id="c", label="", principal_kind=PrincipalKind.AGENT, now=0)
        key = self.control_plane.keys.find(minted.api_key)
        assert key is not None
        self.key: KeyRecord = key
        self.loop.start()

    def close(self) -> None:
        self.loop.stop()
        self.worker.close()
        self.control_plane.close()

    def run(self, forgeries: int, seed: int) -> None:
        """Run so many forgeries, a few of them in each program."""
        chance = random.Random(seed)
        self.pending: dict[str, tuple[pathlib.Path | None, float]] = {}
        done = 0
        while done < forgeries:
            count = min(forgeries - done, chance.randint(1, 3))
            beats = self.directory / f"beats-{done}"
            seeds = [str(chance.randrange(1 << 30)) for _ in range(count)]
            seconds = str(chance.choice((0.0, 0.05, 0.3)))
            self.submit((sys.executable, "-I", "-S", str(HOSTILE), str(beats), seconds, *seeds), beats)
            done += count
            if chance.random() < 0.25:
                self.submit(("true",), None)
            eventually(lambda: self.look() < AT_ONCE)
        eventually(lambda: self.look() == 0)

    def submit(self, command: tuple[str, ...], beats: pathlib.Path | None) -> None:
        gpu = GPUS[len(self.pending) % len(GPUS)]
        spec = parse_spec({"image": "x", "gpu": gpu, "command": list(command), "max_runtime_seconds": 60})
        job = self.control_plane.jobs.submit(self.key, spec, None, self.control_plane.clock.now()).job
        self.pending[job.id] = beats, time.monotonic()
        self.loop.wake()

    def look(self) -> int:
        """Check what has ended, ask for the end of what has stopped its runner; return how many are left."""
        for job_id, (beats, since) in tuple(self.pending.items()):
            job = self.control_plane.jobs.get("c", job_id)
            if job.is_terminal:
                del self.pending[job_id]
                self.check(job, beats, time.monotonic() - since)
            elif self.is_stuck(beats, time.monotonic() - since) and job.cancel_requested_at is None:
                self.control_plane.jobs.request_cancel(self.key, job_id, self.control_plane.clock.now())
                self.loop.wake()
        return len(self.pending)

    def is_stuck(self, beats: pathlib.Path | None, seconds: float) -> bool:
        """Whether a program has done what it came for, and its job does not end: its runner is stopped, it seems."""
        if beats is None:
            return False
        return seconds > (5.0 if beats.with_name(f"{beats.name}.tried").exists() else PATIENCE_SECONDS / 2)

    def check(self, job: JobRecord, beats: pathlib.Path | None, seconds: float) -> None:
        """Hold what is on record against what was seen."""
        now = self.control_plane.clock.now()
        kind = f"{job.status} {job.error_code or ''}".strip()
        self.endings[kind] = self.endings.get(kind, 0) + 1
        assert job.finished_at is not None
        assert job.created_at <= job.finished_at <= now
        if beats is None:
            assert job.status == "completed"
            self.longest_honest_seconds = max(self.longest_honest_seconds, seconds)
            return
        if not beats.exists():  # It had no time to begin.
            return
        first, *later = (float(line) * 1000 for line in beats.read_bytes()[:64].replace(b"\0", b"").split())
        last = min(later[-1] if later else first, job.finished_at)
        self.done += int(beats.read_bytes()[64:] or 0)
        assert job.duration_ms is not None
        assert job.duration_ms >= last - first - ROUNDING_MS, (kind, job.duration_ms, last - first)
        beats.unlink()


@pytest.fixture(params=[AUTO, OFF], ids=["contained", "not contained"])
def campaign(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Campaign]:
    made = Campaign(tmp_path, request.param)
    yield made
    made.close()
    for path in (tmp_path / "state").glob("*/*"):
        os.chmod(path, 0o700, follow_symlinks=True)
    shutil.rmtree(tmp_path / "state", ignore_errors=True)


def test_a_program_that_removes_its_records_is_not_taken_for_one_that_never_ran(jobs: RealJobs) -> None:
    """Not when it is polled, and not when it is cancelled: it has run until that was noticed, and is ended."""
    script = "cd ..; kill -STOP $(sed 's/.*pid\": \\([0-9]*\\).*/\\1/' claim.json); rm -f *.json; touch $0; sleep 600"
    driver = jobs.new_driver(options=ProcessOptions(containment=OFF))
    for cancels in (False, True):
        gone = jobs.scratch / f"gone-{cancels}"
        job = jobs.make(("sh", "-c", script, str(gone)), driver=driver).submit()
        eventually(gone.exists)
        job.placement = replace(job.placement, is_accepted=True)
        if cancels:
            job.cancel()
        report = job.finish()

        assert (report.state, report.error_code) == (PlacementState.FAILED, "records_changed")
        assert report.started_at is not None
        assert report.started_at == job.placement.placed_at
        assert (report.finished_at or 0) > report.started_at
        assert job.processes() == []


@pytest.mark.parametrize("kills", [False, True])
def test_a_program_cannot_cancel_itself(jobs: RealJobs, kills: bool) -> None:
    """It would be placed again, and run once more for nothing; also where it kills its runner after that."""
    kill = "kill -9 $(sed 's/.*pid\": \\([0-9]*\\).*/\\1/' claim.json); " if kills else ""
    driver = jobs.new_driver(options=ProcessOptions(containment=OFF))
    job = jobs.start_shell(f"echo ready; cd ..; echo {{}} > cancel; {kill}sleep 600", driver=driver)
    report = job.finish()

    assert (report.state, report.error_code) == (PlacementState.FAILED, "records_changed")
    assert job.processes() == []


def test_forgeries_are_paid_for_and_move_no_clock(campaign: Campaign, record_property: Report) -> None:
    """Fifty forgeries, drawn from one seed."""
    run(campaign, FORGERIES, record_property)


@pytest.mark.soak
def test_ten_thousand_forgeries_are_paid_for_and_move_no_clock(campaign: Campaign, record_property: Report) -> None:
    """So many against programs that are contained, and as many where the system offers nothing for that."""
    run(campaign, SOAKING, record_property)


def run(campaign: Campaign, forgeries: int, record_property: Report) -> None:
    """Run a campaign, and say what became of it."""
    campaign.run(forgeries, seed=8)
    latest = RowTimes(campaign.control_plane.database).latest_event_ms()
    record_property(
        "forgeries",
        f"{forgeries} forgeries, {campaign.containment}: {campaign.done} carried out; {campaign.endings}; longest pass "
        f"{campaign.worker.longest_seconds:.2f} s; longest other job {campaign.longest_honest_seconds:.2f} s",
    )

    assert latest is not None
    assert latest <= campaign.control_plane.clock.now()
    assert campaign.endings["completed"] > 0
    if campaign.containment == OFF:
        assert campaign.endings["failed records_changed"] > 0
    else:
        assert "failed records_changed" not in campaign.endings
