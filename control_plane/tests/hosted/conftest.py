"""The self-hosted form, on either database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosted.processes import Hosted

from nodus_control.control_plane import ControlPlane


@pytest.fixture
def here(kept_database_url: str) -> Iterator[ControlPlane]:
    """A control plane of the test's own on the database: to mint keys, and to look."""
    control_plane = ControlPlane(kept_database_url, seed=None, is_alone=False)
    yield control_plane
    control_plane.close()


@pytest.fixture
def hosted(here: ControlPlane, kept_database_url: str, tmp_path: Path) -> Iterator[Hosted]:
    """Processes on that database."""
    with Hosted(kept_database_url, tmp_path) as processes:
        yield processes
