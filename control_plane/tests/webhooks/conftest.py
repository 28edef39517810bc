"""A control plane whose clock stands, a client of it, and an endpoint that receives what it delivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from webhooks.receiver import Receiver
from webhooks.unhurried import no_attempt_runs_out_of_time, no_name_server_is_asked

import nodus
from nodus_control.testing import LocalControlPlane


@pytest.fixture
def control_plane(database_url: str) -> Iterator[LocalControlPlane]:
    """A control plane on loopback."""
    with LocalControlPlane(database=database_url) as started:
        yield started


@pytest.fixture
def client(control_plane: LocalControlPlane) -> Iterator[nodus.Client]:
    """A client with the person's key."""
    with nodus.Client(api_key=control_plane.api_key, base_url=control_plane.base_url) as opened:
        yield opened


@pytest.fixture
def agent(control_plane: LocalControlPlane) -> Iterator[nodus.Client]:
    """A client with the agent's key, capped at $25 a month."""
    with nodus.Client(
        api_key=control_plane.agent_api_key,
        base_url=control_plane.base_url,
        signing_secret=control_plane.agent_signing_secret,
    ) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An endpoint on loopback."""
    with Receiver() as listening:
        yield listening


__all__ = ["agent", "client", "control_plane", "no_attempt_runs_out_of_time", "no_name_server_is_asked", "receiver"]
