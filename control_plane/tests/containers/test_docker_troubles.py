"""What goes wrong in the background of a driver is said once, with the supplier's name, and kept for whoever asks."""

from __future__ import annotations

import threading

import pytest
from patience import PATIENCE_SECONDS, eventually
from scarcity import no_thread

from nodus_control.suppliers.docker.background import Background
from nodus_control.suppliers.docker.troubles import LONGEST, Troubles
from nodus_control.suppliers.protocol import EngineUnavailable


def test_the_same_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Another one, and the same after it was over, again. The log may say more than customers are shown."""
    troubles = Troubles("lab")
    news = [troubles.note("stop", "c1", "it does not answer") for _ in range(3)]
    news.append(troubles.note("stop", "c1", "it is full", "no space on /data"))
    shown = troubles.of("stop", "c1")
    troubles.over("stop", "c1")
    over = troubles.of("stop", "c1")
    news.append(troubles.note("stop", "c1", "it is full", "no space on /data"))

    assert news == [True, False, False, True, True]
    assert (shown, over) == ("it is full", None)
    assert [record.getMessage() for record in caplog.records] == [
        "supplier lab: stop c1: it does not answer; it is tried again",
        *["supplier lab: stop c1: no space on /data; it is tried again"] * 2,
    ]


def test_what_is_remembered_is_bounded() -> None:
    """The oldest go: nobody says that it is over with a container that was removed."""
    troubles = Troubles("lab")
    for number in range(LONGEST + 1):
        troubles.note("stop", str(number), "it does not answer")

    assert troubles.of("stop", "0") is None
    assert troubles.of("stop", "1") is not None


def test_what_fails_in_the_background_is_known_until_it_is_done() -> None:
    """Whatever it is that goes wrong; what is under way is not begun again."""
    troubles = Troubles("lab")
    background = Background(troubles)
    failures: list[Exception] = [EngineUnavailable("it does not answer"), OSError("no space"), ValueError("a fault")]
    known: list[str | None] = []
    for failure in failures:

        def fail(failure: Exception = failure) -> None:
            raise failure

        background.do("begin", str(failure), fail)
        eventually(lambda failure=failure: troubles.of("begin", str(failure)) is not None)  # type: ignore[misc]
        known.append(troubles.of("begin", str(failure)))
    go_on, count = threading.Event(), [0]

    def succeed() -> None:
        count[0] += 1
        assert go_on.wait(PATIENCE_SECONDS)

    def is_begun() -> bool:
        background.do("begin", "it does not answer", succeed)  # no more than once, but not before the failure is over
        return count[0] > 0

    eventually(is_begun)
    background.do("begin", "it does not answer", succeed)
    go_on.set()
    eventually(lambda: troubles.of("begin", "it does not answer") is None)
    background.stop()
    background.do("begin", "no space", succeed)
    background.close()

    assert known[0] == "it does not answer"
    assert all(known)
    assert "no space" not in str(known)
    assert count == [1]


def test_work_for_which_there_is_no_thread_is_done_once_when_it_is_asked_for_again() -> None:
    """What was given up is not done as well, though a thread may come upon it later."""
    troubles = Troubles("lab")
    background = Background(troubles)
    done: list[str] = []
    with no_thread("nodus-docker"):
        background.do("stop", "c1", lambda: done.append("given up"))
        trouble = troubles.of("stop", "c1")
    background.do("stop", "c1", lambda: done.append("stopped"))
    eventually(lambda: troubles.of("stop", "c1") is None)
    background.close()

    assert trouble is not None
    assert done == ["stopped"]
