"""What a key has in flight: changed where there is a row, and never passed over in silence."""

from __future__ import annotations

import pytest

from nodus_control.testing import LocalControlPlane
from nodus_ledger.keys import budgets

pytestmark = pytest.mark.both_engines


def test_what_cannot_be_released_is_an_error(database_url: str) -> None:
    """Otherwise a budget would be filled for ever by what is over."""
    with (
        LocalControlPlane(database=database_url, serve=False) as control_plane,
        pytest.raises(RuntimeError, match="the key nobody has in flight"),
        control_plane.plane.database.write() as connection,
    ):
        budgets.settle(connection, {"nobody": 1}, {})


def test_what_is_reserved_and_released_is_nothing(database_url: str) -> None:
    """Under a key without a cap."""
    with LocalControlPlane(database=database_url, serve=False) as control_plane:
        key = control_plane.plane.keys.find(control_plane.api_key)
        assert key is not None
        now = control_plane.plane.clock.now()
        with control_plane.plane.database.write() as connection:
            budgets.reserve(connection, key.id, 7, now, None)
            reserved = budgets.figures(connection, key.id, now).in_flight
            budgets.settle(connection, {key.id: 7}, {})
            released = budgets.figures(connection, key.id, now).in_flight

    assert (reserved, released) == (7, 0)
