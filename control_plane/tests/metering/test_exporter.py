"""The exporter, with the official package, against a Stripe that holds its rules."""

from __future__ import annotations

import threading

import pytest
from metering.fake_stripe import (
    DROP_AFTER,
    DROP_BEFORE,
    ERROR_AFTER,
    ERROR_BEFORE,
    LIMITED,
    NONE,
    TEST_KEY,
)
from metering.yard import DAY, HOUR, Yard
from patience import PATIENCE_SECONDS

from nodus_core.meter_rules import Answer, Step
from nodus_ledger.database.settings import Settings, begin_incarnation
from nodus_ledger.jobs.meter_queue import BegunAlready, MeterQueue, NotBegun

pytestmark = pytest.mark.both_engines

CUS = "cus_1"


def test_an_event_has_four_fields_and_who_the_customer_is_there(yard: Yard) -> None:
    """Its value is whole micro-USD; who asked for it is in the payload; a second look sends nothing."""
    yard.name_customer("acme", CUS)
    identifier = yard.add("acme", 1500)
    exporter = yard.exporter()

    assert exporter.run_due() == 1
    assert exporter.run_due() == 0
    (event,) = yard.stripe.live.events
    assert (event.identifier, event.customer, event.value) == (identifier, CUS, 1500)
    assert event.payload["principal_kind"] == "agent"
    assert yard.states() == {identifier: "delivered"}


def test_a_customer_whom_nobody_has_named_holds_up_nobody(yard: Yard) -> None:
    """Its events wait, and are sent once somebody has."""
    waits = yard.add("acme", 1, age_ms=HOUR)
    sent = yard.add("other", 2)
    yard.name_customer("other", "cus_2")
    exporter = yard.exporter()
    exporter.run_due()

    assert yard.states() == {waits: "pending", sent: "delivered"}
    assert [(each.customer_id, each.events, each.amount) for each in yard.queue.waiting(livemode=True)] == [
        ("acme", 1, 1)
    ]
    yard.name_customer("acme", CUS)
    exporter.run_due()
    assert yard.states()[waits] == "delivered"


def test_live_and_test_are_two_accounts(yard: Yard) -> None:
    """What is simulated never reaches the live one, and waits where there is no other; zero goes nowhere."""
    yard.name_customer("acme", CUS)
    live, test = yard.add("acme", 1), yard.add("acme", 2, livemode=False)
    nothing = yard.add("acme", 0)
    yard.exporter(test=False).run_due()
    assert yard.states() == {live: "delivered", test: "pending", nothing: "nothing"}
    yard.exporter().run_due()

    assert [event.identifier for event in yard.stripe.live.events] == [live]
    assert [event.identifier for event in yard.stripe.books[TEST_KEY].events] == [test]


