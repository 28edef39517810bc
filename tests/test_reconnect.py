"""Following jobs, without I/O: what is new, and when to come again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nodus
from nodus._errors import Failure
from nodus._http import Response
from nodus._reconnect import (
    FOLLOWED_JOBS,
    MAX_STREAMS,
    Progress,
    Reconnection,
    event_of_view,
    has_moved,
    parse_event,
    shares_of_streams,
)
from nodus._retry import MAX_DELAY
from nodus._sse import ServerSentEvent

HEAD = Response(200, {}, b"")


def event(seq: int, job_id: str = "a", status: str = "running") -> nodus.JobEvent:
    """A transition."""
    return nodus.JobEvent(seq=seq, job_id=job_id, status=nodus.JobStatus(status), attempt=1)


def failure(status: int | None, code: str = "some_code", retry_after: float | None = None) -> Failure:
    """A failed attempt."""
    if status is None:
        return Failure(nodus.APIConnectionError("gone"))
    return Failure(nodus.APIError("no", code=code, status_code=status, retry_after=retry_after))


def reconnection(unreachable_seconds: float = 900.0) -> Reconnection:
    """Reconnections with a known source of jitter."""
    return Reconnection(unreachable_seconds=unreachable_seconds, rng=random.Random(7))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6)), max_size=60))
def test_what_comes_again_is_not_new(told: list[tuple[str, int]]) -> None:
    """The numbers of a job's events only grow."""
    progress = Progress(None, None)
    new = [(job_id, seq) for job_id, seq in told if progress.is_new(event(seq, job_id))]

    assert len(set(new)) == len(new)
    for job_id in "abc":
        seqs = [seq for of, seq in new if of == job_id]
        assert seqs == sorted(seqs)
        assert max(seqs, default=0) == max((seq for of, seq in told if of == job_id), default=0)


def test_a_job_that_is_resumed_is_new_behind_that() -> None:
    """Events up to the given number were delivered before."""
    progress = Progress("a", "2")

    assert [progress.is_new(event(seq)) for seq in (1, 2, 3)] == [False, False, True]


def test_the_memory_of_jobs_is_bounded() -> None:
    """The jobs with the oldest last event are forgotten first."""
    progress = Progress(None, None)
    for number in range(FOLLOWED_JOBS + 10):
        progress.is_new(event(1, f"job-{number}"))

    assert progress.next_seq("job-0") == 1
    assert progress.next_seq(f"job-{FOLLOWED_JOBS + 9}") == 2


def test_streams_that_end_at_once_are_opened_ever_more_rarely() -> None:
    """The delay starts over once a stream delivers something or lasts; the server may ask for more."""
    state = reconnection()
    pauses = []
    for _ in range(40):
        state.opened(0.0)
        pauses.append(state.after_end(0.0, None))
    state.progressed()
    after_news = state.after_end(0.0, None)

    assert pauses[0] <= 0.3
    assert 1.0 < max(pauses) <= MAX_DELAY
    assert after_news <= 0.3
    assert state.after_end(0.0, 5.0) >= 5.0


def test_a_failure_that_will_not_pass_is_raised() -> None:
    """Examples are a revoked key, and a job that does not exist unless it was just submitted."""
    state = reconnection()

    assert state.after_failure(failure(401), 0.0) is None
    assert state.after_failure(failure(404, "job_not_found"), 0.0) is None
    assert state.after_failure(failure(404, "job_not_found"), 2.0, submitted_at=0.0) is not None


@pytest.mark.parametrize("status", [None, 429, 500, 503])
def test_failures_that_may_pass_are_put_up_with_for_a_while(status: int | None) -> None:
    """Then the error is raised; a stream that could be opened meanwhile restarts the period."""
    state = reconnection(unreachable_seconds=60.0)

    assert state.after_failure(failure(status), 0.0) is not None
    assert state.after_failure(failure(status), 59.0) is not None
    state.opened(59.5)
    assert state.after_failure(failure(status), 70.0) is not None
    assert state.after_failure(failure(status), 130.0) is None


