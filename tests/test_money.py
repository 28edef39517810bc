"""How amounts of money are written: the same vectors as for the playground's page and the control plane."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus._money import decimals_of, dollars, plain

VECTORS: list[tuple[int, str, str]] = [
    tuple(each)
    for each in json.loads(Path(__file__).with_name("vectors").joinpath("money.json").read_text(encoding="utf-8"))[
        "amounts"
    ]
]

micros = st.integers(-(10**15), 10**15)


@pytest.mark.parametrize(("micros", "shown", "number"), VECTORS)
def test_amounts_are_written_exactly(micros: int, shown: str, number: str) -> None:
    """For people with two decimals or more, and thousands apart; for programs as plain numbers."""
    assert dollars(micros / 1e6) == shown
    assert plain(micros / 1e6) == number


@given(micros)
def test_nothing_is_lost(amount: int) -> None:
    """What is written is the amount, to the micro-dollar."""
    assert Decimal(plain(amount / 1e6)) * 10**6 == amount
    assert Decimal(dollars(amount / 1e6).replace("$", "").replace(",", "")) * 10**6 == amount


@given(st.lists(micros, min_size=1))
def test_a_column_has_the_decimals_that_it_needs(amounts: list[int]) -> None:
    """So that its points stand under each other; and its parts add up to its sum."""
    usd = [amount / 1e6 for amount in amounts]
    decimals = decimals_of([*usd, sum(amounts) / 1e6])
    column = [dollars(amount, decimals=decimals) for amount in usd]

    assert {len(text.partition(".")[2]) for text in column} == {decimals}
    added = sum(Decimal(text.replace("$", "").replace(",", "")) for text in column)
    assert dollars(float(added), decimals=decimals) == dollars(sum(amounts) / 1e6, decimals=decimals)


def test_no_amounts_have_two_decimals() -> None:
    """As one of whole dollars has."""
    assert decimals_of([]) == 2
    assert dollars(5.0, decimals=decimals_of([5.0])) == "$5.00"
