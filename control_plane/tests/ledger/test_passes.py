"""Jobs that wait, and where they go when there is room."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from job_rows import row
from servers.engines import POSTGRESQL
from sqlalchemy import Connection, Executable, insert, update
from yard import H100, Yard, open_yard, supplier

from nodus_ledger.database.database import Database
from nodus_ledger.database.schema import jobs
from nodus_ledger.errors import NoSuchOffer
from nodus_ledger.jobs import passes
from nodus_ledger.jobs.capacity import RESERVES_AFTER_MS
from nodus_ledger.jobs.claiming import Claim
from nodus_ledger.jobs.leases import LEFT_TO_OTHERS_MS
from nodus_ledger.jobs.settlement import SUBMITTING, Step
from nodus_ledger.jobs.wants import RESTS_MS, WAITING_FOR_CAPACITY, Wants, of_queue
from nodus_ledger.verification.verify import verify

LAB = supplier("lab", 1, {H100: 4})
RACK = supplier("rack", 2, {H100: 8})
CLUSTER = supplier("cluster", 3, None)


@pytest.fixture
def yard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kept_database_url: str) -> Iterator[Yard]:
    """The suppliers that a test names; else one with four GPUs."""
    opened = open_yard(kept_database_url, getattr(request, "param", [LAB]))
    yield opened
    report = verify(opened.control_plane.database)
    opened.control_plane.close()
    assert report.is_sound, report


@pytest.mark.both_engines
def test_a_full_supplier_fails_no_job(yard: Yard) -> None:
    """It waits, is due no more, and says so; it is placed when something is free, with GPUs that nobody else has."""
    made = [yard.submit(gpus=2) for _ in range(3)]
    claims = yard.claim()
    waiting = yard.job(made[2])
    due = yard.column(made[2], "due_at")
    yard.end(claims[0])

    assert [claim.job.id for claim in claims] == made[:2]
    assert (waiting.status, waiting.attempt, waiting.phase, due) == ("queued", 0, WAITING_FOR_CAPACITY, None)
    assert yard.places() == {made[2]: "lab"}
    assert [yard.indices(job_id) for job_id in made] == [["0,1"], ["2,3"], ["0,1"]]
    assert yard.job(made[2]).phase == SUBMITTING


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB, RACK]], indirect=True, ids=["_"])
def test_of_those_that_have_room_the_best_is_taken(yard: Yard) -> None:
    """The cheap one is full: nobody who can pay the other waits for it."""
    first, second = yard.submit(gpus=4), yard.submit()
    placed = yard.places()
    document = yard.control_plane.jobs.decision(second)

    assert placed == {first: "lab", second: "rack"}
    assert document is not None
    found = {each["supplier"]: (each["rejected"], each["has_room"]) for each in document["candidates"]}
    assert found == {"lab": (None, False), "rack": (None, True)}
    assert document["chosen"]["supplier"] == "rack"


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB, supplier("rack", 2, {H100: 2})]], indirect=True, ids=["_"])
def test_a_job_waits_for_all_that_it_could_be_given_to(yard: Yard) -> None:
    """It goes where something comes free first."""
    yard.submit(gpus=4)
    yard.submit(gpus=2)
    waiting = yard.submit()
    claims = {claim.attempt.supplier: claim for claim in yard.claim()}
    yard.end(claims["rack"])

    assert yard.places() == {waiting: "rack"}


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB, CLUSTER]], indirect=True, ids=["_"])
def test_an_engine_with_a_queue_of_its_own_takes_what_the_others_cannot(yard: Yard) -> None:
    """Nothing is counted there."""
    made = [yard.submit(gpus=gpus) for gpus in (4, 8, 1)]

    assert yard.places() == {made[0]: "lab", made[1]: "cluster", made[2]: "cluster"}
    assert [yard.indices(job_id) for job_id in made] == [["0,1,2,3"], [None], [None]]


@pytest.mark.both_engines
def test_a_crowd_of_one_customer_delays_another_by_one_freed_gpu(yard: Yard) -> None:
    """Whoever holds less comes first; then they take turns."""
    many = [yard.submit("many") for _ in range(12)]
    claims = yard.claim()
    ones = [yard.submit("one") for _ in range(3)]
    order = []
    for _ in range(6):
        yard.end(claims.pop(0))
        claims += yard.claim()
        order.append(claims[-1].job.id)

    assert order == [ones[0], ones[1], many[4], many[5], ones[2], many[6]]


@pytest.mark.both_engines
def test_a_large_job_that_was_passed_over_is_kept_what_comes_free(yard: Yard) -> None:
    """For five minutes smaller ones pass it; then nobody does, although each of them would fit."""
    small = [yard.submit("small") for _ in range(4)]
    claims = yard.claim()
    large = yard.submit("large", 3)
    small += [yard.submit("small") for _ in range(6)]
    yard.end(claims.pop(0))
    claims += yard.claim()
    passed_over_at = yard.column(large, "passed_over_at")
    yard.pass_time(RESERVES_AFTER_MS)
    freed = []
    for _ in range(3):
        yard.end(claims.pop(0))
        placed = yard.claim()
        freed.append([claim.job.id for claim in placed])
        claims += placed

    assert claims[0].job.id == small[4]
    assert passed_over_at == yard.clock.now() - RESERVES_AFTER_MS
    assert freed == [[], [], [large]]
    assert (yard.column(large, "reserves"), yard.column(large, "passed_over_at")) == (None, None)


@pytest.mark.both_engines
def test_what_was_kept_for_a_job_that_is_cancelled_is_everybodys(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the next look."""
    monkeypatch.setattr(passes, "SWEEP_SECONDS", 0.0)
    yard.submit("small", 3)
    yard.submit("small")
    claims = yard.claim()
    large, small = yard.submit("large", 4), yard.submit("small", 1)
    yard.end(claims[1])
    small_claim = yard.claim()[0]
    yard.pass_time(RESERVES_AFTER_MS)
    waiting = yard.submit("small")
    yard.end(small_claim)
    kept = yard.places()
    reserves = yard.column(large, "reserves")
    yard.control_plane.jobs.request_cancel(yard.key("large"), large, yard.clock.now())

    assert small_claim.job.id == small
    assert (kept, reserves) == ({}, "lab")
    assert yard.places() == {waiting: "lab"}


