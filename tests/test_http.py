"""What an error may carry of an answer: never a secret, wherever the server echoes it."""

from __future__ import annotations

import json

import pytest

from nodus._http import Response

SECRET = "nk_test_of-this-client"


@pytest.mark.parametrize(
    "payload",
    [
        {"message": f"the key {SECRET} is unknown"},
        {SECRET: "is unknown"},
        {"details": [{f"header {SECRET}": {"seen": [SECRET, 1, None, True]}}]},
        [SECRET, {SECRET: SECRET}],
        SECRET,
    ],
)
def test_a_secret_is_redacted_in_values_and_in_names(payload: object) -> None:
    """A server or proxy that echoes a request may make a name of what it was sent."""
    shown = json.dumps(Response(401, {}, json.dumps(payload).encode(), secrets=(SECRET,)).payload())

    assert SECRET not in shown
    assert "[redacted]" in shown


def test_what_is_no_secret_stays_as_it_came() -> None:
    """Names, numbers and nesting of a payload are the server's own."""
    payload = {"error": "budget_exceeded", "figures": [1, 2.5, None, {"cap": True}]}

    assert Response(402, {}, json.dumps(payload).encode(), secrets=(SECRET,)).payload() == payload
