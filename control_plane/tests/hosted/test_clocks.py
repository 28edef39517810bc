"""Processes whose clock is wrong: refused at the start, idle while they differ from the others."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import forked
import pytest
from hosted.processes import Hosted
from patience import PATIENCE_SECONDS, eventually
from supplier_files import COMMANDS

from nodus_control.clock import ManualClock
from nodus_control.clock_watch import ClockWatch, UntrustedClock
from nodus_control.control_plane import ControlPlane
from nodus_core.spec import parse_spec
from nodus_ledger.database.clock_marks import LIVING_MS, Mark, mark_here
from nodus_ledger.database.database import Database
from nodus_ledger.keys.keys import PrincipalKind
from nodus_ledger.trust.log import OPERATOR
from nodus_ledger.trust.row_times import CLOCK_ACCEPTED

DAY = 86_400_000
SPEC = {"image": "x", "gpu": "h100_80gb", "command": ["true"], "max_runtime_seconds": 60}


@dataclass
class Wall:
    """A wall clock that is wrong by so many seconds."""

    wrong_by: float = 0.0

    def __call__(self) -> float:
        """Return Unix time, in seconds."""
        return time.time() + self.wrong_by


def submit_at(url: str, ahead_ms: int) -> None:
    """Have a host whose clock is so far ahead accept a job."""
    clock = ManualClock(int(time.time() * 1000) + ahead_ms)
    control_plane = ControlPlane(url, clock=clock, seed=None, is_alone=False)
    try:
        minted = control_plane.keys.mint(
            customer_id="acme", label="", principal_kind=PrincipalKind.HUMAN, now=clock.now(), is_test=True
        )
        key = control_plane.keys.find(minted.api_key)
        assert key is not None
        control_plane.jobs.submit(key, parse_spec(SPEC), None, clock.now())
    finally:
        control_plane.close()


@pytest.mark.both_engines
def test_a_clock_behind_the_ledger_does_not_start(kept_database_url: str) -> None:
    """Whoever wrote those rows was ahead: months would begin anew, and every cap with them."""
    submit_at(kept_database_url, 40 * DAY)

    with pytest.raises(UntrustedClock, match=r"40\.0 days behind the newest row .* --accept-clock"):
        ControlPlane(kept_database_url, seed=None, is_alone=False)


@pytest.mark.both_engines
def test_an_operator_can_say_that_the_clock_is_right(kept_database_url: str) -> None:
    """The operator's own log says so, and the next start needs no word."""
    submit_at(kept_database_url, 40 * DAY)

    control_plane = ControlPlane(kept_database_url, seed=None, is_alone=False, accept_clock="serve")
    try:
        now = control_plane.clock.now()
        rows = control_plane.trust_ledger.entries(OPERATOR, job_id=None, after=0, limit=10).entries
    finally:
        control_plane.close()
    ControlPlane(kept_database_url, seed=None, is_alone=False).close()

    assert abs(now - time.time() * 1000) < PATIENCE_SECONDS * 1000
    assert [row.kind for row in rows] == [CLOCK_ACCEPTED]


@pytest.mark.both_engines
def test_what_is_written_ahead_after_that_is_refused_again(kept_database_url: str) -> None:
    """Accepting one wrong host is no licence for the next."""
    submit_at(kept_database_url, DAY)
    ControlPlane(kept_database_url, seed=None, is_alone=False, accept_clock="serve").close()
    submit_at(kept_database_url, 2 * DAY)

    with pytest.raises(UntrustedClock, match=r"behind the newest row"):
        ControlPlane(kept_database_url, seed=None, is_alone=False)


def test_a_host_that_differs_from_the_database_server_does_not_start(postgres_url: str) -> None:
    """In either direction."""
    database = Database(postgres_url)
    try:
        for wrong_by, says in ((3600, "ahead of that of the database server"), (-3600, "behind that of the database")):
            with pytest.raises(UntrustedClock, match=says):
                ClockWatch(database, wall=Wall(wrong_by)).require()
    finally:
        database.close()


