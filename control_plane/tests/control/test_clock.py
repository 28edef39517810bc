"""The running clock: it follows real time, whatever is done to that, and never goes back or stands still."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.clock import RunningClock

START = 1_790_000_000.0


@dataclass
class Host:
    """A host's two clocks: the wall clock can be set, the monotonic one cannot."""

    wall: float = START
    monotonic: float = 77.0

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += seconds
        self.monotonic += seconds

    def clock(self, *, speed: float = 1.0, offset_ms: int = 0) -> RunningClock:
        """Start a clock on it."""
        return RunningClock(
            speed=speed, offset_ms=offset_ms, real_time=lambda: self.wall, monotonic=lambda: self.monotonic
        )


def test_it_runs_with_real_time() -> None:
    """At speed 1, a second is a second."""
    host = Host()
    clock = host.clock()

    host.pass_seconds(90)

    assert clock.now() == (START + 90) * 1000


def test_a_speed_multiplies_what_passes() -> None:
    """At speed 60, a second is a minute, from the offset on."""
    host = Host()
    clock = host.clock(speed=60, offset_ms=5000)

    host.pass_seconds(2)

    assert clock.now() == START * 1000 + 5000 + 120_000


def test_a_step_forward_is_followed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A host whose clock was behind is set right."""
    host = Host()
    clock = host.clock()
    host.wall += 600

    with caplog.at_level(logging.WARNING):
        now = clock.now()

    assert now == (START + 600) * 1000
    assert "set forward by 600.0 s" in caplog.text


def test_a_process_that_was_held_up_between_its_two_clocks_saw_no_step(caplog: pytest.LogCaptureFixture) -> None:
    """Frozen with its machine, or only not given a core, between reading one and the other: both are read again."""
    host = Host()
    frozen = [0.0, 0.0, 600.0, 2.0, 0.0]

    def wall() -> float:
        before = host.wall
        host.pass_seconds(frozen.pop(0))
        return before

    clock = RunningClock(real_time=wall, monotonic=lambda: host.monotonic)
    with caplog.at_level(logging.WARNING):
        first, second = clock.now(), clock.now()

    assert first == START * 1000
    assert second == (START + 602) * 1000
    assert frozen == []
    assert caplog.text == ""


def test_after_a_step_back_it_keeps_its_time_and_runs_at_half_its_speed(caplog: pytest.LogCaptureFixture) -> None:
    """What falls due goes on falling due: a clock that stood still for ten minutes would stop every job for as long."""
    host = Host()
    clock = host.clock()
    host.wall -= 600

    with caplog.at_level(logging.WARNING):
        kept = clock.now()
        host.pass_seconds(10)
        later = clock.now()

    assert kept == START * 1000
    assert later == (START + 5) * 1000
    assert caplog.text.count("set back by 600.0 s") == 1


def test_after_a_step_back_it_meets_real_time_again() -> None:
    """Once real time has caught up, they run together."""
    host = Host()
    clock = host.clock()
    host.wall -= 100
    for _ in range(300):
        host.pass_seconds(1)
        clock.now()

    assert clock.now() == host.wall * 1000


def test_small_drift_is_followed_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """NTP slews a clock all day long; nobody needs to read that."""
    host = Host()
    clock = host.clock()
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            host.pass_seconds(1)
            host.wall += 0.0005
            clock.now()

    assert clock.now() == int(host.wall * 1000)
    assert caplog.text == ""


@given(
    st.lists(
        st.tuples(st.floats(0.001, 1000), st.floats(-100_000, 100_000), st.sampled_from(["run", "pause", "go on"])),
        max_size=30,
    ),
    st.sampled_from([0.5, 1.0, 60.0]),
)
def test_whatever_is_done_to_real_time_it_never_goes_back_nor_stands_still(
    moments: list[tuple[float, float, str]], speed: float
) -> None:
    """Between two readings at least half of what passed, times its speed; nothing while it is paused."""
    host = Host()
    clock = host.clock(speed=speed)
    before = clock.now()
    for passed, step, what in moments:
        host.pass_seconds(passed)
        host.wall += step
        now = clock.now()
        least = 0 if clock.pace.is_paused else passed * 1000 * speed / 2

        assert now - before >= int(least) - 1
        if what != "run":
            clock.change_pace(is_paused=what == "pause")
        before = clock.now()
        assert before >= now


def test_a_jump_ahead_lasts() -> None:
    """`advance_to` moves it, and it runs on from there."""
    host = Host()
    clock = host.clock()
    clock.advance_to(int(START * 1000) + 50_000)
    host.pass_seconds(1)

    assert clock.now() == START * 1000 + 51_000
