"""The conformance suite finds each of these faults, by the checks that are there for it, and by no other."""

from __future__ import annotations

import pytest
from conformance.memory import MemoryDriver
from conformance.spoiled import FAULTS
from conformance.subjects import MemorySubject

from nodus_control.suppliers.conformance import DriverChecks


def failed_checks(make: type[MemoryDriver]) -> dict[str, str]:
    """Put a kind of driver to every check; return what those said that it failed."""
    failed = {}
    for name in DriverChecks.names():
        subject = MemorySubject(make)
        try:
            getattr(DriverChecks(), name)(subject)
        except AssertionError as exc:
            failed[name] = str(exc)
    return failed


@pytest.mark.parametrize("make", list(FAULTS), ids=lambda make: make.__name__)
def test_a_fault_fails_the_checks_for_it(make: type[MemoryDriver]) -> None:
    """And what they say is a sentence, since whoever reads it may not know this suite."""
    failed = failed_checks(make)

    assert set(failed) == FAULTS[make], failed
    assert all(len(message.split()) >= 4 for message in failed.values())


def test_a_driver_without_a_fault_passes() -> None:
    """Nor is any check skipped for it: each of them can be passed."""
    assert failed_checks(MemoryDriver) == {}


def test_every_check_is_failed_by_some_fault() -> None:
    """A check that nothing fails may as well not be there."""
    never = set(DriverChecks.names()) - set().union(*FAULTS.values())

    assert never == set()