@pytest.mark.both_engines
def test_a_job_that_nobody_can_ever_take_is_not_accepted(yard: Yard) -> None:
    """Nobody has so many GPUs in one place."""
    with pytest.raises(NoSuchOffer):
        yard.submit(gpus=5)
    assert yard.submit(gpus=4) in yard.places()


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB, supplier("rack", 2, {H100: 2})]], indirect=True, ids=["_"])
def test_an_outage_ends_only_those_that_have_nowhere_else_to_go(yard: Yard) -> None:
    """A job that waits for both goes on waiting for the other."""
    first, second = yard.submit(gpus=4), yard.submit(gpus=2)
    yard.claim()
    large, small = yard.submit(gpus=4), yard.submit()
    yard.claim()
    yard.control_plane.outages.set("lab", on=True, now=yard.clock.now())
    yard.claims.claim("me", now=yard.clock.now(), real_now=0, lease_ms=1, limit=64)

    assert (yard.job(large).status, yard.job(large).error_code, yard.job(large).cost) == ("failed", "no_supplier", 0)
    assert yard.job(small).status == "queued"
    assert {yard.job(job_id).status for job_id in (first, second)} == {"queued"}


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB, CLUSTER]], indirect=True, ids=["_"])
@pytest.mark.parametrize("how", ["unreachable", "drained"])
def test_what_cannot_be_asked_is_waited_for(yard: Yard, how: str) -> None:
    """And so is what is given nothing new: both may be back soon."""

    def places_without(*names: str) -> dict[str, str]:
        missing = frozenset(names)
        return yard.places(unreachable=missing) if how == "unreachable" else yard.places(drained=missing)

    first = yard.submit()
    nowhere = places_without("lab", "cluster")
    waiting = yard.job(first)
    elsewhere = places_without("lab")
    second = yard.submit()

    assert (nowhere, waiting.status, waiting.phase) == ({}, "queued", WAITING_FOR_CAPACITY)
    assert elsewhere == {first: "cluster"}
    assert yard.places() == {second: "lab"}
    document = yard.control_plane.jobs.decision(first)
    assert document is not None
    assert {each["supplier"]: each["rejected"] for each in document["candidates"]} == {"lab": how, "cluster": None}


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[CLUSTER]], indirect=True, ids=["_"])
def test_a_job_without_counted_suppliers_waits_too(yard: Yard) -> None:
    """Where its only one cannot be asked; nothing is counted for it."""
    job_id = yard.submit()
    nowhere = yard.places(unreachable=frozenset({"cluster"}))

    assert (nowhere, yard.job(job_id).status) == ({}, "queued")
    assert yard.places() == {job_id: "cluster"}


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[CLUSTER]], indirect=True, ids=["_"])
def test_an_engine_that_refused_is_asked_again_too_where_nothing_is_counted(yard: Yard) -> None:
    """The job waits meanwhile, and does so no more afterwards."""
    job_id = yard.submit()
    yard.end(*yard.claim(), outcome="refused")
    nowhere = yard.places()
    waiting = yard.job(job_id)
    yard.pass_time(RESTS_MS[0])

    assert (nowhere, waiting.phase) == ({}, WAITING_FOR_CAPACITY)
    assert waiting.phase_detail == "Could not be begun at cluster, which will be tried again."
    assert yard.places() == {job_id: "cluster"}
    assert (yard.column(job_id, "waiting_since"), yard.job(job_id).phase) == (None, SUBMITTING)


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB, RACK]], indirect=True, ids=["_"])
@pytest.mark.parametrize("outcome", ["refused", "not_started"])
def test_a_place_that_could_not_begin_is_asked_again_after_a_while(yard: Yard, outcome: str) -> None:
    """Others meanwhile; where there are none the job waits, however often it happens."""
    job_id = yard.submit()
    tried = []
    for _ in range(2):
        (claim,) = yard.claim()
        tried.append(claim.attempt.supplier)
        yard.end(claim, outcome=outcome)
    nothing = yard.places()
    yard.pass_time(RESTS_MS[0] - 1)
    nothing.update(yard.places())
    yard.pass_time(1)

    assert tried == ["lab", "rack"]
    assert nothing == {}
    assert yard.places() == {job_id: "lab"}


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB, RACK]], indirect=True, ids=["_"])
def test_a_place_that_lost_a_job_has_it_again_only_when_no_other_is_left(yard: Yard) -> None:
    """A full one is left; and no place loses a job more than three times."""
    job_id = yard.submit()
    (claim,) = yard.claim()
    others = [yard.submit("other", 8)]
    other = yard.claim()
    yard.end(claim, outcome="lost")
    waits_for_the_other = yard.places()
    yard.end(*other)
    tried = []
    while yard.job(job_id).status == "queued" and (claims := yard.claim()):
        tried.append(claims[0].attempt.supplier)
        yard.end(*claims, outcome="lost")
    job = yard.job(job_id)

    assert len(others) == 1
    assert waits_for_the_other == {}
    assert sorted(tried) == ["lab"] * 2 + ["rack"] * 3
    assert tried[0] == "rack"
    assert (job.status, job.error_code) == ("failed", "no_supplier")


