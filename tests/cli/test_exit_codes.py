"""The exit statuses: one for every error, and the numbers that scripts rely on."""

from __future__ import annotations

import signal

import pytest

import nodus as sdk
from nodus._cli import exit_codes

ERRORS = [value for name in sdk.__all__ if isinstance(value := getattr(sdk, name), type) and name.endswith("Error")]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_has_a_status_of_the_table(kind: type[sdk.NodusError]) -> None:
    """A subclass that is added later gets the status of its base class."""
    tomorrows = type("Tomorrows", (kind,), {})

    assert exit_codes.of_error(kind("x")) in exit_codes.MEANINGS
    assert exit_codes.of_error(tomorrows("x")) == exit_codes.of_error(kind("x"))


def test_the_statuses_are_those_that_scripts_rely_on() -> None:
    """The numbers are public and do not change."""
    assert list(exit_codes.MEANINGS) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 74, 124, 130, 143]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_has_the_status_that_shells_report(number: signal.Signals) -> None:
    """It is 128 plus the signal's number, and has a meaning in the table."""
    assert exit_codes.of_signal(number) == 128 + number
    assert exit_codes.of_signal(number) in exit_codes.MEANINGS
