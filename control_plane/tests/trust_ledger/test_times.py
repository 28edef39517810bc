"""Rows whose times are not those of one clock are named."""

from __future__ import annotations

from nodus_core.times import milliseconds, timestamp
from nodus_ledger.verification.logs import Row
from nodus_ledger.verification.times import MAX_REMARKS_PER_LOG, TOLERANCE_MS, TimeWalk

NOW = 1_790_000_000_000
DAY = 86_400_000


def walk(*rows: tuple[int, str]) -> TimeWalk:
    """Walk over rows: (time, kind)."""
    times = TimeWalk()
    for seq, (at, kind) in enumerate(rows, 1):
        times.step(Row("acme", seq, timestamp(at), kind, None, None, None, b"", "", b""))
    return times


def test_times_are_read_as_they_are_written() -> None:
    """To the millisecond, in both directions."""
    assert milliseconds(timestamp(NOW + 7)) == NOW + 7


def test_a_log_of_one_clock_has_no_remarks() -> None:
    """Equal times, long rests, and what waited for its turn are as they should be."""
    times = walk(
        (NOW, "key.minted"),
        (NOW, "job.submitted"),
        (NOW + 40 * DAY, "job.submitted"),
        (NOW + 40 * DAY - TOLERANCE_MS, "job.submitted"),
    )
    times.end(NOW + 40 * DAY)

    assert times.remarks == []


def test_what_happened_before_it_was_known_is_no_wrong_clock() -> None:
    """The worker was away for a day: ends that it finds are recorded with their own times."""
    times = walk((NOW + DAY, "job.submitted"), (NOW, "job.transition"), (NOW, "job.settled"), (NOW + DAY, "key.minted"))

    assert times.remarks == []


def test_a_row_that_goes_back_is_named_with_the_one_that_was_ahead() -> None:
    """A host whose clock was 40 days ahead, between two that were right."""
    times = walk((NOW, "job.submitted"), (NOW + 40 * DAY, "job.transition"), (NOW + 1000, "job.submitted"))

    assert [seq for seq, _ in times.remarks] == [3]
    assert "goes back by 3455999 s: row 2 says" in times.remarks[0][1]


def test_a_clock_that_was_set_right_is_remarked_on_once() -> None:
    """What follows the step is held against the clock after it."""
    times = walk(
        (NOW + DAY, "job.submitted"), (NOW, "job.submitted"), (NOW + 1, "job.submitted"), (NOW + 2, "key.minted")
    )

    assert [seq for seq, _ in times.remarks] == [2]


def test_a_row_ahead_of_now_is_named() -> None:
    """Nothing was written after it, so only the present tells."""
    times = walk((NOW, "job.submitted"), (NOW + DAY, "job.settled"))
    times.end(NOW)

    assert times.remarks == [(2, "its time is 86400 s ahead of now")]


def test_a_log_that_goes_back_and_forth_is_not_listed_whole() -> None:
    """After so many remarks, one more says nothing."""
    times = walk(*((NOW + (DAY if number % 2 else 0), "job.submitted") for number in range(100)))

    assert len(times.remarks) == MAX_REMARKS_PER_LOG


def test_what_is_no_time_is_left_to_the_walk_over_the_log() -> None:
    """A tampered row may hold anything."""
    times = TimeWalk()
    times.step(Row("acme", 1, timestamp(NOW), "job.submitted", None, None, None, b"", "", b""))
    times.step(Row("acme", 2, "2020, or so", "job.submitted", None, None, None, b"", "", b""))
    times.step(Row("acme", 3, 7, "job.submitted", None, None, None, b"", "", b""))  # type: ignore[arg-type]
    times.end(NOW)

    assert times.remarks == []
