"""Money: integers, rounded once, half up."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus_core.money import cost_micros, micros_from_usd, usd

rates = st.integers(0, 100_000_000)
gpus = st.integers(1, 8)
times = st.integers(0, 172_800_000)


@given(rates, gpus, times)
def test_a_cost_is_the_exact_one_rounded_half_up(rate: int, count: int, milliseconds: int) -> None:
    """Integer arithmetic gives what decimal arithmetic gives."""
    exact = Decimal(rate) * count * milliseconds / 3_600_000

    assert cost_micros(rate, count, milliseconds) == int(exact.to_integral_value(ROUND_HALF_UP))


@given(rates, gpus, times, times)
def test_running_longer_never_costs_less(rate: int, count: int, one: int, other: int) -> None:
    """A reservation for the longest run bounds the cost of every run."""
    shorter, longer = sorted((one, other))

    assert cost_micros(rate, count, shorter) <= cost_micros(rate, count, longer)


def test_half_a_micro_dollar_is_rounded_up() -> None:
    """Half of one is the smallest amount that is charged."""
    assert cost_micros(1, 1, 1_800_000) == 1
    assert cost_micros(1, 1, 1_799_999) == 0


@pytest.mark.parametrize("arguments", [(-1, 1, 1), (1, -1, 1), (1, 1, -1)])
def test_negative_quantities_are_refused(arguments: tuple[int, int, int]) -> None:
    """Nobody is paid for running a job."""
    with pytest.raises(ValueError, match="non-negative"):
        cost_micros(*arguments)


@given(st.integers(0, 10**12))
def test_dollars_and_micro_dollars_convert_both_ways(micros: int) -> None:
    """The JSON number of the wire loses nothing."""
    assert micros_from_usd(usd(micros)) == micros
    assert len(f"{usd(micros)!r}".partition(".")[2]) <= 6 or micros < 100
