"""The simulated driver by itself: what it remembers of a cancellation, and what there is of an engine."""

from __future__ import annotations

import pytest

from nodus_control.suppliers.protocol import Placement, PlacementState, Workload
from nodus_control.suppliers.simulated.driver import SimulatedDriver
from nodus_core.catalogue import default_catalogue

WORKLOAD = Workload("image", "h100_80gb", 1, 3600, None, {"NODUS_SIM_DURATION_SECONDS": "600"})


@pytest.fixture
def driver() -> SimulatedDriver:
    """A driver whose suppliers neither refuse nor lose anything."""
    return SimulatedDriver(
        default_catalogue(), seed=0, now=lambda: 0.0, recall=lambda placement: None, is_reliable=True
    )


@pytest.fixture
def placement() -> Placement:
    """A placement at a supplier of the shipped catalogue."""
    supplier = next(iter(default_catalogue().suppliers.values()))
    return Placement("job-1", 1, supplier.name, supplier.regions[0], 1000.0)


def test_a_cancellation_is_reported_as_often_as_it_is_asked_for(driver: SimulatedDriver, placement: Placement) -> None:
    """Whoever lost an answer gets the same one again; forgotten, it is gone."""
    driver.submit(placement, WORKLOAD, 1000.0)
    driver.cancel(placement, 1001.0)
    driver.cancel(placement, 1002.0)
    reports = [driver.poll(placement, WORKLOAD, now) for now in (1002.0, 1900.0)]
    driver.forget(placement)
    driver.forget(placement)

    assert [(report.state, report.finished_at) for report in reports] == [(PlacementState.CANCELLED, 1001.0)] * 2
    assert driver.poll(placement, WORKLOAD, 1002.0).state is PlacementState.PROVISIONING


def test_there_is_no_engine_to_be_told_from_others(driver: SimulatedDriver, placement: Placement) -> None:
    """Nor does one hold anything."""
    driver.submit(placement, WORKLOAD, 1000.0)

    assert driver.identity() is None
    assert list(driver.list_placements()) == []
