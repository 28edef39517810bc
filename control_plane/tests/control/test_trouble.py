"""A known condition is said once, and not at each attempt."""

from __future__ import annotations

import logging

import pytest

from nodus_control.trouble import REPEAT_SECONDS, SETTLED_SECONDS, Trouble, unavailable_in
from nodus_ledger.errors import DatabaseUnavailable


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock."""
    return Clock()


@pytest.fixture
def trouble(clock: Clock, caplog: pytest.LogCaptureFixture) -> Trouble:
    """Whatever the worker has trouble with."""
    caplog.set_level(logging.WARNING)
    return Trouble(logging.getLogger("test"), "the worker", clock=clock)


def test_a_condition_is_said_when_it_begins_and_once_a_minute(
    trouble: Trouble, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """In one line each time, whatever numbers it has in it."""
    for second in range(100):
        clock.now = 1000.0 + second
        trouble.say(DatabaseUnavailable(f"the disk is full, says process {second}"))

    assert len(caplog.records) == 2
    assert caplog.messages[0] == (
        "the worker: the database cannot be used right now: the disk is full, says process 0; trying again"
    )
    assert caplog.records[0].exc_info is None


def test_another_condition_is_said_at_once(trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
    """A condition that was not reported before does not wait for the next report."""
    for reason in ("full", "read-only", "full"):
        trouble.say(DatabaseUnavailable(reason))

    assert len(caplog.records) == 2


def test_what_nobody_expected_has_its_traceback_once(trouble: Trouble, caplog: pytest.LogCaptureFixture) -> None:
    """The hundredth tells no more than the first."""
    for _ in range(100):
        try:
            raise KeyError("job")
        except KeyError as exc:
            trouble.say(exc)

    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None


def test_the_end_is_said_once_it_has_lasted(trouble: Trouble, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """One success between two failures is not the end."""
    trouble.is_over()
    trouble.say(DatabaseUnavailable("full"))
    trouble.is_over()
    clock.now += SETTLED_SECONDS
    trouble.is_over()
    trouble.is_over()
    trouble.say(DatabaseUnavailable("full"))

    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "full; trying again",
        "going on",
        "full; trying again",
    ]
    assert REPEAT_SECONDS > SETTLED_SECONDS


def test_it_is_found_in_a_group() -> None:
    """Task groups raise groups of groups."""

    class Group(Exception):
        def __init__(self, *exceptions: BaseException) -> None:
            self.exceptions = exceptions

    unavailable = DatabaseUnavailable("full")

    assert unavailable_in(Group(ValueError(), Group(unavailable))) is unavailable
    assert unavailable_in(Group(ValueError())) is None
