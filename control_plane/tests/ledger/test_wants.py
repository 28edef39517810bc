"""What a waiting job can be given, and for how long that is so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entries import catalogue_of
from hypothesis import given
from hypothesis import strategies as st
from job_rows import row
from yard import H100, supplier

from nodus_core.catalogue import Offer
from nodus_core.ceilings import first_minute_micros
from nodus_core.routing import Requirements
from nodus_core.suppliers_file import DriverName, SupplierKind
from nodus_ledger.database.rows import JobRecord, new_record
from nodus_ledger.jobs.wants import RESTS_MS, Circumstances, ClosedAttempt, Wants, ceiling_of, of_job, of_queue

NOW = 10**9
CATALOGUE = catalogue_of(
    supplier("lab", 1, {H100: 4}),
    replace(supplier("mock", 1, {H100: 4}), driver=DriverName.SIMULATED, retry_after_loss=0),
)
texts = st.text(max_size=8)
locations = st.tuples(texts, texts)


def job(**fields: Any) -> JobRecord:
    """Make a job that anybody may take."""
    return new_record({"seq": 1, **row(500), "gpu": H100, **fields})


def after(*history: tuple[str, str, int]) -> tuple[Wants, int | None]:
    """Say what the job wants once attempts have ended so, at a supplier and so long ago."""
    closed = [ClosedAttempt(name, "here", outcome, NOW - ago) for name, outcome, ago in history]
    return of_job(job(), closed, CATALOGUE, NOW)


@given(
    st.builds(
        Wants,
        texts,
        st.none() | st.booleans(),
        st.integers(1, 8),
        st.lists(texts).map(tuple),
        st.none() | st.integers(0, 10**9),
        st.lists(st.tuples(texts, texts, st.integers(1, 5))).map(tuple),
        st.lists(locations).map(tuple),
        st.lists(locations).map(tuple),
        st.lists(texts).map(tuple),
    )
)
def test_the_name_of_a_queue_says_what_its_jobs_want(wants: Wants) -> None:
    """All of it, whatever names are in it; those who want the same have the same."""
    assert of_queue(wants.queue) == wants


@given(st.lists(st.integers(0, 400_000_000), min_size=1), st.integers(1, 8), st.none() | st.integers(1, 10**7))
def test_jobs_with_other_ceilings_and_the_same_offers_share_a_queue(
    rates: list[int], count: int, max_cost: int | None
) -> None:
    """What their queue's name says of the ceiling rules out what the ceiling does, and nothing else."""
    offers = [Offer("lab", SupplierKind.OWN, "here", H100, rate) for rate in rates]
    minutes = {rate: first_minute_micros(rate, count) for rate in rates}
    ceiling = ceiling_of(job(gpu_count=count, max_cost_micros=max_cost), offers)

    for rate in rates:
        assert (ceiling is not None and minutes[rate] > ceiling) == (max_cost is not None and minutes[rate] > max_cost)
    assert ceiling is None or ceiling == 0 or ceiling in minutes.values()


def test_a_place_that_could_not_begin_rests() -> None:
    """For longer each time; when that is over the job wants something else."""
    wants, changes_at = after(("lab", "not_started", 5000), ("lab", "refused", 1000))

    assert (wants.resting, wants.refused, changes_at) == ((("lab", "here"),), (), NOW - 1000 + RESTS_MS[1])
    assert after(("lab", "not_started", RESTS_MS[0])) == after()


def test_a_place_that_never_begins_a_job_rests_no_longer_than_the_longest() -> None:
    """However often it was tried: some day it may be well again."""
    often = [("lab", "not_started", 1000 * number) for number in range(1, 20)]

    assert after(*often)[1] == NOW - 1000 + RESTS_MS[-1]


def test_a_simulated_supplier_refuses_for_good() -> None:
    """Its next answer would be the same."""
    wants, changes_at = after(("mock", "refused", 1000))

    assert (wants.refused, wants.resting, changes_at) == ((("mock", "here"),), (), None)


def test_a_place_has_a_job_again_as_often_as_its_supplier_says() -> None:
    """Two times more, or never."""

    def lost(times: int) -> Requirements:
        return after(*[("lab", "lost", 0), ("mock", "outage", 0)] * times)[0].requirements(CATALOGUE, Circumstances())

    lab, mock = ("lab", "here"), ("mock", "here")
    assert [lost(times).lost_before for times in (1, 2, 3)] == [{lab}, {lab}, set()]
    assert [lost(times).lost for times in (1, 2, 3)] == [{mock}, {mock}, {mock, lab}]


def test_what_stands_in_the_way_of_every_job_is_asked_for_each_time() -> None:
    """It is not what the job wants, and so does not move it to another queue."""
    circumstances = Circumstances(frozenset("a"), frozenset("b"), frozenset("c"))
    requirements = after()[0].requirements(CATALOGUE, circumstances, job=job(prefer_region="eu"), full=["lab"])

    assert requirements == Requirements(
        prefer_region="eu",
        outages=frozenset("a"),
        drained=frozenset("b"),
        unreachable=frozenset("c"),
        max_runtime_seconds=60,
        full=frozenset({"lab"}),
    )
