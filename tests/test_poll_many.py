"""Many jobs polled with few requests, and put in the order in which they ended: decided without I/O."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus._enums import JobStatus
from nodus._job_pages import JobGlance, JobGlances
from nodus._poll_many import ENDED, LIVE, EndOrder, JobRequest, PageRequest, Round


def page(*ids: str, cursor: str | None = None, status: JobStatus = JobStatus.RUNNING) -> JobGlances:
    """A page of these jobs, with a cursor if more follow."""
    return JobGlances.model_validate(
        {"jobs": [{"id": each, "status": status.value} for each in ids], "next_cursor": cursor}
    )


def seen(glances: Iterable[JobGlance]) -> list[str]:
    return [glance.id for glance in glances]


def test_one_job_alone_is_asked_for_by_its_id() -> None:
    """A page would carry others' jobs too."""
    assert Round(["a"], live_pages=1).next_request() == JobRequest("a")


def test_several_jobs_take_one_page_of_live_jobs() -> None:
    """One request for all of them, and the round is over."""
    polled = Round(["a", "b", "c"], live_pages=1)
    request = polled.next_request()
    assert request == PageRequest(LIVE, None)
    assert isinstance(request, PageRequest)

    assert seen(polled.page(request, page("x", "a", "b", "c"))) == ["a", "b", "c"]
    assert polled.next_request() is None
    assert polled.is_of_one_instant


def test_jobs_that_are_on_no_live_page_are_looked_for_among_the_ended() -> None:
    """Page by page, while a page holds at least two of them; the last are asked for one by one."""
    polled = Round(["a", "b", "c", "d"], live_pages=1)
    polled.page(PageRequest(LIVE, None), page("a"))
    first = polled.next_request()
    assert first == PageRequest(ENDED, None)
    assert isinstance(first, PageRequest)

    polled.page(first, page("b", "x", cursor="2"))

    assert polled.next_request() == JobRequest("c")
    polled.job("c")
    assert polled.next_request() == JobRequest("d")
    polled.job("d")
    assert polled.next_request() is None


def test_two_jobs_that_are_missing_are_worth_a_page() -> None:
    """One request in place of two."""
    polled = Round(["a", "b"], live_pages=1)
    polled.page(PageRequest(LIVE, None), page())

    assert polled.next_request() == PageRequest(ENDED, None)


def test_pages_of_ended_jobs_go_on_where_they_help() -> None:
    """Two jobs found on a page are two requests saved."""
    polled = Round(["a", "b", "c"], live_pages=1)
    polled.page(PageRequest(LIVE, None), page())
    polled.page(PageRequest(ENDED, None), page("a", "b", cursor="2"))

    assert polled.next_request() == PageRequest(ENDED, "2")


def test_a_single_job_that_is_missing_is_asked_for_by_its_id() -> None:
    """A page of ended jobs is no cheaper than the job itself."""
    polled = Round(["a", "b"], live_pages=1)
    polled.page(PageRequest(LIVE, None), page("a"))

    assert polled.next_request() == JobRequest("b")


def test_live_pages_are_given_up_where_most_jobs_on_them_are_others() -> None:
    """The next round remembers that, and asks for each job at once."""
    polled = Round(["a", "b"], live_pages=1)
    polled.page(PageRequest(LIVE, None), page(*"wxyz", cursor="2"))
    assert polled.next_request() == PageRequest(LIVE, "2")

    polled.page(PageRequest(LIVE, "2"), page(*"stuv", cursor="3"))

    assert polled.next_request() == JobRequest("a")
    assert polled.live_pages == 4
    assert Round(["a", "b"], polled.live_pages).next_request() == JobRequest("a")


def test_two_pages_are_not_of_one_instant() -> None:
    """A job may have moved from one to the other between the requests."""
    polled = Round(["a", "b", "c"], live_pages=1)
    polled.page(PageRequest(LIVE, None), page("a", cursor="2"))
    polled.page(PageRequest(LIVE, "2"), page("b", "c"))

    assert not polled.is_of_one_instant
    assert polled.live_pages == 2


def test_a_cursor_that_does_not_move_ends_the_listing() -> None:
    """A server that repeats a page must not be asked for it for ever."""
    polled = Round(["a", "b", "c", "d", "e"], live_pages=1)
    polled.page(PageRequest(LIVE, "1"), page("a", cursor="1"))

    assert polled.next_request() == PageRequest(ENDED, None)


def test_a_job_that_a_page_names_twice_is_reported_once() -> None:
    """A listing that changes while it is read may do that: the latest word counts."""
    polled = Round(["a", "b"], live_pages=1)
    twice = page("a", "a")
    found = polled.page(PageRequest(LIVE, None), twice)

    assert seen(found) == ["a"]
    assert found[0] is twice.jobs[1]


@given(
    st.sets(st.integers(0, 30), min_size=1),
    st.integers(0, 3),
    st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=8), st.booleans()), max_size=20),
)
def test_every_round_ends_and_sees_each_job_once(
    awaited: set[int], live_pages: int, answers: list[tuple[list[int], bool]]
) -> None:
    """Whatever the pages say, no job is left out or reported twice."""
    polled = Round(map(str, sorted(awaited)), live_pages)
    reported: list[str] = []
    replies = iter(answers)
    for step in range(100):
        request = polled.next_request()
        if request is None:
            break
        if isinstance(request, JobRequest):
            polled.job(request.job_id)
            reported.append(request.job_id)
        else:
            ids, more = next(replies, ([], False))
            answer = page(*map(str, ids), cursor=str(step) if more else None)
            reported += seen(polled.page(request, answer))

    assert polled.next_request() is None
    assert sorted(reported) == sorted(map(str, awaited))


def test_jobs_are_given_in_the_order_in_which_they_ended() -> None:
    """Not in that of the responses."""
    order: EndOrder[str] = EndOrder()
    order.begin_round(100.0)
    order.note_time(1100.0, 100.0)
    order.add("late", 1090.0)
    order.add("early", 1080.0)

    assert order.settled() == ["early", "late"]
    assert order.settled() == []


def test_a_job_that_ended_during_the_round_waits_for_the_next() -> None:
    """Another that was seen alive before may have ended earlier, which only the next round shows."""
    order: EndOrder[str] = EndOrder()
    order.begin_round(100.0)
    order.note_time(1100.5, 100.5)
    order.add("during", 1100.4)
    assert order.settled() == []

    order.begin_round(102.0)
    order.add("before it", 1100.2)

    assert order.settled() == ["before it", "during"]


def test_an_end_that_was_known_before_the_round_began_settles_it() -> None:
    """Even where the server's clock is unknown: no other can precede it unseen."""
    order: EndOrder[str] = EndOrder()
    order.begin_round(100.0)
    order.add("first", 5000.0)
    assert order.settled() == []

    order.begin_round(102.0)

    assert order.settled() == ["first"]


def test_the_largest_reading_of_the_servers_clock_counts() -> None:
    """`Date` is whole seconds, and each response is older than the clock reading after it."""
    order: EndOrder[str] = EndOrder()
    order.begin_round(100.0)
    order.note_time(1100.0, 100.0)
    order.note_time(1100.0, 100.9)
    order.note_time(None, 101.0)
    order.add("job", 1100.0)

    assert order.settled() == ["job"]


@pytest.mark.parametrize("ends", [[], [3.0, 1.0, 2.0]])
def test_all_gives_what_is_left(ends: list[float]) -> None:
    """At the end of the wait nothing can precede any more."""
    order: EndOrder[float] = EndOrder()
    for end in ends:
        order.add(end, end)

    assert order.all() == sorted(ends)
    assert order.all() == []
