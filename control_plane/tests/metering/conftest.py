"""Fixtures for metering: a database, a fake Stripe, and a clock that moves only when told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from metering.fake_stripe import FakeStripe
from metering.yard import Yard

from nodus_control.testing import LocalControlPlane
from nodus_ledger.database.database import Database


@pytest.fixture
def yard(database_url: str) -> Iterator[Yard]:
    """Events to send, where to send them, and exporters."""
    database = Database(database_url)
    yard = Yard(database)
    with FakeStripe(yard.now) as stripe:
        yard.stripe = stripe
        yield yard
        yard.close()
    database.close()


@pytest.fixture
def memory() -> Iterator[LocalControlPlane]:
    """A control plane in memory, without a socket."""
    with LocalControlPlane(serve=False) as started:
        yield started
