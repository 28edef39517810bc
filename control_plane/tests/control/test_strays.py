"""What is cleared away of what engines hold, what is ended, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from control.engines import EngineStub, Fleet, silent

from nodus_control.dispatch.engine_identities import EngineIdentities
from nodus_control.dispatch.strays import AGE_MS, KEPT_MS, DatabaseLife, Fate, fate_of
from nodus_control.dispatch.sweeper import Sweeper
from nodus_control.suppliers.drivers import Drivers
from nodus_control.suppliers.protocol import EngineUnavailable, Found, Placement, PlacementState, Report
from nodus_ledger.jobs.jobs import PlacementFacts
from nodus_ledger.trust.sizes import LedgerSizes

US = DatabaseLife("database", "life")
MADE_AT = 1_000_000
FOUND = Found("job", 1, "database", "life", MADE_AT / 1000, is_running=True)
OPEN = PlacementFacts("job", 1, "lab", "here", MADE_AT, None)
OVER = replace(OPEN, ended_at=MADE_AT + 1000)
LATER = MADE_AT + 10**9


def fate(found: Found, known: PlacementFacts | None, now: int = LATER) -> Fate:
    return fate_of(found, known, US, now)


def test_what_is_open_is_left() -> None:
    """Whatever its engine says of it, and however old it is: its worker deals with it."""
    assert fate(FOUND, OPEN) is fate(replace(FOUND, is_running=False), OPEN) is Fate.LEFT


@pytest.mark.parametrize("known", [None, OVER])
def test_what_runs_although_nobody_knows_of_it_is_ended(known: PlacementFacts | None) -> None:
    """Once it is old enough that nobody can be about to write of it."""
    assert fate(FOUND, known, MADE_AT + AGE_MS - 1) is Fate.LEFT
    assert fate(FOUND, known, MADE_AT + AGE_MS) is Fate.ENDED


def test_what_is_over_is_forgotten_after_a_while() -> None:
    """From its end on; of what nobody knows, from when it was made."""
    ended = replace(FOUND, is_running=False)

    assert fate(ended, OVER, MADE_AT + 1000 + KEPT_MS - 1) is Fate.LEFT
    assert fate(ended, OVER, MADE_AT + 1000 + KEPT_MS) is Fate.FORGOTTEN
    assert fate(ended, None, MADE_AT + KEPT_MS) is Fate.FORGOTTEN


@pytest.mark.parametrize("whose", [{"database_id": "other"}, {"incarnation": "before the restore"}])
@pytest.mark.parametrize("is_running", [True, False])
def test_what_is_of_others_is_named_only(whose: dict[str, str], is_running: bool) -> None:
    """Another database's, and what this one began before it was restored."""
    assert fate(replace(FOUND, is_running=is_running, **whose), None) is Fate.NAMED  # type: ignore[arg-type]


def test_what_is_of_no_recorded_life_is_ours_if_we_know_of_it() -> None:
    """An earlier version recorded none; what this database does not know can be from after the backup it came from."""
    ended = replace(FOUND, is_running=False, incarnation="")
    another = replace(ended, database_id="other")

    assert fate(replace(ended, is_running=True), OPEN) is Fate.LEFT
    assert fate(replace(ended, is_running=True), OVER) is Fate.ENDED
    assert fate(ended, OVER) is Fate.FORGOTTEN
    assert fate(ended, None) is fate(another, OVER) is Fate.NAMED


@pytest.fixture
def fleet(database_url: str) -> Iterator[Fleet]:
    """A control plane of two suppliers."""
    made = Fleet(database_url)
    yield made
    made.plane.close()


def test_one_that_cannot_be_cleared_away_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    """It is met again by the next sweep."""
    fleet = Fleet("sqlite://")
    ours = (fleet.plane.settings.database_id(), fleet.plane.settings.incarnation())
    fleet.cheap.on_list = lambda: [Found(name, 1, *ours, 0.0, is_running=True) for name in ("stuck", "other")]

    def refuse(placement: Placement) -> None:
        if placement.job_id == "stuck":
            raise OSError("no space")

    fleet.cheap.on_cancel = refuse
    fleet.clock.advance_to(fleet.clock.now() + KEPT_MS)
    fleet.plane.sweeper.sweep("cheap", fleet.cheap)
    fleet.plane.close()

    assert {placement.job_id for placement in fleet.cheap.cancelled} == {"other"}
    assert "attempt 1 of job stuck cannot be cleared away now: no space" in caplog.text


