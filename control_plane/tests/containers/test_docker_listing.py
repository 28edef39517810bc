"""One question for all containers that run, however many there are, and no old answer to anybody."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS

from nodus_control.suppliers.docker.driver import DockerDriver
from nodus_control.suppliers.docker.engine import Answer, Engine
from nodus_control.suppliers.docker.listing import FRESH_SECONDS, Listing
from nodus_control.suppliers.docker.names import ATTEMPT, DATABASE, JOB
from nodus_control.suppliers.docker.output import StoredOutput
from nodus_control.suppliers.docker.state import Container, Stage
from nodus_control.suppliers.protocol import EngineUnavailable, Placement, PlacementState, Workload
from nodus_core.suppliers_file import NO_DEVICES, DockerOptions, UnixEndpoint

ENGINE_TIME = 1_700_000_100.0
WORKLOAD = Workload("busybox", "h100", 0, 3600, None, {})


class Clock:
    """Moves on a little at each look, and as far as a test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += FRESH_SECONDS / 1000
        return self.now


class FakeEngine(Engine):
    """Describes and lists containers as Docker does, and counts the questions."""

    def __init__(self) -> None:
        super().__init__(DockerOptions(UnixEndpoint("/none")))
        self.asked: list[str] = []
        self.running: dict[str, Placement] = {}
        self.ended: dict[str, Placement] = {}
        self.is_away = False
        self.before_list: Callable[[], None] = lambda: None

    def ask(self, method: str, path: str, **more: Any) -> Answer:
        self.asked.append(path)
        if path == "/containers/json":
            self.before_list()
        if self.is_away:
            raise EngineUnavailable("away", never_sent=True)
        if path == "/containers/json":
            found: object = [{"Id": each, "State": "running"} for each in self.running]
        else:
            described = {id_: self._describe(id_) for id_ in (*self.running, *self.ended)}
            name = path.split("/")[2]
            found = next((each for each in described.values() if name in (each["Id"], each["Name"][1:])), None)
        return Answer(404 if found is None else 200, json.dumps(found).encode(), ENGINE_TIME)

    def _describe(self, id_: str) -> dict[str, Any]:
        is_over = id_ in self.ended
        placement = (self.ended if is_over else self.running)[id_]
        return {
            "Id": id_,
            "Name": f"/nodus-db-{placement.job_id}-{placement.attempt}-go",
            "Created": "2023-11-14T22:13:20Z",
            "State": {
                "Status": "exited" if is_over else "running",
                "StartedAt": "2023-11-14T22:13:21Z",
                "FinishedAt": "2023-11-14T22:13:30Z" if is_over else "0001-01-01T00:00:00Z",
                "ExitCode": 3 if is_over else 0,
            },
            "Config": {"Labels": {DATABASE: "db", JOB: placement.job_id, ATTEMPT: str(placement.attempt)}},
            "HostConfig": {},
        }


def placed(number: int) -> Placement:
    return Placement(f"job-{number}", 1, "lab", "here", ENGINE_TIME - 10, is_accepted=True)


def described(id_: str) -> Container:
    return Container(
        id=id_,
        name=id_,
        stage=Stage.RUNNING,
        created_at=0.0,
        started_at=1.0,
        finished_at=None,
        exit_code=0,
        ran_out_of_memory=False,
        error="",
        is_connected=True,
        gpus=frozenset(),
        labels={},
    )


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def listing(engine: FakeEngine, clock: Clock) -> Listing:
    return Listing(engine, database_id="db", supplier="lab", monotonic=clock)


