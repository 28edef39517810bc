"""How amounts of money are written: exactly, so that what is shown adds up.

An amount is a whole number of micro-dollars. People read two decimals, and more only where there are any; programs
read plain decimal numbers, never with an exponent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

LEAST_DECIMALS = 2
MOST_DECIMALS = 6

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?e-[0-9]+')


def dollars(amount: float, *, decimals: int = LEAST_DECIMALS) -> str:
    """Write an amount of US dollars for people.

    Args:
        amount: in US dollars.
        decimals: how many decimals to show at least, 2 to 6: what a column's amounts have in common.

    >>> dollars(1234.5), dollars(-0.000123)
    ('$1,234.50', '-$0.000123')
    """
    text = _written(f"{abs(amount):,.{MOST_DECIMALS}f}", decimals)
    return f"{'-' if amount < 0 else ''}${text}"


def plain(amount: float) -> str:
    """Write an amount for programs: a decimal number, with neither sign of a currency nor separators.

    >>> plain(1234.5), plain(-0.000123)
    ('1234.50', '-0.000123')
    """
    return _written(f"{amount:.{MOST_DECIMALS}f}", LEAST_DECIMALS)


def plain_numbers(document: str) -> str:
    """Write out the small numbers of a JSON text, such as 1e-06; strings stay as they are.

    >>> plain_numbers('{"cost_usd":1e-6,"name":"1e-6"}')
    '{"cost_usd":0.000001,"name":"1e-6"}'
    """
    return _TOKENS.sub(_plain_number, document) if "e-" in document else document


def decimals_of(amounts: Iterable[float]) -> int:
    """Return how many decimals show all of these amounts exactly, 2 to 6: those that a column of them has.

    >>> decimals_of([1.5, 0.021858, 2])
    6
    """
    return max((len(plain(amount).partition(".")[2]) for amount in amounts), default=LEAST_DECIMALS)


def _plain_number(token: re.Match[str]) -> str:
    return token[0] if token[0].startswith('"') else f"{Decimal(token[0]):f}"


def _written(text: str, decimals: int) -> str:
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(decimals, '0')}"