@pytest.mark.both_engines
def test_a_sweep_does_what_was_decided(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """It leaves what is open, forgets what is over, ends what is unknown, and names each of what is others' once."""
    control_plane = fleet.plane
    over = fleet.submit()
    fleet.cheap.reports = lambda placement, now: Report(PlacementState.COMPLETED, placement.placed_at, now)
    fleet.worker.run_due()
    fleet.cheap.reports = EngineStub().reports
    going_on = fleet.submit()
    fleet.worker.run_due()
    began = fleet.clock.now() / 1000
    ours = (control_plane.settings.database_id(), control_plane.settings.incarnation())
    fleet.cheap.on_list = lambda: [
        Found(over, 1, *ours, began, is_running=False),
        Found(going_on, 1, *ours, began, is_running=True),
        Found("nobody's", 3, *ours, began, is_running=True),
        Found("theirs", 1, "another", "life", began, is_running=True),
    ]
    for _ in range(2):
        fleet.clock.advance_to(fleet.clock.now() + KEPT_MS)
        control_plane.sweeper.sweep("cheap", fleet.cheap)

    assert {(placement.job_id, placement.attempt) for placement in fleet.cheap.forgotten} == {(over, 1)}
    assert {(placement.job_id, placement.attempt) for placement in fleet.cheap.cancelled} == {("nobody's", 3)}
    assert caplog.text.count("attempt 1 of job theirs belongs to database another") == 1


@pytest.mark.both_engines
def test_the_database_is_read_after_the_engine(fleet: Fleet) -> None:
    """What is placed while an engine is listed is no stray."""
    control_plane = fleet.plane

    def list_and_place() -> list[Found]:
        job_id = fleet.submit()
        fleet.worker.run_due()
        ours = (control_plane.settings.database_id(), control_plane.settings.incarnation())
        return [Found(job_id, 1, *ours, 0.0, is_running=True)]

    fleet.cheap.on_list = list_and_place

    assert control_plane.sweeper.sweep("cheap", fleet.cheap)[Fate.LEFT] == 1
    assert fleet.cheap.cancelled == []


def impossible(placement: Placement, now: float) -> Report:
    """Say that it runs, since a time that is none."""
    return Report(PlacementState.RUNNING, started_at=9e15)


@pytest.mark.both_engines
def test_what_ended_without_its_engines_word_keeps_its_gpus_until_a_sweep(database_url: str) -> None:
    """Its report is impossible: the job is over, and its program runs on for a while."""
    fleet = Fleet(database_url, gpus={"l40s": 4, "a10g": 4})
    control_plane = fleet.plane
    ours = (control_plane.settings.database_id(), control_plane.settings.incarnation())
    fleet.cheap.reports = impossible
    fleet.cheap.cancel = lambda placement, now: None  # type: ignore[method-assign]
    fleet.cheap.on_list = lambda: [Found(first, 1, *ours, 0.0, is_running=True)]
    first, second = fleet.submit(), fleet.submit()
    fleet.worker.run_due()
    over = [fleet.job(job_id).error_code for job_id in (first, second)]
    kept = fleet.holders("cheap")
    control_plane.sweeper.sweep("cheap", fleet.cheap)
    still_kept = fleet.holders("cheap")
    fleet.cheap.on_list = lambda: [Found(first, 1, *ours, 0.0, is_running=False)]
    control_plane.sweeper.sweep("cheap", fleet.cheap)
    free = fleet.holders("cheap")
    fleet.plane.close()

    assert over == ["invalid_report", "invalid_report"]
    assert kept == {first, second}
    assert still_kept == {first}
    assert free == set()


@pytest.mark.parametrize(("engine", "kept"), [("engine 1", False), ("engine 2", True)])
def test_an_engine_confirms_ends_for_all_its_suppliers_and_for_nobody_elses(engine: str, kept: bool) -> None:
    """One driver serves both here; one of them has another host's engine on record, which may go on running it."""
    fleet = Fleet("sqlite://", gpus={"l40s": 4, "a10g": 4})
    plane = fleet.plane
    fleet.cheap.engine = lambda: engine
    fleet.cheap.reports = impossible
    fleet.cheap.cancel = lambda placement, now: None  # type: ignore[method-assign]
    job_id = fleet.submit()
    fleet.worker.run_due()
    held = fleet.holders("cheap")
    drivers = Drivers({"dear": fleet.dear, "cheap": fleet.dear})
    us = DatabaseLife(plane.settings.database_id(), plane.settings.incarnation())
    sweeper = Sweeper(plane.jobs, drivers, EngineIdentities(plane.settings), lambda: us, fleet.clock.now)
    sweeper.sweep("dear", fleet.dear)
    still_held = fleet.holders("cheap")
    plane.close()

    assert held == {job_id}
    assert still_held == ({job_id} if kept else set())


@pytest.mark.both_engines
def test_what_is_open_keeps_its_gpus_whatever_its_engine_lists(database_url: str) -> None:
    """Its worker hears of its end."""
    fleet = Fleet(database_url, gpus={"l40s": 4, "a10g": 4})
    job_id = fleet.submit()
    fleet.worker.run_due()
    fleet.plane.sweeper.sweep("cheap", fleet.cheap)
    kept = fleet.holders("cheap")
    fleet.plane.close()

    assert kept == {job_id}


@pytest.mark.parametrize(("finished_at", "message"), [(9e15, ""), (None, "\ud800")])
def test_what_its_engine_says_has_ended_frees_its_gpus_at_once(finished_at: float | None, message: str) -> None:
    """Whenever that was, and however it says so."""
    fleet = Fleet("sqlite://", gpus={"l40s": 4, "a10g": 4})
    fleet.cheap.reports = lambda placement, now: Report(
        PlacementState.FAILED, placement.placed_at, finished_at, "nonzero_exit", message
    )
    job_id = fleet.submit()
    fleet.worker.run_due()
    held, ended = fleet.holders("cheap"), fleet.job(job_id)
    fleet.plane.close()

    assert (ended.error_code, held) == ("internal_error" if message else "invalid_report", set())


def test_another_engine_is_not_swept() -> None:
    """What it holds may be somebody else's under our names."""
    fleet = Fleet("sqlite://")
    control_plane = fleet.plane
    control_plane.sweeper.sweep("cheap", fleet.cheap)
    wrong = EngineStub()
    wrong.engine = lambda: "engine 2"
    wrong.on_list = lambda: [Found("job", 1, *ours, 0.0, is_running=True)]
    ours = (control_plane.settings.database_id(), control_plane.settings.incarnation())
    sweeper = Sweeper(
        control_plane.jobs,
        control_plane.drivers,
        EngineIdentities(control_plane.settings),
        lambda: DatabaseLife(*ours),
        control_plane.clock.now,
    )
    fates = sweeper.sweep("cheap", wrong)
    control_plane.close()

    assert set(fates.values()) == {0}
    assert wrong.cancelled == []


def test_what_was_begun_before_a_restore_is_not_ended() -> None:
    """A copy of a database does not know what the original has placed since."""
    fleet = Fleet("sqlite://")
    ours = (fleet.plane.settings.database_id(), fleet.plane.settings.incarnation())
    fleet.cheap.on_list = lambda: [Found("job", 1, *ours, 0.0, is_running=True)]
    LedgerSizes(fleet.plane.database).accept([], fleet.clock.now())
    fates = fleet.plane.sweeper.sweep("cheap", fleet.cheap)
    fleet.plane.close()

    assert (fates[Fate.NAMED], fates[Fate.ENDED]) == (1, 0)
    assert fleet.cheap.cancelled == []


def test_an_engine_that_does_not_answer_is_swept_later() -> None:
    """Whoever sweeps is told."""
    fleet = Fleet("sqlite://")
    fleet.cheap.on_list = silent
    with pytest.raises(EngineUnavailable):
        fleet.plane.sweeper.sweep("cheap", fleet.cheap)
    fleet.plane.close()


def test_something_known_is_cleared_away_under_its_own_name() -> None:
    """A driver is told supplier, region and placement as they are on record."""
    fleet = Fleet("sqlite://")
    job_id = fleet.submit()
    fleet.cheap.reports = lambda placement, now: Report(PlacementState.COMPLETED, placement.placed_at, now)
    fleet.worker.run_due()
    placed_at = fleet.clock.now() / 1000
    ours = (fleet.plane.settings.database_id(), fleet.plane.settings.incarnation())
    fleet.cheap.on_list = lambda: [Found(job_id, 1, *ours, 12.0, is_running=False)]
    fleet.clock.advance_to(fleet.clock.now() + KEPT_MS)
    fleet.plane.sweeper.sweep("cheap", fleet.cheap)
    fleet.plane.close()

    assert set(fleet.cheap.forgotten) == {Placement(job_id, 1, "cheap", "here", placed_at, is_accepted=True)}