@pytest.mark.both_engines
def test_a_pass_places_no_more_than_is_asked_for(yard: Yard) -> None:
    """The rest is there for the next one."""
    made = [yard.submit() for _ in range(4)]
    now = yard.clock.now()
    counts = []
    for _ in range(3):
        count, claims = yard.claims.claim("me", now=now, real_now=now, lease_ms=10**6, limit=3)
        counts.append((count > 0, len(claims)))

    assert counts == [(True, 3), (True, 1), (False, 0)]
    assert {yard.job(job_id).attempt for job_id in made} == {1}


def claim_as(yard: Yard, owner: str, **how_things_stand: frozenset[str]) -> list[Claim]:
    """Claim once, for one worker of several."""
    now = yard.clock.now()
    return yard.claims.claim(owner, now=now, real_now=now, lease_ms=1, limit=64, **how_things_stand)[1]


@pytest.mark.both_engines
def test_what_a_worker_places_it_has_at_once(yard: Yard) -> None:
    """No other can take it for its own, which might not reach that engine."""
    job_id = yard.submit()
    (claim,) = claim_as(yard, "one")

    assert claim_as(yard, "other") == []
    assert (claim.job.id, claim.is_first, claim.attempt.gpu_indices) == (job_id, True, "0")
    assert yard.claims.holds("one", claim.job, real_now=yard.clock.now())
    assert yard.job(job_id).phase == SUBMITTING