def test_with_a_database_server_its_clock_counts(postgres_url: str) -> None:
    """A host that drifts neither moves the control plane's clock, nor goes on taking work."""
    database = Database(postgres_url)
    wall = Wall()
    try:
        watch = ClockWatch(database, wall=wall)
        watch.require()
        wall.wrong_by = 3600
        watch.look()
        ahead = watch.clock.now() - time.time() * 1000
        while_wrong = watch.problem
        wall.wrong_by = 0
        watch.look()
    finally:
        database.close()

    assert abs(ahead) < PATIENCE_SECONDS * 1000
    said = re.search(r" is ([0-9.]+) min ahead of that of the database server", str(while_wrong))
    assert said is not None, while_wrong
    assert abs(float(said[1]) - 60) * 60 < PATIENCE_SECONDS
    assert watch.may_work()


def test_on_a_file_a_process_ahead_of_the_others_takes_no_work(tmp_path: Path) -> None:
    """Processes on one file are on one host, so one of them sees another time than the rest."""
    database = Database(f"sqlite:///{tmp_path / 'n.db'}")
    wall = Wall(40 * 86_400)
    try:
        right, wrong = ClockWatch(database), ClockWatch(database, wall=wall)
        right.require()
        wrong.require()
        while_wrong = wrong.problem
        wall.wrong_by = 0
        wrong.look()
        right.look()
        right.stop()
        wrong.stop()
    finally:
        database.close()

    assert "40.0 days ahead of that of another process" in str(while_wrong)
    assert wrong.may_work()
    assert right.may_work()


def test_being_held_up_is_no_difference_of_clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither between the readings of two clocks, nor while the others' marks are read."""
    now = 1_800_000_000.0
    delays = [60.0]

    def wall() -> float:
        nonlocal now
        said = now
        now += delays.pop() if delays else 0.0
        return said

    mark = mark_here(wall, lambda: now, boot="boot")
    database = Database(f"sqlite:///{tmp_path / 'n.db'}")
    try:
        one, other = (ClockWatch(database, wall=wall, monotonic=lambda: now) for _ in range(2))
        one.require()
        other.require()
        assert one._marks is not None
        latest = one._marks.latest_of_others

        def latest_at_last(here: Mark) -> int | None:
            nonlocal now
            found = latest(here)
            now += 60
            return found

        monkeypatch.setattr(one._marks, "latest_of_others", latest_at_last)
        one.look()
    finally:
        database.close()

    assert mark.wall == mark.monotonic
    assert one.may_work()


def test_a_mark_counts_only_while_its_process_may_live_and_on_its_own_host() -> None:
    """A host that was started anew has another monotonic clock."""
    mark = Mark("boot", monotonic=1000, wall=5000)

    assert mark.wall_now(Mark("boot", 1000 + LIVING_MS, 0)) == 5000 + LIVING_MS
    assert mark.wall_now(Mark("boot", 1001 + LIVING_MS, 0)) is None
    assert mark.wall_now(Mark("boot", 999, 0)) is None
    assert mark.wall_now(Mark("other", 1000, 0)) is None
    assert Mark("", 1000, 5000).wall_now(Mark("", 1000, 0)) is None


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_the_command_line_says_it_in_a_line(tmp_path: Path, command: str) -> None:
    """Exit status 3; `--accept-clock` starts."""
    url = f"sqlite:///{tmp_path / 'n.db'}"
    submit_at(url, DAY)
    port = ["--port", "0"] if command == "serve" else []
    ended = forked.run("control", command, *COMMANDS, *port, env={**os.environ, "NODUS_DATABASE_URL": url})

    assert ended.returncode == 3
    assert "behind the newest row of the ledger" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    with Hosted(url, tmp_path) as hosted:
        if command == "serve":
            hosted.serve(*COMMANDS, "--accept-clock")
        else:
            hosted.work(*COMMANDS, "--accept-clock")
        eventually(lambda: "accepted" in hosted.output())