@pytest.fixture
def driver(engine: FakeEngine, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerDriver:
    options = DockerOptions(UnixEndpoint("/none"), gpu_devices=NO_DEVICES, network="none")
    made = DockerDriver(
        options, supplier="lab", gpus={"h100": 8}, database_id="db", incarnation="1", directory=tmp_path
    )
    # Nobody copies output here.
    monkeypatch.setattr(made._followers, "ensure", lambda *_: None)
    monkeypatch.setattr(made._listing, "_monotonic", clock)
    for holder in (made._containers, made._listing, made._starter):
        monkeypatch.setattr(holder, "_engine", engine)
    return made


def test_requests_do_not_grow_with_the_placements_that_run(driver: DockerDriver, engine: FakeEngine) -> None:
    """A round of polls costs one request for 3 of them, and one for 30."""
    counts = {}
    for many in (3, 30):
        placements = [placed(number) for number in range(many)]
        engine.running = {f"c{number}": placement for number, placement in enumerate(placements)}
        for placement in placements:
            driver.poll(placement, WORKLOAD, time.time())
        engine.asked.clear()
        rounds = [[driver.poll(each, WORKLOAD, time.time()).state for each in placements] for _ in range(5)]
        counts[many] = len(engine.asked)
        assert {state for states in rounds for state in states} == {PlacementState.RUNNING}

    assert counts == {3: 5, 30: 5}


def test_an_end_is_read_from_the_container_itself(driver: DockerDriver, engine: FakeEngine) -> None:
    """A list only says that it does not run any more."""
    placement = placed(1)
    engine.running = {"c": placement}
    running = driver.poll(placement, WORKLOAD, time.time())
    engine.running, engine.ended = {}, {"c": placement}
    StoredOutput(driver._attempt(placement).folder)
    writer = driver._attempt(placement).output.begin()
    assert writer is not None
    writer.complete()
    writer.close()
    ended = driver.poll(placement, WORKLOAD, time.time())

    assert running.state is PlacementState.RUNNING
    assert (ended.state, ended.error_code) == (PlacementState.FAILED, "nonzero_exit")
    assert ended.error_message is not None
    assert "code 3" in ended.error_message


def test_nobody_is_told_twice_what_one_list_said(listing: Listing, engine: FakeEngine) -> None:
    """Whoever asks again has the engine asked again."""
    engine.running = {"c": placed(1)}
    listing.note(placed(1), described("c"))
    first = [listing.still_running(placed(1)) for _ in range(3)]
    asked = len(engine.asked)
    engine.running = {}
    last = listing.still_running(placed(1))

    assert all(found is not None and found[0].id == "c" for found in first)
    assert asked == 3
    assert last is None


def test_what_is_not_known_is_not_asked_about(listing: Listing, engine: FakeEngine) -> None:
    """Neither a placement that was never described, nor one whose start is not known yet."""
    listing.note(placed(1), replace(described("c"), started_at=None))

    assert listing.still_running(placed(1)) is None
    assert listing.still_running(placed(2)) is None
    assert engine.asked == []


def test_an_engine_that_is_away_is_not_taken_for_an_end(listing: Listing, engine: FakeEngine) -> None:
    """It is asked once by all who wait, and what ran there still does when it is back."""
    engine.running = {"a": placed(1), "b": placed(2)}
    listing.note(placed(1), described("a"))
    listing.note(placed(2), described("b"))
    engine.is_away = True
    for number in (1, 2):
        with pytest.raises(EngineUnavailable) as unavailable:
            listing.still_running(placed(number))
        assert unavailable.value.never_sent
    asked = len(engine.asked)
    engine.is_away = False

    assert asked == 1
    assert listing.still_running(placed(1)) is not None
    assert listing.still_running(placed(2)) is not None


def test_an_old_failure_is_not_told(listing: Listing, engine: FakeEngine, clock: Clock) -> None:
    """Whether the engine was away a minute ago says nothing of what it says now, to any of its containers."""
    placements = {f"c{number}": placed(number) for number in range(20)}
    engine.running = dict(placements)
    for id_, placement in placements.items():
        listing.note(placement, described(id_))
    engine.is_away = True
    with pytest.raises(EngineUnavailable):
        listing.still_running(placements["c0"])
    engine.is_away = False
    clock.now += 60.0
    found = [listing.still_running(placement) for id_, placement in placements.items() if id_ != "c0"]

    assert all(each is not None for each in found)


def test_an_old_list_is_no_proof_of_life(listing: Listing, engine: FakeEngine, clock: Clock) -> None:
    """What ran a while ago may have ended since, or its engine with it."""
    for number in range(3):
        engine.running[f"c{number}"] = placed(number)
        listing.note(placed(number), described(f"c{number}"))
    first = listing.still_running(placed(0))
    clock.now += FRESH_SECONDS
    del engine.running["c1"]
    ended = listing.still_running(placed(1))
    clock.now += FRESH_SECONDS
    engine.is_away = True

    assert first is not None
    assert ended is None
    with pytest.raises(EngineUnavailable):
        listing.still_running(placed(2))


def test_a_list_that_was_waited_for_is_shared_however_long_it_took(
    listing: Listing, engine: FakeEngine, clock: Clock
) -> None:
    """An engine that takes its time is not asked once by each of those who wait."""
    engine.running = {"c0": placed(0), "c1": placed(1)}
    for number in range(2):
        listing.note(placed(number), described(f"c{number}"))
    entered, let_go, looked = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        let_go.wait(PATIENCE_SECONDS)

    engine.before_list = hold
    asking = threading.Thread(target=lambda: listing.still_running(placed(0)))
    asking.start()
    assert entered.wait(PATIENCE_SECONDS)
    clock.now += 2 * FRESH_SECONDS
    wait = listing._changed.wait

    def waiting(timeout: float | None = None) -> bool:
        looked.set()
        return wait(PATIENCE_SECONDS)

    listing._changed.wait = waiting  # type: ignore[method-assign]
    found: list[object] = []
    waiter = threading.Thread(target=lambda: found.append(listing.still_running(placed(1))))
    waiter.start()
    assert looked.wait(PATIENCE_SECONDS)
    let_go.set()
    for thread in (asking, waiter):
        thread.join(PATIENCE_SECONDS)

    assert found[0] is not None
    assert len(engine.asked) == 1


def test_of_all_who_ask_at_once_one_asks_the_engine(listing: Listing, engine: FakeEngine) -> None:
    """The others wait for what it hears."""
    count = 8
    engine.running = {f"c{number}": placed(number) for number in range(count)}
    for number in range(count):
        listing.note(placed(number), described(f"c{number}"))
    entered, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        let_go.wait(PATIENCE_SECONDS)

    engine.before_list = hold
    found: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda number=number: found.update({number: listing.still_running(placed(number))}))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    assert entered.wait(PATIENCE_SECONDS)
    let_go.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)

    assert all(found[number] is not None for number in range(count))
    assert len(engine.asked) == 1


def test_a_list_that_cannot_be_read_is_no_answer(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no list of containers says nothing of them."""
    listing.note(placed(1), described("c"))
    monkeypatch.setattr(Engine, "ask", lambda *_, **__: Answer(200, b'[{"Id": "c"}]', ENGINE_TIME))
    engine = Engine(DockerOptions(UnixEndpoint("/none")))
    monkeypatch.setattr(listing, "_engine", engine)
    with pytest.raises(EngineUnavailable):
        listing.still_running(placed(1))
