"""Many jobs followed at once on one client: nothing missed, nothing doubled, whatever breaks meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from control.relay import Relay

import nodus
from nodus_control.testing import LocalControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.jobs.event_log import EventLog

JOBS = [100, pytest.param(1000, marks=pytest.mark.soak)]
LIFECYCLE = ["queued", "placed", "running", "completed"]
CUTS_AT = (0.1, 0.7, 1.5, 3.1)
RESTART_AT = 2.2
"""When things break: after so many events for each job."""
CALL_EVERY = 25


class Stage:
    """A control plane behind a relay, with jobs that run to their end while connections are cut."""

    def __init__(self, database: Path, relay: Relay, jobs: int) -> None:
        self._database = database
        self.relay = relay
        self.jobs = jobs
        self.control_plane = self._start()
        self.restarted = threading.Event()
        self._turn = threading.Lock()

    def submit(self) -> list[str]:
        """Submit all jobs."""
        control_plane = self.control_plane.plane
        key = control_plane.keys.find(self.control_plane.api_key)
        assert key is not None
        spec = parse_spec({"image": "x", "gpu": "h100_80gb", "env": {"NODUS_SIM_DURATION_SECONDS": "60"}})
        with ThreadPoolExecutor(32) as threads:
            now = control_plane.clock.now()
            submitted = list(threads.map(lambda _: control_plane.jobs.submit(key, spec, None, now), range(self.jobs)))
        control_plane.wake()
        return [each.job.id for each in submitted]

    def restart(self) -> None:
        """Stop the control plane, and start another on the same database."""
        with self._turn:
            self.relay.target = None
            self.control_plane.close()
            self.relay.cut()
            self.control_plane = self._start()
        self.restarted.set()

    def truth(self) -> list[tuple[str, str, int, str]]:
        """Return all transitions, as the database has them."""
        control_plane = self.control_plane.plane
        key = control_plane.keys.find(self.control_plane.api_key)
        assert key is not None
        events = EventLog(control_plane.database).of_customer(key.customer_id, after=0, limit=10 * self.jobs)
        return [(str(event.position), event.job_id, event.seq, event.status) for event in events]

    def after(self, count: int) -> Callable[[], None] | None:
        """Say what is to break once so many events have come."""
        if count in [round(self.jobs * part) for part in CUTS_AT]:
            return self.relay.cut
        return self.restart if count == round(self.jobs * RESTART_AT) else None

    def play(self) -> None:
        """Let the jobs run to their end, a part of it on either side of the restart."""
        self.submit()
        for _ in range(3):
            with self._turn:
                self._pass(20)
        self.restarted.wait()
        self._pass(2000)

    def _pass(self, seconds: int) -> None:
        """Let time pass at once, rather than from one due moment to the next as `advance` does: that takes longer."""
        control_plane = self.control_plane.plane
        control_plane.clock.advance_to(control_plane.clock.now() + 1000 * seconds)
        control_plane.worker.run_due()
        control_plane.wake()

    def _start(self) -> LocalControlPlane:
        control_plane = LocalControlPlane(database=self._database).start()
        self.relay.target = int(control_plane.base_url.rpartition(":")[2])
        return control_plane


@pytest.fixture(params=JOBS)
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A control plane behind a relay."""
    with Relay() as relay:
        made = Stage(tmp_path / "nodus.db", relay, request.param)
        yield made
        made.control_plane.close()


def facts(event: nodus.JobEvent) -> tuple[str | None, str, int, str]:
    """Return what tells an event from all others."""
    return event.id, event.job_id, event.seq, event.status.value


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_many_jobs_are_followed_through_drops_and_a_restart(stage: Stage, anyio_backend: str) -> None:
    """On one stream, while ordinary calls on the same client go on."""
    told: list[nodus.JobEvent] = []
    answered: list[str] = []

    async with nodus.AsyncClient(
        api_key=stage.control_plane.api_key, base_url=stage.relay.base_url, max_retries=30
    ) as client:

        async def call(job_id: str) -> None:
            answered.append((await client.get(job_id)).id)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, stage.play)
            async with client.events() as events:
                async for event in events:
                    told.append(event)
                    if len(told) % CALL_EVERY == 0:
                        tasks.start_soon(call, event.job_id)
                    trouble = stage.after(len(told))
                    if trouble is not None:
                        await anyio.to_thread.run_sync(trouble)
                    if len(told) == len(LIFECYCLE) * stage.jobs:
                        break

    check(stage, told, answered)


def test_many_jobs_are_followed_by_a_thread(stage: Stage) -> None:
    """The synchronous client follows them as the asynchronous one does."""
    told: list[nodus.JobEvent] = []

    with (
        nodus.Client(api_key=stage.control_plane.api_key, base_url=stage.relay.base_url, max_retries=30) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        playing = threads.submit(stage.play)
        calls = []
        with client.events() as events:
            for event in events:
                told.append(event)
                if len(told) % CALL_EVERY == 0:
                    calls.append(threads.submit(client.get, event.job_id))
                trouble = stage.after(len(told))
                if trouble is not None:
                    trouble()
                if len(told) == len(LIFECYCLE) * stage.jobs:
                    break
        playing.result()
        answered = [call.result().id for call in calls]

    check(stage, told, answered)


def check(stage: Stage, told: list[nodus.JobEvent], answered: list[str]) -> None:
    """Hold what was told against what happened."""
    lifecycles: dict[str, list[str]] = {}
    for event in told:
        lifecycles.setdefault(event.job_id, []).append(event.status.value)

    assert len(lifecycles) == stage.jobs
    assert set(map(tuple, lifecycles.values())) == {tuple(LIFECYCLE)}
    assert [facts(event) for event in told] == stage.truth()
    assert sorted(answered) == sorted(event.job_id for event in told[CALL_EVERY - 1 :: CALL_EVERY])
    assert stage.relay.cuts > len(CUTS_AT)
