"""What is looked at again and again goes on while the database is away, and ends when it is told to."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy.exc
from patience import PATIENCE_SECONDS
from scarcity import NO_THREAD, no_thread

from nodus_control.concurrency.watching import Watching
from nodus_ledger.errors import DatabaseUnavailable


def test_it_goes_on_while_the_database_is_away() -> None:
    """Whichever way that is said."""
    said: list[Exception] = [DatabaseUnavailable("away"), sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception())]
    has_come_back = threading.Event()

    def look() -> None:
        if said:
            raise said.pop()
        has_come_back.set()

    watching = Watching("test", look, 0.001)
    watching.start()
    came_back = has_come_back.wait(PATIENCE_SECONDS)
    watching.stop()

    assert came_back


def test_it_begins_once_ends_and_can_begin_again() -> None:
    """A second beginning is none; nobody looks after the end."""
    looked = threading.Event()
    threads: set[int] = set()

    def look() -> None:
        threads.add(threading.get_ident())
        looked.set()

    watching = Watching("test", look, 0.001)
    watching.stop()
    for _ in range(2):
        watching.start()
        watching.start()
        assert looked.wait(PATIENCE_SECONDS)
        assert sum(each.name == "test" for each in threading.enumerate()) == 1
        watching.stop()
        looked.clear()
        assert not any(each.name == "test" for each in threading.enumerate())

    assert not looked.is_set()
    assert threads


def test_it_can_begin_where_it_could_not_before() -> None:
    """For want of a thread; and it can be ended in between."""
    looked = threading.Event()
    watching = Watching("test", looked.set, 0.001)
    with no_thread("test"), pytest.raises(RuntimeError, match=NO_THREAD):
        watching.start()
    watching.stop()
    watching.start()
    has_looked = looked.wait(PATIENCE_SECONDS)
    watching.stop()

    assert has_looked