@pytest.mark.both_engines
@pytest.mark.parametrize("how", ["unreachable", "busy"])
def test_what_was_placed_and_not_sent_is_left_to_those_who_can_send_it(yard: Yard, how: str) -> None:
    """For a while: if none of them does, it can as well go elsewhere."""
    lab = frozenset({"lab"})
    yard.submit()
    by_one_with_full_hands = claim_as(yard, "one", busy=lab)
    placed = yard.slots()
    by_one_who_cannot = claim_as(yard, "other", **{how: lab})
    yard.pass_time(LEFT_TO_OTHERS_MS)
    (later,) = claim_as(yard, "other", **{how: lab})

    assert (by_one_with_full_hands, by_one_who_cannot) == ([], [])
    assert list(placed.values()).count(later.job.id) == 1
    assert later.is_first


@pytest.mark.both_engines
def test_what_was_placed_and_not_sent_can_be_cancelled_by_all(yard: Yard) -> None:
    """Its supplier need not be asked."""
    lab = frozenset({"lab"})
    job_id = yard.submit()
    claim_as(yard, "one", busy=lab)
    yard.control_plane.jobs.request_cancel(yard.key("acme"), job_id, yard.clock.now())

    assert [claim.job.id for claim in claim_as(yard, "other", unreachable=lab)] == [job_id]


@pytest.mark.both_engines
def test_what_may_have_been_sent_is_left_to_those_who_serve_its_supplier(yard: Yard) -> None:
    """However long that takes; whoever cannot reach it at the moment says so of the job."""
    lab = frozenset({"lab"})
    job_id = yard.submit()
    (claim,) = claim_as(yard, "one")
    yard.claims.finish("one", [Step(claim.job, (), yard.clock.now(), phase="unreachable")], now=yard.clock.now())
    yard.pass_time(10 * LEFT_TO_OTHERS_MS)
    by_one_who_does_not = claim_as(yard, "other", busy=lab)
    (by_one_who_does,) = claim_as(yard, "other", unreachable=lab)

    assert by_one_who_does_not == []
    assert (by_one_who_does.job.id, by_one_who_does.is_first) == (job_id, False)


@pytest.mark.both_engines
def test_what_is_given_back_unasked_is_as_it_was(yard: Yard) -> None:
    """No driver has heard of it, whoever claims it next."""
    yard.submit()
    (claim,) = claim_as(yard, "one")
    yard.claims.give_back("one", claim, due_at=yard.clock.now())
    (again,) = claim_as(yard, "other")

    assert (again.job.id, again.is_first) == (claim.job.id, True)


@pytest.mark.both_engines
def test_a_waiting_job_stands_in_its_queue_from_its_submission_on(yard: Yard) -> None:
    """Those who claim what is due may have much to do before they come to it."""
    job_id = yard.submit()
    queue = Wants("acme", False, 1, ()).queue

    assert (yard.column(job_id, "waiting_in"), yard.column(job_id, "waiting_since")) == (queue, yard.clock.now())
    assert yard.column(job_id, "due_at") == yard.clock.now()


WAITING = 3000
MANY_QUEUES = 8


