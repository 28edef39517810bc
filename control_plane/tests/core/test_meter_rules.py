"""The rules of metering into Stripe, by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core import meter_rules
from nodus_core.meter_rules import Answer, Step

HOUR, DAY = 3_600_000, 86_400_000
NOW = 2_000_000_000_000
SECONDS = st.integers(-50 * 86_400, 86_400).map(lambda offset: NOW // 1000 + offset)


@given(SECONDS, st.none() | st.integers(NOW - 40 * DAY, NOW), st.integers(0, 40 * DAY))
def test_nothing_is_sent_where_its_repeat_might_not_be_recognised(
    timestamp: int, first: int | None, since: int
) -> None:
    """What may have arrived 23 h ago, is older than 34 days or ahead by minutes is not sent, whatever else."""
    last = None if first is None else min(NOW, first + since)
    step = meter_rules.next_step(timestamp, first, last, NOW)
    if step is Step.SEND:
        assert first is None or NOW - first < 23 * HOUR
        assert NOW - timestamp * 1000 <= 34 * DAY
        assert timestamp * 1000 <= NOW + 300_000 or first is not None
    if step is Step.GIVE_UP:
        assert first is None
        assert NOW - timestamp * 1000 > 34 * DAY
    if step is Step.LOOK:
        assert first is not None
        assert last is not None
        assert NOW - last >= HOUR
    if step is Step.WAIT:
        assert meter_rules.next_look(timestamp, first, last, NOW) > NOW


@pytest.mark.parametrize(
    ("age", "first", "last", "expected"),
    [
        (0, None, None, Step.SEND),
        (34 * DAY, None, None, Step.SEND),
        (34 * DAY + 1000, None, None, Step.GIVE_UP),
        (-300_000, None, None, Step.WAIT),
        (HOUR, 23 * HOUR - 1, 0, Step.SEND),
        (DAY, 23 * HOUR, 0, Step.WAIT),
        (DAY, 24 * HOUR, HOUR, Step.LOOK),
        (35 * DAY, 2 * HOUR, HOUR, Step.LOOK),
    ],
)
def test_what_is_done_with_a_pending_event(age: int, first: int | None, last: int | None, expected: Step) -> None:
    """By how old it is, and how long ago it was first and last sent."""
    step = meter_rules.next_step(
        (NOW - age) // 1000, None if first is None else NOW - first, None if last is None else NOW - last, NOW
    )

    assert step is expected


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (200, "", Answer.TAKEN),
        (400, "An event already exists with identifier job_1.", Answer.TAKEN),
        (400, "An event already exists with identifier job_2.", Answer.REFUSED),
        (400, "Received unknown parameter: payload[value]", Answer.REFUSED),
        (400, "No active meter found for event name nodus", Answer.SET_UP),
        (400, "No such customer: 'cus_1'", Answer.SET_UP),
        (401, "Invalid API Key provided", Answer.SET_UP),
        (403, "The key has not the permission", Answer.SET_UP),
        (404, "Unrecognized request URL", Answer.SET_UP),
        (409, "another request is in progress", Answer.UNKNOWN),
        (429, "lock_timeout", Answer.BUSY),
        (500, "", Answer.UNKNOWN),
        (503, "", Answer.UNKNOWN),
        (None, "timed out", Answer.UNKNOWN),
    ],
)
def test_what_an_answer_means(status: int | None, message: str, expected: Answer) -> None:
    """A repeat is a delivery; what is not known to have failed may have succeeded."""
    assert meter_rules.read_answer(status, message, "job_1") is expected


@given(st.sampled_from(Answer), st.booleans())
def test_a_refusal_of_what_may_be_there_already_refuses_nothing(answer: Answer, was_in_doubt: bool) -> None:
    """Only an event that certainly never arrived is rejected by an answer."""
    state = meter_rules.state_after(answer, was_in_doubt=was_in_doubt)

    assert (state == meter_rules.DELIVERED) == (answer is Answer.TAKEN)
    assert (state == meter_rules.REJECTED) == (answer is Answer.REFUSED and not was_in_doubt)


@given(st.lists(st.integers(1, 50), max_size=8), st.data())
def test_a_choice_is_made_only_where_it_is_the_only_one(amounts: list[int], data: st.DataObject) -> None:
    """Whatever was chosen is found again, or nothing is said; all and none are always certain."""
    chosen = data.draw(st.frozensets(st.integers(0, len(amounts) - 1))) if amounts else frozenset()
    found = meter_rules.which(sum(amounts[at] for at in chosen), amounts)

    assert found is None or found == chosen
    assert len(chosen) not in (0, len(amounts)) or found == chosen


def test_a_total_that_no_choice_makes_up_is_nobodys() -> None:
    """Too much, too little, or in between."""
    assert [meter_rules.which(total, [2, 4]) for total in (-1, 3, 7)] == [None, None, None]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_rest_grows_and_ends(tries: int, chance: float) -> None:
    """From a second to five minutes, each a fifth more or less."""
    rest = meter_rules.backoff_ms(tries, chance)

    assert 800 <= rest <= 360_000
    assert meter_rules.backoff_ms(1, chance) <= 1200


@pytest.mark.parametrize(
    ("text", "expected"),
    [("cus_NffrFeUfNV2Hib", True), ("cus_", False), ("acme", False), ("cus_a b", False), ("cus_a\n", False)],
)
def test_the_form_of_a_customers_id(text: str, expected: bool) -> None:
    """`cus_` and letters, digits."""
    assert meter_rules.is_stripe_customer(text) is expected
