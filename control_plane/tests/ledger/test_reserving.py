"""What placements take of a key's month, where turns are taken and where they are not, to the micro-dollar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from yard import H100, MINUTE_MS, Yard, open_yard, supplier

from nodus_core.lifecycle import JobStatus
from nodus_core.months import month_at
from nodus_ledger.errors import BudgetExceeded, MaxCostTooLow
from nodus_ledger.verification.verify import verify

pytestmark = pytest.mark.both_engines
USD = 1_000_000
COUNTED = [supplier("cheap", 1, {H100: 1}), supplier("dear", 4, {H100: 4})]
UNCOUNTED = [supplier("cheap", 1, None), supplier("dear", 4, None)]


@pytest.fixture
def yard(request: pytest.FixtureRequest, kept_database_url: str) -> Iterator[Yard]:
    """A cheap supplier and a dear one. What happened adds up in the end."""
    opened = open_yard(kept_database_url, request.param)
    yield opened
    assert verify(opened.control_plane.database).faults == []
    opened.control_plane.close()


both = pytest.mark.parametrize("yard", [COUNTED, UNCOUNTED], indirect=True, ids=["counted", "uncounted"])
counted = pytest.mark.parametrize("yard", [COUNTED], indirect=True, ids=["counted"])


def cap(yard: Yard, usd: float | None) -> None:
    """Give the key another cap."""
    key = yard.key("acme")
    micros = None if usd is None else round(usd * USD)
    yard.control_plane.keys.set_cap(key.id, micros, yard.clock.now())
    yard.keys["acme", False] = replace(key, monthly_cap=micros)


def out(yard: Yard, *, on: bool = True) -> None:
    """Let the cheap supplier be out, or not."""
    yard.control_plane.outages.set("cheap", on=on, now=yard.clock.now())


def month(yard: Yard) -> tuple[int, int]:
    """What the key has realised, and what is in flight."""
    figures = yard.control_plane.keys.budget(yard.key("acme").id, yard.clock.now())
    return figures.realised, figures.in_flight


def told(yard: Yard, kind: str) -> list[dict[str, Any]]:
    """What the ledger says of one kind."""
    page = yard.control_plane.trust_ledger.entries("acme", job_id=None, after=0, limit=1000)
    return [dict(entry.payload) for entry in page.entries if entry.kind == kind]


@counted
def test_a_submission_reserves_for_where_it_would_go_now(yard: Yard) -> None:
    """The cheap place while that has room, then the dear one; where all is full, the cheapest."""
    yard.submit()
    yard.claim()
    yard.submit(gpus=1)
    yard.claim()
    yard.submit(gpus=3)
    yard.claim()
    yard.submit()

    assert month(yard) == (0, (1 + 4 + 12 + 1) * USD)


@counted
def test_a_dearer_placement_takes_the_difference_and_a_cheaper_one_gives_it_back(yard: Yard) -> None:
    """In the transaction of the placement, whose row in the ledger has the new total."""
    first, second = yard.submit(), yard.submit()
    assert month(yard) == (0, 2 * USD)
    claims = yard.claim()
    assert month(yard) == (0, 5 * USD)
    assert [yard.job(each).reserved for each in (first, second)] == [1 * USD, 4 * USD]
    yard.end(claims[0])
    yard.end(claims[1], outcome="refused")
    assert yard.places() == {second: "cheap"}

    assert month(yard) == (0, 1 * USD)
    assert [row["reserved_micros"] for row in told(yard, "attempt.opened")] == [USD, 4 * USD, USD]
    assert {row["limit_ms"] for row in told(yard, "attempt.opened")} == {3_600_000}


@counted
def test_what_would_be_too_dear_waits_for_room_that_is_cheaper(yard: Yard) -> None:
    """It keeps its reservation; nothing is said of a budget."""
    cap(yard, 2.5)
    first, second = yard.submit(), yard.submit()
    (claim,) = yard.claim()
    waiting = yard.job(second)
    yard.end(claim)

    assert claim.job.id == first
    assert (waiting.phase, waiting.reserved, waiting.budget_needs) == ("waiting_for_capacity", USD, None)
    assert yard.places() == {second: "cheap"}


@both
def test_a_job_that_the_budget_alone_keeps_waits_and_holds_nothing(yard: Yard) -> None:
    """Others may use what it held; it is woken, the oldest first, by what is released."""
    cap(yard, 4)
    lost = [yard.submit(), yard.submit()]
    yard.clock.advance_to(yard.clock.now() + 1)
    out(yard)
    claims = yard.claim()
    waiting = [yard.job(each) for each in lost]

    # One of them takes the whole cap, once the other holds none.
    assert [claim.attempt.supplier for claim in claims] == ["dear"]
    assert month(yard) == (0, 4 * USD)
    (one,) = [job for job in waiting if job.phase == "waiting_for_budget"]
    assert (one.reserved, one.estimate, one.status) == (0, USD, "queued")
    assert one.budget_needs == USD
    assert [row["reserved_micros"] for row in told(yard, "job.reservation")] == [0]
    with pytest.raises(BudgetExceeded):
        yard.submit()
    yard.end(claims[0])
    assert yard.places() == {one.id: "dear"}
    assert month(yard)[1] == 4 * USD


@both
def test_a_raised_cap_wakes_and_a_lowered_one_ends_what_never_fits(yard: Yard) -> None:
    """A job whose need alone is above the cap fails; one that the raised cap has room for is placed."""
    cap(yard, 2)
    first = yard.submit()
    out(yard)
    assert yard.places() == {}
    assert yard.job(first).phase == "waiting_for_budget"
    cap(yard, 4)
    assert yard.places() == {first: "dear"}
    out(yard, on=False)
    cap(yard, 5)
    second = yard.submit()
    out(yard)
    assert yard.places() == {}
    cap(yard, 1)
    yard.claim()
    assert yard.job(second).phase == "waiting_for_budget"  # where the cheap one is back some day, it fits
    cap(yard, 0.99)
    yard.claim()

    assert (yard.job(second).status, yard.job(second).error_code, yard.job(second).cost) == ("failed", "over_budget", 0)
    assert yard.job(first).reserved == 4 * USD


@both
def test_a_job_that_was_woken_in_vain_waits_again(yard: Yard) -> None:
    """The room is gone when its turn comes: it waits for budget as before, and is woken by the next that there is."""
    cap(yard, 4)
    lost = [yard.submit(), yard.submit()]
    yard.clock.advance_to(yard.clock.now() + 1)
    out(yard)
    (running,) = yard.claim()
    (waiting,) = [each for each in lost if each != running.job.id]
    cap(yard, 5)
    cap(yard, 4)
    assert yard.places() == {}
    assert yard.job(waiting).phase == "waiting_for_budget"
    cap(yard, None)

    assert yard.places() == {waiting: "dear"}


@both
def test_a_new_month_has_room_again(yard: Yard) -> None:
    """At its first moment it is looked at what waits; what is in flight counts in every month."""
    cap(yard, 4)
    holding = yard.submit()
    (claim,) = yard.claim()
    waiting = yard.submit()
    out(yard)
    assert yard.places() == {}
    assert yard.job(waiting).phase == "waiting_for_budget"
    end = month_at(yard.clock.now()).end
    assert yard.column(waiting, "due_at") == end
    yard.clock.advance_to(end)
    # What is in flight counts in every month; and the one that is placed is claimed again, its lease being over.
    assert yard.places() == {holding: "cheap"}
    assert yard.column(waiting, "due_at") == month_at(end).end
    yard.control_plane.keys.set_cap(yard.key("acme").id, 5 * USD, end)

    assert claim.job.id == holding
    assert yard.places() == {waiting: "dear"}


@both
def test_a_ceiling_bounds_the_reservation_and_the_time(yard: Yard) -> None:
    """Wherever it goes; and an offer whose first minute is dearer is not taken."""
    job_id = yard.submit(max_cost_usd=0.5)
    assert yard.job(job_id).reserved == USD // 2
    yard.claim()
    out(yard)
    with pytest.raises(MaxCostTooLow) as refused:
        yard.submit(max_cost_usd=0.05)

    assert refused.value.cheapest_minute == 66_667
    assert yard.submit(max_cost_usd=0.066667)
    assert told(yard, "attempt.opened")[0]["limit_ms"] == 1_800_001


@both
def test_what_can_go_nowhere_within_its_ceiling_later_fails_with_that(yard: Yard) -> None:
    """Where it was accepted for a place that has lost it too often since."""
    job_id = yard.submit(max_cost_usd=0.05)
    for _ in range(3):
        (claim,) = yard.claim()
        yard.end(claim, outcome="lost")
    yard.claim()

    assert (yard.job(job_id).status, yard.job(job_id).error_code) == ("failed", "max_cost_too_low")


@both
def test_a_job_that_waits_too_long_fails_at_no_cost(yard: Yard) -> None:
    """A minute after its submission, or after it was lost; not before."""
    for _ in range(5):
        yard.submit()
    yard.claim()
    lost = yard.submit(queue_timeout_seconds=120)
    claims = yard.claim()
    if claims:  # there is room everywhere
        yard.pass_time(MINUTE_MS)
        yard.end(*claims, outcome="lost")
        yard.control_plane.jobs.request_cancel(yard.key("acme"), yard.submit(), yard.clock.now())
        yard.claim(unreachable=frozenset({"cheap", "dear"}))
    deadline = yard.job(lost).queue_deadline
    assert deadline is not None
    yard.clock.advance_to(deadline - 1)
    yard.claim(unreachable=frozenset({"cheap", "dear"}))
    assert yard.job(lost).status == JobStatus.QUEUED.value
    yard.clock.advance_to(deadline)
    yard.claim(unreachable=frozenset({"cheap", "dear"}))

    job = yard.job(lost)
    assert (job.status, job.error_code, job.cost, job.finished_at) == ("failed", "queue_timeout", 0, deadline)


@counted
def test_a_pass_changes_one_key_at_a_time_and_places_everything(yard: Yard) -> None:
    """However many customers' reservations it changes."""
    for customer in ("a", "b", "c", "d"):
        yard.submit(customer)
    placed = yard.places()

    assert sorted(placed.values()) == ["cheap", "dear", "dear", "dear"]
