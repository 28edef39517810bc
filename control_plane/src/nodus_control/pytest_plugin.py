"""Fixtures for tests of code that runs jobs. pytest finds them by itself, and loads nothing before one is used.

def test_training(nodus_server, nodus_client):
    job = nodus_client.run(image="ghcr.io/acme/train:v3")
    nodus_server.advance(20 * 3600)
    assert job.wait().succeeded
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import nodus

    from .testing import LocalControlPlane

MARKER = "nodus"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", f"{MARKER}(**options): how the test's control plane is made; the options of LocalControlPlane"
    )


@pytest.fixture
def nodus_server(request: pytest.FixtureRequest) -> Iterator[LocalControlPlane]:
    """A control plane on loopback, in memory, whose clock stands still until `advance`; new for each test.

    `@pytest.mark.nodus(speed=60, reliable=False)` creates it with these options of `LocalControlPlane`.
    """
    from .testing import LocalControlPlane

    marker = request.node.get_closest_marker(MARKER)
    with LocalControlPlane(**({} if marker is None else marker.kwargs)) as control_plane:
        yield control_plane


@pytest.fixture
def nodus_client(nodus_server: LocalControlPlane) -> Iterator[nodus.Client]:
    """A client of `nodus_server`, with a person's key."""
    import nodus

    with nodus.Client(api_key=nodus_server.api_key, base_url=nodus_server.base_url) as client:
        yield client


@pytest.fixture
async def nodus_async_client(nodus_server: LocalControlPlane) -> AsyncIterator[nodus.AsyncClient]:
    """An asynchronous client of `nodus_server`, with a person's key, on the event loop of the test."""
    import nodus

    async with nodus.AsyncClient(api_key=nodus_server.api_key, base_url=nodus_server.base_url) as client:
        yield client