@pytest.fixture
def crowded(kept_database_url: str) -> Iterator[Database]:
    """A database in which many jobs wait, in few queues, beside others that are over."""
    database = Database(kept_database_url)
    with database.write() as connection:
        connection.execute(insert(jobs), [waiting_row(number) for number in range(WAITING)])
    with database._engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
    yield database
    database.close()


def waiting_row(number: int) -> dict[str, Any]:
    """Make a job: four of five wait, and of those one was passed over."""
    customer = f"customer {number % MANY_QUEUES}"
    queue = Wants(customer, True, 1, ()).queue
    is_waiting = number % 5 != 0
    return {
        **row(number),
        "gpu": H100,
        "customer_id": customer,
        "status": "queued" if is_waiting else "completed",
        "due_at": None,
        "waiting_since": 1 if is_waiting else None,
        "waiting_in": queue if is_waiting else None,
        "passed_over_at": 1 if number == 1 else None,
    }


def plan_of(connection: Connection, query: Executable, **values: Any) -> str:
    """Explain a query, in the words of the engine."""
    said = str(query.params(**values).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]
    if connection.dialect.name == "sqlite":
        return "\n".join(str(found[3]) for found in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}"))
    return json.dumps(connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {said}".replace("%", "%%")).scalar())


@pytest.mark.both_engines
def test_a_pass_reads_one_job_of_each_queue(crowded: Database, engine: str) -> None:
    """By an index that has only those who wait, in the order in which they come; no table is scanned."""
    queue = Wants("customer 1", True, 1, ()).queue
    queries: dict[Executable, dict[str, Any]] = {
        passes.MODELS_WAITED_FOR: {},
        passes.HEADS_OF_QUEUES: {"of_gpu": H100},
        passes.NEXT_IN_QUEUE: {"of_gpu": H100, "queue": queue, "after_at": 5, "after_seq": 5},
    }
    with crowded.read() as connection:
        plans = [plan_of(connection, query, **values) for query, values in queries.items()]
        passed_over = plan_of(connection, passes.PASSED_OVER, of_gpu=H100)

    for plan in plans:
        assert "jobs_waiting" in plan, plan
        if engine == POSTGRESQL:
            assert '"Seq Scan"' not in plan, plan
            assert '"jobs_pkey"' not in plan, plan
            assert most_rows(json.loads(plan)) <= MANY_QUEUES + 1, plan
        else:
            assert "SCAN jobs" not in plan, plan
            assert "PRIMARY KEY" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan
    assert "jobs_passed_over" in passed_over


def most_rows(part: Any) -> int:
    """Find the most rows that a step of a plan has read, or left out, in all its loops."""
    if isinstance(part, dict):
        own = part.get("Actual Loops", 1) * (part.get("Actual Rows", 0) + part.get("Rows Removed by Filter", 0))
        return max([int(own), *(most_rows(inner) for inner in part.values())])
    return max((most_rows(inner) for inner in part), default=0) if isinstance(part, list) else 0


@pytest.mark.both_engines
@pytest.mark.parametrize("yard", [[LAB]], indirect=True, ids=["_"])
def test_jobs_that_must_change_their_queue_hold_up_nobody(yard: Yard) -> None:
    """As after an upgrade, or with other suppliers that can run them: they move in one pass, and others are placed."""
    yard.submit("first", 4)
    (running,) = yard.claim()
    crowd = [yard.submit() for _ in range(30)]
    other = yard.submit("other")
    yard.claim()
    before = replace(of_queue(yard.column(crowd[0], "waiting_in")), unable=("lab",)).queue
    with yard.control_plane.database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id.in_(crowd)).values(waiting_in=before))
    yard.end(running)
    now = yard.clock.now()
    placed = {
        claim.job.id
        for _ in range(2)
        for claim in yard.claims.claim("me", now=now, real_now=now, lease_ms=10**6, limit=64)[1]
    }

    assert {yard.column(job_id, "waiting_in") == before for job_id in crowd} == {False}
    assert other in placed
