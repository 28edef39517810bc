"""The simulated driver by itself: what it remembers of a cancellation, and what there is of an engine."""

from __future__ import annotations

import pytest
from entries import catalogue_of, supplier

from nodus_control.suppliers.protocol import Placement, PlacementState, Workload
from nodus_control.suppliers.simulated.driver import Recalled, SimulatedDriver
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


def test_a_supplier_that_left_the_file_or_runs_jobs_now_is_simulated_in_the_usual_way() -> None:
    """Of what was placed there before, the output is still read."""
    workload = Workload("image", "h100_80gb", 1, 3600, None, {"NODUS_SIM_DURATION_SECONDS": "10"})
    driver = SimulatedDriver(
        catalogue_of(supplier("lab", {"h100_80gb": 1})),
        seed=0,
        now=lambda: 2000.0,
        recall=lambda placement: Recalled(workload, 1010.0),
    )
    for name in ("gone", "lab"):
        placement = Placement("job-1", 1, name, "here", 1000.0)

        assert driver.poll(placement, workload, 2000.0).state is PlacementState.COMPLETED
        assert b"finished" in driver.logs(placement, 0, 100_000).data
        assert driver.poll(placement, workload, 1000.0).state is PlacementState.RUNNING