def test_streams_that_break_off_at_once_are_put_up_with_for_a_while() -> None:
    """They count like streams that cannot be opened."""
    state = reconnection(unreachable_seconds=60.0)
    broken = nodus.APIConnectionError("reset")

    state.opened(0.0)
    assert state.after_break(broken, 0.5) is not None
    state.opened(59.0)
    assert state.after_break(broken, 59.5) <= 0.5
    state.opened(60.0)
    assert state.after_break(broken, 60.5) is None


@pytest.mark.parametrize("sign", ["news", "time", "silence"])
def test_a_stream_that_was_one_begins_the_while_anew(sign: str) -> None:
    """It delivered something, lasted, or was silent until the client's own timeout."""
    state = reconnection(unreachable_seconds=60.0)
    broken = nodus.APITimeoutError("silent") if sign == "silence" else nodus.APIConnectionError("reset")

    for second in range(0, 200, 10):
        state.opened(second)
        if sign == "news":
            state.progressed()
        assert state.after_break(broken, second + (2.0 if sign == "time" else 0.5)) is not None


def test_a_server_may_ask_to_be_left_alone() -> None:
    """`Retry-After` is the shortest delay."""
    assert (reconnection().after_failure(failure(429, retry_after=30.0), 0.0) or 0) >= 30.0


def test_events_of_other_kinds_are_passed_by() -> None:
    """A newer server may send kinds that this version does not know."""
    assert parse_event(ServerSentEvent("note", "?", ""), HEAD) is None


@pytest.mark.parametrize("data", ["", "x", "[]", '{"seq": 1}'])
def test_an_event_that_cannot_be_read_is_an_error(data: str) -> None:
    """Skipping it would lose a transition."""
    with pytest.raises(nodus.APIError, match="cannot be used") as caught:
        parse_event(ServerSentEvent("status", data, ""), HEAD)

    assert caught.value.code == "invalid_response"


def test_an_event_is_frozen_and_keeps_what_is_unknown() -> None:
    """An unknown status is not terminal."""
    data = '{"seq": 3, "job_id": "a", "status": "paused", "novelty": 1}'
    read = parse_event(ServerSentEvent("status", data, "17"), HEAD)

    assert read is not None
    assert (read.seq, read.status.value, read.is_terminal, read.id) == (3, "paused", False, "17")
    with pytest.raises(ValueError, match="frozen"):
        read.seq = 4  # type: ignore[misc]


def test_a_look_makes_an_event() -> None:
    """Servers without event streams are polled."""
    view = nodus.JobView(id="a", status=nodus.JobStatus.FAILED, attempts=2, error_code="oom")
    made = event_of_view(view, 3)

    assert (made.job_id, made.seq, made.status, made.attempt, made.reason, made.id) == (
        "a",
        3,
        nodus.JobStatus.FAILED,
        2,
        "oom",
        None,
    )


def test_a_job_has_moved_where_status_or_placement_differ() -> None:
    """If the server does not count placements, the status alone decides."""
    view = nodus.JobView(id="a", status=nodus.JobStatus.RUNNING, attempts=1)

    assert has_moved(view, None)
    assert has_moved(view, event(2, status="placed"))
    assert not has_moved(view, event(3))
    assert has_moved(view.model_copy(update={"attempts": 2}), event(3))
    assert not has_moved(view.model_copy(update={"attempts": None}), event(3))


@pytest.mark.parametrize("connections", [*range(1, 12), 30, 39, 40, 41, 100, 10_000])
def test_streams_have_at_most_half_of_the_connections(connections: int) -> None:
    """There are at most twenty; if there are several, some are reserved for taking turns."""
    held, turns = shares_of_streams(connections)

    assert held + turns <= max(1, min(MAX_STREAMS, connections // 2))
    assert held + turns >= 1
    assert (turns > 0) == (connections not in (2, 3))
