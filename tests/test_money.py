"""How amounts of money are written: the same vectors as for the playground's page and the control plane."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodus import JobView
from nodus._money import decimals_of, dollars, plain, plain_numbers

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


@pytest.mark.parametrize("number", ["0.000001", "1e-06", "1e-6", "0.1E-5"])
def test_the_smallest_amount_is_read_in_any_form_and_written_in_one(number: str) -> None:
    """A micro-dollar, beside a name that looks like it."""
    view = JobView.model_validate_json(f'{{"id":"1","status":"running","cost_usd":{number},"name":"1e-06,\\"1e-6"}}')

    document = plain_numbers(view.model_dump_json(exclude_none=True))

    assert view.cost_usd == 1e-6
    assert '"cost_usd":0.000001' in document
    assert json.loads(document)["name"] == '1e-06,"1e-6'
    assert plain_numbers(json.dumps([-1.5e-5, 1e-4, 2])) == "[-0.000015, 0.0001, 2]"
