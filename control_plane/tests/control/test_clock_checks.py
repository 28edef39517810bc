"""Which clocks are refused, which are warned of, and which must take no work."""

from __future__ import annotations

import pytest

from nodus_control.clock_checks import LONG_IDLE_MS, TOLERANCE_MS, Readings, disagreement, refusal, warning

NOW = 1_790_000_000_000
DAY = 86_400_000


@pytest.mark.parametrize(
    "readings",
    [
        Readings(NOW),
        Readings(NOW, newest=NOW - 1000),
        Readings(NOW, newest=NOW + TOLERANCE_MS),
        Readings(NOW, newest=NOW - 40 * DAY),
        Readings(NOW, server=NOW + TOLERANCE_MS, newest=NOW),
        Readings(NOW, server=NOW - TOLERANCE_MS),
        Readings(NOW, peer=NOW - 40 * DAY),
    ],
)
def test_a_clock_that_agrees_starts(readings: Readings) -> None:
    """Up to five seconds are nobody's fault, and a long rest is no fault at all."""
    assert refusal(readings) is None


@pytest.mark.parametrize(
    ("readings", "says"),
    [
        (Readings(NOW, newest=NOW + TOLERANCE_MS + 1), "5.0 s behind the newest row"),
        (Readings(NOW, newest=NOW + 40 * DAY), "40.0 days behind the newest row"),
        (Readings(NOW, server=NOW + TOLERANCE_MS + 1), "behind that of the database server"),
        (Readings(NOW, server=NOW - 3 * 3_600_000), "3.0 h ahead of that of the database server"),
        (Readings(NOW, server=NOW + 1, newest=NOW + DAY), "the clock of the database server says"),
    ],
)
def test_a_clock_that_is_wrong_is_refused(readings: Readings, says: str) -> None:
    """The reason names both clocks and how far they are apart."""
    reason = refusal(readings)

    assert reason is not None
    assert says in reason


def test_a_start_long_after_the_newest_row_is_warned_of_where_nothing_else_tells() -> None:
    """On a file, a clock that is 40 days ahead looks like 40 days of rest; a database server knows better."""
    assert warning(Readings(NOW, newest=NOW - LONG_IDLE_MS)) is None
    assert "24.0 h old" in str(warning(Readings(NOW, newest=NOW - LONG_IDLE_MS - 1)))
    assert warning(Readings(NOW, server=NOW, newest=NOW - 40 * DAY)) is None
    assert warning(Readings(NOW)) is None


def test_a_process_ahead_of_its_peers_takes_no_work() -> None:
    """It would run jobs in a month that has not begun for the others."""
    assert "40.0 days ahead of that of another process" in str(disagreement(Readings(NOW, peer=NOW - 40 * DAY)))


def test_a_process_behind_its_peers_works_on() -> None:
    """Being late spends no budget early."""
    assert disagreement(Readings(NOW, peer=NOW + 40 * DAY)) is None


def test_a_host_that_drifts_from_the_database_server_takes_no_work() -> None:
    """In either direction, once it is more than five seconds."""
    assert disagreement(Readings(NOW, server=NOW + TOLERANCE_MS)) is None
    assert disagreement(Readings(NOW, server=NOW + TOLERANCE_MS + 1)) is not None
    assert disagreement(Readings(NOW, server=NOW - TOLERANCE_MS - 1)) is not None


def test_a_difference_that_was_accepted_is_no_drift() -> None:
    """What an operator accepted at the start is what later readings are held against."""
    apart = Readings(NOW, server=NOW - 60_000)

    assert disagreement(apart, accepted=60_000) is None
    assert disagreement(apart, accepted=50_000) is not None