@pytest.mark.parametrize("fault", [DROP_BEFORE, DROP_AFTER, ERROR_BEFORE, ERROR_AFTER, LIMITED])
def test_a_call_that_fails_is_made_again_and_counted_once(yard: Yard, fault: str) -> None:
    """Whether it had arrived or not: within a day Stripe recognises the repeat."""
    yard.name_customer("acme", CUS)
    identifiers = [yard.add("acme", value, age_ms=60_000 - value) for value in (1, 2, 3)]
    faults = [fault, fault, NONE]
    yard.stripe.fault = lambda: faults.pop(0) if faults else NONE
    yard.run_for(yard.exporter(), HOUR // 2, 60_000)

    assert yard.stripe.live.counted() == dict.fromkeys(identifiers, 1)
    assert set(yard.states().values()) == {"delivered"}
    assert [event.identifier for event in yard.stripe.live.events] == identifiers


@pytest.mark.parametrize("arrived", [True, False])
def test_after_a_day_of_doubt_the_summary_decides(yard: Yard, arrived: bool) -> None:
    """The identifier would not be recognised any more: sent again unseen, it would be billed twice."""
    yard.name_customer("acme", CUS)
    identifier = yard.add("acme", 7)
    yard.stripe.fault = lambda: DROP_AFTER if arrived else DROP_BEFORE
    exporter = yard.exporter()
    exporter.run_one()
    yard.stripe.fault = lambda: NONE
    yard.time += 30 * HOUR
    yard.run_for(exporter, 3 * HOUR)

    assert yard.states() == {identifier: "delivered"}
    assert yard.stripe.live.counted() == {identifier: 1}
    assert yard.stripe.calls == 1


def test_a_doubt_that_no_summary_resolves_is_named_and_never_sent_again(yard: Yard) -> None:
    """Two of the same amount in one minute, one of which arrived: nobody can say which."""
    yard.name_customer("acme", CUS)
    yard.name_customer("twin", CUS)
    yard.time = yard.time // 60_000 * 60_000 + 1000
    first, second = yard.add("acme", 7), yard.add("twin", 7)
    faults = [DROP_AFTER, DROP_BEFORE]
    yard.stripe.fault = lambda: faults.pop(0)
    exporter = yard.exporter()
    exporter.run_one()
    exporter.run_one()
    yard.stripe.fault = lambda: NONE
    yard.time += 30 * HOUR
    yard.run_for(exporter, 40 * HOUR)

    assert yard.states() == {first: "unknown", second: "unknown"}
    named = yard.entries("meter.unknown")
    assert {each["identifier"] for each in named} == {first, second}
    assert {(each["amount_micros"], each["stripe_customer"]) for each in named} == {(7, CUS)}
    assert yard.stripe.calls == 1


def test_what_is_too_old_is_named_and_holds_up_nobody(yard: Yard) -> None:
    """Stripe takes nothing older than 35 days."""
    yard.name_customer("acme", CUS)
    old, young = yard.add("acme", 3, age_ms=36 * DAY), yard.add("acme", 4)
    yard.exporter().run_due()

    assert yard.states() == {old: "too_old", young: "delivered"}
    assert [each["identifier"] for each in yard.entries("meter.too_old")] == [old]


def test_an_account_that_is_not_set_up_loses_nothing(yard: Yard) -> None:
    """A customer who does not exist there: the events wait, and go once that is corrected."""
    yard.name_customer("acme", "cus_mistyped")
    yard.stripe.customers = {CUS}
    identifier = yard.add("acme", 5)
    exporter = yard.exporter()
    yard.run_for(exporter, HOUR, 60_000)
    assert yard.states() == {identifier: "pending"}
    yard.name_customer("acme", CUS)
    exporter.run_due()

    assert yard.states() == {identifier: "delivered"}
    assert yard.stripe.live.billed(CUS) == 5


def test_a_correction_does_not_move_what_may_have_been_sent(yard: Yard) -> None:
    """Under the same identifier it would be another event."""
    yard.name_customer("acme", CUS)
    identifier = yard.add("acme", 5)
    yard.stripe.fault = lambda: DROP_AFTER
    exporter = yard.exporter()
    exporter.run_one()
    yard.stripe.fault = lambda: NONE
    yard.name_customer("acme", "cus_2")
    yard.run_for(exporter, HOUR)

    assert yard.states() == {identifier: "delivered"}
    assert [event.customer for event in yard.stripe.live.events] == [CUS]


def test_what_is_older_than_metering_is_skipped_in_one_row(yard: Yard) -> None:
    """The first start says since when; another answer afterwards is refused."""
    with yard.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM settings WHERE name = 'meter since'")
    older = [yard.add("acme", value, age_ms=DAY) for value in (2, 3)]
    younger = yard.add("acme", 4)
    queue = MeterQueue(yard.database)
    with pytest.raises(NotBegun):
        queue.begin(None, yard.time)
    queue.begin(yard.time - HOUR, yard.time)
    queue.begin(None, yard.time)
    with pytest.raises(BegunAlready):
        queue.begin(0, yard.time)

    assert yard.states() == {**dict.fromkeys(older, "skipped"), younger: "pending"}
    row = yard.entries("meter.begun")[-1]
    assert (row["skipped_events"], row["skipped_micros"]) == (2, 5)


def test_after_a_restore_nothing_pending_is_sent_unseen(yard: Yard) -> None:
    """It may have been sent after the backup was made."""
    yard.name_customer("acme", CUS)
    Settings(yard.database).incarnation()
    exporter = yard.exporter()
    exporter.run_due()
    yard.time = yard.time // 60_000 * 60_000 + 1000
    sent, not_sent = yard.add("acme", 5), yard.add("acme", 6, age_ms=HOUR)
    forgotten = yard.exporter()
    assert forgotten.run_one()
    with yard.database.write() as connection:
        # As in the backup, which is older than that.
        connection.exec_driver_sql(
            "UPDATE meter_events SET state = 'pending', first_sent_at = NULL, last_sent_at = NULL, exported_at = NULL, "
            "stripe_customer = NULL, meter_name = NULL"
        )
        begin_incarnation(connection)
    before = yard.stripe.calls
    exporter.run_due()
    assert yard.stripe.calls == before
    yard.run_for(exporter, 5 * HOUR)

    assert set(yard.states().values()) == {"delivered"}
    assert yard.stripe.live.counted() == {sent: 1, not_sent: 1}
    assert yard.stripe.calls == 2


def test_two_exporters_send_each_event_once_and_one_customers_one_by_one(yard: Yard) -> None:
    """Nothing is answered with 429 for being sent beside another of its customer."""
    for number in range(3):
        yard.name_customer(f"customer {number}", f"cus_{number}")
    identifiers = [yard.add(f"customer {number % 3}", number + 1, age_ms=number) for number in range(18)]
    threads = [threading.Thread(target=yard.exporter().run_due) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    yard.exporter().run_due()

    assert yard.stripe.live.counted() == dict.fromkeys(identifiers, 1)
    assert yard.stripe.calls == len(identifiers)
    assert set(yard.states().values()) == {"delivered"}


def test_what_a_report_names_is_rejected_and_never_sent_again(yard: Yard) -> None:
    """The event was accepted, and is not billed after all; the same report again changes nothing."""
    yard.name_customer("acme", CUS)
    good, bad = yard.add("acme", 1), yard.add("acme", 2)
    yard.stripe.rejects = lambda event: event.identifier == bad
    exporter = yard.exporter()
    exporter.run_due()
    assert yard.stripe.report(yard.stripe.live) is not None
    for _ in range(2):
        yard.reports.announce("evt_1", livemode=True, now=yard.time)
        yard.run_for(exporter, 2 * HOUR)

    assert yard.states() == {good: "delivered", bad: "rejected"}
    assert [each["identifier"] for each in yard.entries("meter.rejected")] == [bad]
    assert yard.stripe.live.billed(CUS) == 1


@pytest.mark.parametrize(("values", "named"), [((1, 2, 4), True), ((3, 3, 3), False)])
def test_what_a_report_does_not_name_is_found_by_summaries(yard: Yard, values: tuple[int, ...], named: bool) -> None:
    """By event where only one choice fits, else by customer, minute and amount."""
    yard.name_customer("acme", CUS)
    yard.time = yard.time // 60_000 * 60_000 + 1000
    events = [yard.add("acme", value) for value in values]
    yard.stripe.rejects = lambda event: event.identifier in events[1:2]
    exporter = yard.exporter()
    exporter.run_due()
    assert yard.stripe.report(yard.stripe.live, most_samples=0) is not None
    yard.reports.announce("evt_1", livemode=True, now=yard.time)
    yard.run_for(exporter, 6 * HOUR)
    yard.reports.announce("evt_1", livemode=True, now=yard.time)
    yard.run_for(exporter, 6 * HOUR)

    if named:
        assert yard.states()[events[1]] == "rejected"
        assert yard.gaps() == []
    else:
        assert set(yard.states().values()) == {"delivered"}
        assert yard.gaps() == [("acme", 3)]
        (row,) = yard.entries("meter.unknown")
        assert (row["identifier"], row["amount_micros"], row["stripe_customer"]) == (None, 3, CUS)
    assert yard.stripe.calls == 3


def test_what_was_rejected_before_anybody_knew_that_it_had_arrived_is_found(yard: Yard) -> None:
    """The report comes first, and names nothing; hours later a repeat says that the event is there."""
    yard.name_customer("acme", CUS)
    identifier = yard.add("acme", 9)
    yard.stripe.rejects = lambda event: True
    yard.stripe.fault = lambda: DROP_AFTER
    exporter = yard.exporter()
    exporter.run_one()
    assert yard.stripe.report(yard.stripe.live, most_samples=0) is not None
    yard.reports.announce("evt_1", livemode=True, now=yard.time)
    yard.stripe.fault = lambda: DROP_BEFORE
    yard.run_for(exporter, 5 * HOUR)
    yard.stripe.fault = lambda: NONE
    yard.run_for(exporter, 6 * HOUR)

    assert yard.states() == {identifier: "rejected"}
    assert [each["identifier"] for each in yard.entries("meter.rejected")] == [identifier]


def test_an_answer_that_comes_after_the_lease_takes_back_nothing(yard: Yard) -> None:
    """Another has sent the event meanwhile: it may be there, whatever the first one heard."""
    yard.name_customer("acme", CUS)
    yard.add("acme", 1)
    late = yard.queue.claim(livemode=True, now=yard.time)
    assert late is not None
    yard.time += 61_000
    other = yard.queue.claim(livemode=True, now=yard.time)
    assert other is not None
    assert (other.identifier, other.first_sent_at) == (late.identifier, yard.time - 61_000)
    yard.queue.answered(late, Answer.BUSY, "", now=yard.time, chance=0.5)
    assert yard.queue.claim(livemode=True, now=yard.time) is None, "the other one holds it still"
    yard.time += DAY
    next_one = yard.queue.claim(livemode=True, now=yard.time)

    assert next_one is not None
    assert next_one.step is Step.LOOK


def test_an_event_in_doubt_that_is_refused_is_not_sent_again_at_once(yard: Yard) -> None:
    """It is not rejected, since it may be there; and nobody is called in a circle."""
    yard.name_customer("acme", CUS)
    identifier = yard.add("acme", 1)
    yard.stripe.fault = lambda: DROP_BEFORE
    exporter = yard.exporter()
    exporter.run_one()
    yard.stripe.fault = lambda: NONE
    yard.stripe.strange = True
    yard.time += 10_000
    assert exporter.run_due() == 1
    assert yard.states() == {identifier: "pending"}
    yard.stripe.strange = False
    yard.run_for(exporter, HOUR)

    assert yard.states() == {identifier: "delivered"}
