"""A control plane in this process, called without a socket, on asyncio and on trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from patience import PATIENCE_SECONDS

from nodus_control.testing import LocalControlPlane


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a thread and Redis may take longer to be had than a request would wait for them."""
    monkeypatch.setattr("nodus_control.api.requests.LONGEST_WAIT_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr("nodus_ledger.database.redis_store.TIMEOUT_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def control_plane(database_url: str) -> Iterator[LocalControlPlane]:
    """A control plane whose clock stands, without a socket."""
    with LocalControlPlane(database=database_url, serve=False) as started:
        yield started


@pytest.fixture
async def client(control_plane: LocalControlPlane, anyio_backend: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the person's key."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=control_plane.asgi_app),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {control_plane.api_key}"},
    ) as opened:
        yield opened


@pytest.fixture
def spec() -> dict[str, Any]:
    """A good spec: one that runs for a minute."""
    return {
        "image": "ghcr.io/acme/train:v3",
        "gpu": "h100_80gb",
        "env": {"NODUS_SIM_DURATION_SECONDS": "60"},
    }
