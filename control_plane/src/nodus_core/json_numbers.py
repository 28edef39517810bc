"""Small numbers in JSON, written as people and simple readers expect them: `0.00001`, where Python writes `1e-05`.

Both are the same number to a reader of JSON; but an amount of money has one form everywhere.
"""

from __future__ import annotations

import re
from decimal import Decimal

# What most texts hold nothing of, and what is found at once.
_MAY_BE = "e-0"
_IS_ONE = re.compile(r"[0-9]e-0[0-9]\s*[,\]}]|[0-9]e-0[0-9]\Z")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9](?:\.[0-9]+)?e-0[0-9]\b')


def plain_numbers(text: str) -> str:
    r"""Write out the small numbers of a JSON text that Python's encoder made; strings stay as they are.

    >>> plain_numbers('{"cost_usd": 1e-06, "name": "1e-06,"}')
    '{"cost_usd": 0.000001, "name": "1e-06,"}'
    """
    if _MAY_BE not in text or _IS_ONE.search(text) is None:
        return text
    return _TOKENS.sub(_plain, text)


def _plain(token: re.Match[str]) -> str:
    return token[0] if token[0].startswith('"') else f"{Decimal(token[0]):f}"
