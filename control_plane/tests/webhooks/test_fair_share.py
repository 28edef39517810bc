"""How attempts share the places of a sender."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_control.webhooks.fair_share import SLOW_SECONDS, InFlight, Limits, Waiting, limits_within, share

LIMITS = Limits(quick=8, suspect=4, in_all=20, customer=5, endpoint=3, begun_at_once=6)


def waiting(*endpoints: str, suspect: str = "") -> list[Waiting]:
    """Endpoints named `customer/endpoint`, in the order of what is due."""
    return [
        Waiting(each, each.partition("/")[0], number, is_suspect=each in suspect.split())
        for number, each in enumerate(endpoints)
    ]


def in_flight(*endpoints: str, suspect: bool = False, seconds: float = 0.0) -> list[InFlight]:
    """Attempts to endpoints named `customer/endpoint`."""
    return [InFlight(each, each.partition("/")[0], suspect, seconds) for each in endpoints]


def test_an_endpoint_has_a_few_places() -> None:
    """And one that did not answer last has one."""
    shares = share(waiting("a/1", "b/1", suspect="b/1"), in_flight("a/1"), LIMITS)

    assert shares == {"a/1": 2, "b/1": 1}


def test_a_customer_has_no_more_places_for_many_endpoints() -> None:
    """Those count that it had before, to endpoints that are deleted by now."""
    before = in_flight("a/gone", "a/gone", "a/gone", seconds=9)
    shares = share(waiting(*(f"a/{number}" for number in range(9))), before, LIMITS)

    assert sum(shares.values()) == LIMITS.customer - 3


def test_who_has_least_comes_first() -> None:
    """Although others have waited longer."""
    limits = Limits(quick=4, begun_at_once=64)
    shares = share(waiting("a/1", "a/2", "b/1"), in_flight("a/1", "a/2", "a/3"), limits)

    assert shares == {"b/1": 1}


def test_places_go_round_in_the_order_of_what_is_due() -> None:
    """First to customers, then to the endpoints of each."""
    shares = share(waiting("a/1", "a/2", "b/1"), [], Limits(begun_at_once=3))

    assert shares == {"a/1": 1, "a/2": 1, "b/1": 1}


def test_attempts_that_hang_leave_the_places_of_the_quick() -> None:
    """They are only counted in all, and with their customer."""
    hanging = in_flight(*(f"{number}/1" for number in range(8)), seconds=SLOW_SECONDS)

    assert share(waiting("a/1"), hanging, LIMITS) == {"a/1": 3}
    assert share(waiting("a/1"), in_flight(*(f"{number}/1" for number in range(8))), LIMITS) == {}


def test_endpoints_that_do_not_answer_share_places_of_their_own() -> None:
    """They never take those of the others, nor the other way round."""
    suspects = in_flight(*(f"{number}/1" for number in range(4)), suspect=True)

    assert share(waiting("a/1", "b/1", suspect="a/1"), suspects, LIMITS) == {"b/1": 3}
    assert share(waiting("a/1", suspect="a/1"), in_flight(*(f"{n}/1" for n in range(8))), LIMITS) == {"a/1": 1}


def test_there_is_an_end_to_everything() -> None:
    """All endpoints together have a limit, because each attempt is a connection."""
    assert share(waiting("a/1"), in_flight(*(f"{n}/1" for n in range(20)), seconds=9), LIMITS) == {}


@pytest.mark.parametrize("descriptors", [0, 100, 1024, 4096, 10**9])
def test_attempts_leave_half_of_the_open_files_to_everything_else(descriptors: int) -> None:
    """A process that has no descriptors left can do nothing at all."""
    limits = limits_within(descriptors)

    assert limits.in_all <= max(16, descriptors // 2)
    assert limits.quick <= limits.in_all
    assert limits.suspect <= limits.in_all
    assert limits.in_all >= limits.customer


NAMES = st.tuples(st.sampled_from("abc"), st.integers(1, 4)).map(lambda pair: f"{pair[0]}/{pair[1]}")


@given(
    st.lists(st.tuples(NAMES, st.booleans()), unique_by=lambda pair: pair[0]),
    st.lists(st.tuples(NAMES, st.booleans(), st.sampled_from([0.0, 9.0])), max_size=24),
)
def test_no_limit_is_ever_passed(due: list[tuple[str, bool]], busy: list[tuple[str, bool, float]]) -> None:
    """The limits hold whatever waits, and whatever is in flight."""
    attempts = [InFlight(name, name[0], is_suspect, seconds) for name, is_suspect, seconds in busy]
    endpoints = [Waiting(name, name[0], number, is_suspect) for number, (name, is_suspect) in enumerate(due)]
    shares = share(endpoints, attempts, LIMITS)
    begun = [InFlight(each.endpoint_id, each.customer_id, each.is_suspect, 0.0) for each in expand(endpoints, shares)]

    assert len(begun) <= LIMITS.begun_at_once
    for count, before, most in (
        (len, len(attempts), LIMITS.in_all),
        (lambda some: sum(each.is_quick for each in some), sum(each.is_quick for each in attempts), LIMITS.quick),
        (lambda some: sum(each.is_suspect for each in some), sum(each.is_suspect for each in attempts), LIMITS.suspect),
    ):
        assert before + count(begun) <= max(most, before)
    for customer, now in Counter(each.customer_id for each in begun).items():
        assert now + sum(each.customer_id == customer for each in attempts) <= LIMITS.customer
    for one in endpoints:
        already = sum(each.endpoint_id == one.endpoint_id for each in attempts)
        most = 1 if one.is_suspect else LIMITS.endpoint
        assert shares.get(one.endpoint_id, 0) == 0 or shares[one.endpoint_id] + already <= most


def expand(endpoints: list[Waiting], shares: Mapping[str, int]) -> list[Waiting]:
    """Return each endpoint as often as it got a place."""
    return [each for each in endpoints for _ in range(shares.get(each.endpoint_id, 0))]
