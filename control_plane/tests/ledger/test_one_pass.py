"""Turns at what is simulated, and at what is real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from yard import H100, Yard, open_yard, supplier

from nodus_core.suppliers_file import DriverName, SimulatedOptions

pytestmark = pytest.mark.both_engines
ONE = supplier("one", 1, {H100: 1})
MOCK = replace(supplier("mock", 1, {H100: 4}), driver=DriverName.SIMULATED, options=SimulatedOptions())
UNCOUNTED_MOCK = replace(MOCK, gpus=None)


@pytest.fixture
def yard(request: pytest.FixtureRequest, kept_database_url: str) -> Iterator[Yard]:
    """The suppliers that a test names."""
    opened = open_yard(kept_database_url, request.param)
    yield opened
    opened.control_plane.close()


@pytest.mark.parametrize("yard", [[ONE, MOCK], [ONE, UNCOUNTED_MOCK]], indirect=True, ids=["counted", "uncounted"])
def test_whoever_simulates_waits_behind_nobody_for_what_is_real(yard: Yard) -> None:
    """One customer runs a simulation whenever the only GPU comes free, and holds what is simulated all along."""
    for _ in range(3):
        yard.submit("many")
    (running,) = yard.claim()
    for _ in range(2):
        yard.submit("both")
    order = []
    for _ in range(4):
        yard.submit("both", is_test=True)
        yard.claim()
        yard.end(running)
        (running,) = yard.claim()
        order.append(running.job.customer_id)

    assert order == ["both", "many", "both", "many"]


@pytest.mark.parametrize("yard", [[MOCK]], indirect=True, ids=["_"])
def test_those_who_simulate_take_turns_too(yard: Yard) -> None:
    """With GPUs that run nothing."""
    for _ in range(12):
        yard.submit("many", is_test=True)
    claims = yard.claim()
    for _ in range(3):
        yard.submit("one", is_test=True)
    order = []
    for _ in range(4):
        yard.end(claims.pop(0))
        claims += yard.claim()
        order.append(claims[-1].job.customer_id)

    assert order == ["one", "one", "many", "many"]
