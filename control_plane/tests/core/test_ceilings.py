"""What a placement may cost, against fractions and against trying every millisecond."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from nodus_core.ceilings import first_minute_micros, limit_ms, reservation_micros
from nodus_core.money import cost_micros

rates = st.integers(0, 50_000_000)
counts = st.integers(1, 8)
runtimes = st.integers(60, 172_800)
ceilings = st.none() | st.integers(1, 10**9)


@given(rates, counts, runtimes, ceilings)
def test_a_reservation_is_the_whole_runtime_rounded_up_or_the_ceiling(
    rate: int, count: int, seconds: int, ceiling: int | None
) -> None:
    """Not a micro-dollar more, nor less."""
    exact = Fraction(rate * count * seconds, 3600)
    reserved = reservation_micros(rate, count, seconds)

    assert 0 <= reserved - exact < 1
    assert reservation_micros(rate, count, seconds, ceiling) == (
        reserved if ceiling is None else min(reserved, ceiling)
    )


@given(rates, counts, runtimes, ceilings)
def test_what_runs_to_its_limit_costs_at_most_what_is_reserved(
    rate: int, count: int, seconds: int, ceiling: int | None
) -> None:
    """And a millisecond more is past the ceiling, or past the runtime."""
    limit = limit_ms(rate, count, seconds, ceiling)

    assert cost_micros(rate, count, limit) <= reservation_micros(rate, count, seconds, ceiling)
    assert limit <= seconds * 1000
    if limit < seconds * 1000:
        assert ceiling is not None
        assert cost_micros(rate, count, limit + 1) > ceiling


@given(st.integers(1, 10**9), st.integers(1, 8), st.integers(1, 3000))
def test_a_limit_is_the_longest_that_trying_finds(rate: int, count: int, ceiling: int) -> None:
    """By halving, from the definition of a cost alone."""
    low, high = 0, 60_000
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost_micros(rate, count, middle) <= ceiling else (low, middle - 1)

    assert limit_ms(rate, count, 60, ceiling) == low


@given(rates, counts, runtimes, st.integers(1, 10**9))
def test_a_minute_fits_exactly_where_the_limit_is_one(rate: int, count: int, seconds: int, ceiling: int) -> None:
    """So that what is taken under a ceiling can run for a minute at least."""
    fits = first_minute_micros(rate, count) <= ceiling

    assert fits == (limit_ms(rate, count, seconds, ceiling) >= 60_000)


def test_what_costs_nothing_is_limited_by_its_runtime_alone() -> None:
    """Whatever its ceiling."""
    assert limit_ms(0, 8, 61, 1) == 61_000
    assert reservation_micros(0, 8, 61, 1) == 0
